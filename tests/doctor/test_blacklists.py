import pytest

from amdgpu_plugin.doctor.blacklists import aliases_of_driver, blacklisting_lines, blacklisting_words


@pytest.mark.parametrize(
    ("command_line", "words"),
    [
        ("BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n", ()),
        ("ro modprobe.blacklist=amdgpu quiet", ("modprobe.blacklist=amdgpu",)),
        ("modprobe.blacklist=nouveau,amdgpu", ("modprobe.blacklist=nouveau,amdgpu",)),
        (
            "module_blacklist=amdgpu rd.driver.blacklist=amdgpu",
            ("module_blacklist=amdgpu", "rd.driver.blacklist=amdgpu"),
        ),
        ("modprobe.blacklist=amdgpu_dummy,radeon", ()),
        ("nomodeset", ("nomodeset",)),
        ("amdgpu.blacklist=amdgpu nomodeset=1", ()),
        ("", ()),
    ],
)
def test_words_of_the_command_line_that_keep_the_driver_out(
    command_line: str, words: tuple[str, ...]
) -> None:
    assert blacklisting_words(command_line) == words


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("blacklist amdgpu\n", ("blacklist amdgpu",)),
        ("  blacklist\tamdgpu  # for now", ("blacklist\tamdgpu  # for now",)),
        ("# blacklist amdgpu\n#blacklist amdgpu", ()),
        ("blacklist radeon\nblacklist amdgpu_dummy\nblacklist\n", ()),
        ("install amdgpu /bin/false", ("install amdgpu /bin/false",)),
        ("install amdgpu /usr/bin/true\n", ("install amdgpu /usr/bin/true",)),
        ("install amdgpu /sbin/modprobe --ignore-install amdgpu", ()),
        ("install amdgpu\n", ()),
        ("blacklist \\\namdgpu\n", ("blacklist  amdgpu",)),
        ("options amdgpu blacklist=1\nalias amdgpu off", ()),
        ("", ()),
    ],
)
def test_lines_of_modprobe_d_that_keep_the_driver_out(text: str, lines: tuple[str, ...]) -> None:
    assert blacklisting_lines(text) == lines


def test_aliases_are_those_of_amdgpu_alone() -> None:
    text = """\
# Aliases extracted from modules themselves.
alias pci:v00001002d000074A1sv*sd*bc*sc*i* amdgpu
alias pci:v00001002d*sv*sd*bc12sc00i00* amdgpu
alias pci:v00001002d00006860sv*sd*bc*sc*i* radeon
alias amdgpu_dummy amdgpu_dummy
alias broken
"""
    assert aliases_of_driver(text) == (
        "pci:v00001002d000074A1sv*sd*bc*sc*i*",
        "pci:v00001002d*sv*sd*bc12sc00i00*",
    )
