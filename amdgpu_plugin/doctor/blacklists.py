"""What keeps the amdgpu module from loading: words of the kernel command line, lines of modprobe.d. Pure.

Formats: modprobe.d(5), modprobe(8) for `modprobe.blacklist=`, the kernel's admin-guide/kernel-parameters for
`module_blacklist=` and `nomodeset` (with which amdgpu's own module_init gives up).
"""

import re
from collections.abc import Iterator

_DRIVER = "amdgpu"
_LISTS = frozenset({"modprobe.blacklist", "module_blacklist", "rd.driver.blacklist"})
_ALIAS = re.compile(rf"^alias (\S+) {_DRIVER}$", re.MULTILINE)
_REFUSALS = frozenset({"/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true", "/sbin/nologin"})


def blacklisting_words(command_line: str) -> tuple[str, ...]:
    """The words of /proc/cmdline that do it."""
    return tuple(word for word in command_line.split() if _keeps_out(word))


def _keeps_out(word: str) -> bool:
    name, _, value = word.partition("=")
    return word == "nomodeset" or (name in _LISTS and _DRIVER in value.split(","))


def blacklisting_lines(text: str) -> tuple[str, ...]:
    """The lines of a file in modprobe.d that do it."""
    return tuple(line.strip() for line in _joined(text) if _forbids(line.split()))


def _joined(text: str) -> Iterator[str]:
    """A line that ends in a backslash goes on in the next."""
    yield from text.replace("\\\n", " ").splitlines()


def _forbids(words: list[str]) -> bool:
    match words:
        case ["blacklist", driver, *_]:
            return driver == _DRIVER
        case ["install", driver, command, *_]:
            return driver == _DRIVER and command in _REFUSALS
    return False


def aliases_of_driver(modules_alias: str) -> tuple[str, ...]:
    """Patterns of devices that amdgpu claims: `alias pci:v00001002d000074A1sv*… amdgpu` in modules.alias."""
    return tuple(_ALIAS.findall(modules_alias))
