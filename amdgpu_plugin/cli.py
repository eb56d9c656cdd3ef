"""The command line: what each verb takes, and what its exit status means.

A verb is a module `amdgpu_plugin.commands.<verb>` with `run(config, args) -> int`, imported when it is asked
for: `amdgpu-plugin version` does not pay for gRPC.
"""

import argparse
import difflib
import errno
import importlib
import logging
import os
import select
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from amdgpu_plugin import __version__, logs
from amdgpu_plugin.config import (
    GROUPS,
    OPTIONS,
    Config,
    ConfigError,
    Loaded,
    Option,
    config_path,
    default_config,
    load_config,
)

PROGRAM = "amdgpu-plugin"
DEFAULT_DEMO_SHAPE = "mi300x"

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_STDOUT = 1
_CONFIG_FILE_LIMIT = 1024 * 1024
_LONGEST_PACE_SECONDS = 3600
_LONGEST_SPAN_SECONDS = 86400
_MOST_DEVICES = 100_000

_LOG_FLAGS = frozenset({"--log-level", "--log-format"})
_INPUT_FLAGS = _LOG_FLAGS | {
    "--config",
    "--sysfs-root",
    "--dev-root",
    "--simulate",
    "--simulate-anyway",
    "--resource-naming",
    "--replicas",
    "--health-read-deadline",
}
_ALL_FLAGS = frozenset(option.flag for option in OPTIONS if option.flag is not None)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verb:
    """`flags` are those of the option table it takes; `arguments` adds its own."""

    help: str
    flags: frozenset[str]
    examples: str
    usage: str = "[options]"
    arguments: Callable[[argparse.ArgumentParser], None] = lambda _parser: None


def _discover_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")


def _capture_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="where to write; gzip when it ends in .gz; - for stdout")
    parser.add_argument("--mask-serials", action="store_true", help="replace serial numbers and unique ids")


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    form.add_argument("--npd", action="store_true", help="one line, for node-problem-detector")


def _prefer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("size", metavar="SIZE", type=_size, help="how many devices")
    parser.add_argument("--available", metavar="IDS", help="out of these, comma-separated; default: all")
    parser.add_argument("--must-include", metavar="IDS", help="these among them, comma-separated")
    _discover_arguments(parser)


def _topology_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--svg", metavar="FILE", help="draw it into that file, and print no matrix")


def _size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_DEVICES:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {_MOST_DEVICES}, got {text}")
    return int(text)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shape", metavar="SHAPE", nargs="?", help=f"as --simulate; default: {DEFAULT_DEMO_SHAPE}"
    )
    pause = "pause between two steps; 0 for none; default: 1.2 on a terminal, else 0"
    parser.add_argument("--pace", metavar="SECONDS", type=_pace, help=pause)


def _inject_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help="device ID or PCI address")
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="a condition's name, such as Overheated; or unbind, bind, remove, add, repartition=MODE; "
        "clear: all as it was",
    )
    parser.add_argument(
        "--for", dest="seconds", metavar="SECONDS", type=_pace, help="undo it after so many seconds"
    )


def _ack_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help="device ID or PCI address")
    parser.add_argument("condition", metavar="CONDITION", help="as `status` names it")
    parser.add_argument(
        "--for", dest="seconds", metavar="SECONDS", type=_span, help="count it again after so many seconds"
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the log and for `status`")


def _span(text: str) -> float:
    return _seconds(text, _LONGEST_SPAN_SECONDS)


def _pace(text: str) -> float:
    return _seconds(text, _LONGEST_PACE_SECONDS)


def _seconds(text: str, longest: int) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= longest:  # NaN is not, either
        raise argparse.ArgumentTypeError(f"must be seconds between 0 and {longest}, got {text}")
    return seconds


VERBS: Mapping[str, Verb] = {
    "run": Verb(
        "the daemon: serve this node's AMD GPUs to its kubelet",
        _ALL_FLAGS,
        """\
  amdgpu-plugin run
  amdgpu-plugin run --config /etc/amdgpu-plugin/config.yaml --log-format json
  AMDGPU_PLUGIN_RESOURCE_NAMING=mixed amdgpu-plugin run
  amdgpu-plugin run --simulate mi300x-cpx --device-plugins-dir /tmp/plugins

Each option can also be set by the variable in its brackets and in the file that --config names; the flag wins
over the variable, the variable over the file. What only the file can say is in docs/configuration.md.
SIGTERM, SIGINT and SIGQUIT end it with status 0.""",
    ),
    "demo": Verb(
        "the daemon against a simulated node and kubelet: no GPU, no cluster, no root",
        _LOG_FLAGS | {"--simulate"},
        """\
  amdgpu-plugin demo
  amdgpu-plugin demo mi300x-cpx
  amdgpu-plugin demo mi210:4 --pace 0""",
        "[options] [SHAPE]",
        _demo_arguments,
    ),
    "discover": Verb(
        "what this node has, and what was skipped and why",
        _INPUT_FLAGS,
        """\
  amdgpu-plugin discover
  amdgpu-plugin discover -o json | jq '.gpus[].devices[].id'
  amdgpu-plugin discover --sysfs-root node7.capture.gz
  amdgpu-plugin discover --simulate mi250x""",
        arguments=_discover_arguments,
    ),
    "topology": Verb(
        "how the GPUs are linked, as a matrix or a picture",
        _INPUT_FLAGS,
        """\
  amdgpu-plugin topology
  amdgpu-plugin topology --simulate mi210
  amdgpu-plugin topology --svg node7.svg
  amdgpu-plugin topology --svg cpx.svg --simulate mi300x-cpx

The picture is the one of the status page, without health: nobody is asked for it here.""",
        arguments=_topology_arguments,
    ),
    "prefer": Verb(
        "which devices a pod that asks for SIZE would get here, and why",
        _INPUT_FLAGS,
        """\
  amdgpu-plugin prefer 4
  amdgpu-plugin prefer 2 --simulate mi250x --must-include 0000:c9:00.0
  amdgpu-plugin prefer 2 --available 0000:05:00.0,0000:27:00.0,0000:85:00.0 -o json

It is what GetPreferredAllocation would answer. What pods hold is not known here: name the rest by
--available.""",
        "[options] SIZE",
        _prefer_arguments,
    ),
    "capture": Verb(
        "the node's relevant sysfs as one text file: a bug report that can be replayed",
        _INPUT_FLAGS,
        """\
  amdgpu-plugin capture node7.capture.gz --mask-serials
  amdgpu-plugin discover --sysfs-root node7.capture.gz
  kubectl exec -n amdgpu-plugin POD -- amdgpu-plugin capture - > node7.capture""",
        "[options] FILE",
        _capture_arguments,
    ),
    "inject": Verb(
        "a fault for a running simulated daemon, to rehearse a failure",
        _LOG_FLAGS | {"--config", "--state-dir"},
        """\
  amdgpu-plugin inject 0000:05:00.0 Wedged
  amdgpu-plugin inject 0000:05:00.0 Unresponsive --for 120
  amdgpu-plugin inject 0000:05:00.0 unbind
  amdgpu-plugin inject 0000:05:00.0 repartition=CPX
  amdgpu-plugin inject 0000:05:00.0 clear

Only a daemon started with --simulate takes faults. DEVICE is a device ID or a PCI address. A condition's name
makes the simulated node do what raises it: it is seen as soon as on a real one, mostly by the next rounds
of --health-interval. PluginStarved is of the whole node. For Retired and HeldElsewhere: repartition.""",
        "[options] DEVICE WHAT",
        _inject_arguments,
    ),
    "status": Verb(
        "what the running daemon on this node thinks: devices, health, reasons, holders",
        _LOG_FLAGS | {"--config", "--state-dir"},
        """\
  amdgpu-plugin status
  amdgpu-plugin status -o json | jq '.devices[] | select(.healthy | not)'
  kubectl exec -n amdgpu-plugin POD -- amdgpu-plugin status

It asks the daemon by its control socket and reads no sysfs.""",
        arguments=_discover_arguments,
    ),
    "doctor": Verb(
        "what is wrong with this node, each finding with what to do",
        _INPUT_FLAGS | {"--device-plugins-dir", "--pod-resources-dir", "--state-dir"},
        """\
  amdgpu-plugin doctor
  kubectl exec -n amdgpu-plugin POD -- amdgpu-plugin doctor
  amdgpu-plugin doctor -o json | jq -r '.findings[] | select(.severity == "problem") | .name'
  amdgpu-plugin doctor --sysfs-root node7.capture.gz

It asks the running daemon; where none answers it looks itself, which tells nothing of health. It ends with 1
where there is a problem (remarks are none), and with 2 where it could not look. docs/doctor.md lists the
findings.""",
        arguments=_doctor_arguments,
    ),
    "ack": Verb(
        "an operator's word that a condition is known: it stops counting",
        _LOG_FLAGS | {"--config", "--state-dir"},
        """\
  amdgpu-plugin ack 0000:05:00.0 UncorrectableErrors --reason "ticket 4711"
  amdgpu-plugin ack 0000:05:00.0 Wedged --for 3600

Latched and counted conditions only: others end when their cause does. It holds until the reboot, or for
as long as --for says; new errors on top of those acknowledged count.""",
        "[options] DEVICE CONDITION",
        _ack_arguments,
    ),
    "version": Verb("the version, and nothing else", frozenset(), "  amdgpu-plugin version", ""),
}

_EXIT_STATUS = """\
exit status:
  0  it could do its work; run: ended by a signal
  1  a fault, or no answer
  2  a bad option, file or root, named on stderr"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status. Answers go to stdout; help for who asked nothing, logs and errors to stderr."""
    # gRPC's own notes on connections that come and go are no news; what matters is in our log.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        args = _parsed(_parser(), sys.argv[1:] if argv is None else argv)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else EXIT_USAGE
    try:
        status = _run(args)
        print(end="", flush=True)
    except ConfigError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        if not _stdout_is_broken():
            raise
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"{PROGRAM}: error: the answer could not be written: {error.strerror}", file=sys.stderr)
        return EXIT_FAULT
    return status


def _run(args: argparse.Namespace) -> int:
    config = default_config() if args.verb == "version" else _configured(args)
    if args.verb == "run":
        # As a container's first process it would not hear SIGTERM before the daemon has its own handlers.
        signal.signal(signal.SIGTERM, _end_before_the_beginning)
    run: Callable[[Config, argparse.Namespace], int] = importlib.import_module(
        f"amdgpu_plugin.commands.{args.verb}"
    ).run
    return run(config, args)


def _end_before_the_beginning(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _configured(args: argparse.Namespace) -> Config:
    """The configuration the arguments, the environment and the file give, with logging set up by it."""
    flags = {name: value for name, value in vars(args).items() if name.startswith("--")}
    if args.verb == "demo" and args.shape is not None:
        if flags.get("--simulate", args.shape) != args.shape:
            raise ConfigError("two shapes", where=f"{args.shape} and --simulate {flags['--simulate']}")
        flags["--simulate"] = args.shape
    loaded = _loaded(flags, os.environ)
    logs.configure(loaded.config.log_level, loaded.config.log_format)
    for warning in loaded.warnings:
        log.warning(warning)
    if args.verb == "demo" and loaded.config.simulate is None:
        return replace(loaded.config, simulate=DEFAULT_DEMO_SHAPE)
    return loaded.config


def _loaded(flags: Mapping[str, str | bool], environ: Mapping[str, str]) -> Loaded:
    asked = config_path(flags, environ)
    if asked is None:
        return load_config(flags, environ)
    where, path = asked
    return load_config(flags, environ, _file_text(where, path), yaml_name=path)


def _file_text(where: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_CONFIG_FILE_LIMIT + 1)
        if len(content) > _CONFIG_FILE_LIMIT:
            raise ConfigError(f"{path} is longer than {_CONFIG_FILE_LIMIT} bytes", where=where)
        return content.decode()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", where=where) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", where=where) from None


def _stdout_is_broken() -> bool:
    """True when the reader of stdout has gone; what is still to be written then goes nowhere."""
    # Asked of the descriptor: without a buffer nothing is left that a second flush could fail with.
    poll = select.poll()
    poll.register(_STDOUT, 0)
    broken = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if broken:  # with one, Python would flush and complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    return broken


class _Help(argparse.RawDescriptionHelpFormatter):
    def _split_lines(self, text: str, width: int) -> list[str]:
        # Paths, flags and names are for copying: not to be cut at their hyphens.
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """What is wrong and where to read on, without the pages between."""
        self.exit(EXIT_USAGE, f"{PROGRAM}: error: {message}\ntry: {self.prog} --help\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} VERB [options]",
        description="Kubernetes device plugin for AMD GPUs.",
        epilog=f"{PROGRAM} VERB --help tells a verb's options and examples.\n\n{_EXIT_STATUS}",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    told = f"{PROGRAM} {__version__}"
    parser.add_argument("--version", action="version", version=told, help="as the verb `version`")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", prog=PROGRAM)
    for name, verb in VERBS.items():
        one = verbs.add_parser(
            name,
            usage=f"{PROGRAM} {name} {verb.usage}".rstrip(),
            help=verb.help,
            description=f"{verb.help[0].upper()}{verb.help[1:]}.",
            epilog=f"examples:\n{verb.examples}\n\n{_EXIT_STATUS}",
            formatter_class=_Help,
            allow_abbrev=False,
        )
        verb.arguments(one)
        _add_options(one, verb.flags)
    return parser


def _add_options(parser: argparse.ArgumentParser, flags: frozenset[str]) -> None:
    for title, options in GROUPS.items():
        taken = [option for option in options if option.flag in flags]
        group = parser.add_argument_group(title) if taken else parser
        for option in taken:
            _add_option(group, option)


def _add_option(group: argparse._ActionsContainer, option: Option) -> None:
    # The table checks values, whichever way they come: here they stay text. What is not given is left out.
    flag, text = str(option.flag), _help(option)
    if option.kind.metavar:
        metavar = option.kind.metavar
        group.add_argument(flag, dest=flag, metavar=metavar, default=argparse.SUPPRESS, help=text)
    else:
        group.add_argument(flag, dest=flag, action="store_true", default=argparse.SUPPRESS, help=text)


def _help(option: Option) -> str:
    values = "" if option.kind.metavar in {"", "PATH", "SHAPE"} else f"{option.kind.values}; "
    return f"{option.help} [{values}default: {option.shown_default}; {option.variable}]"


def _parsed(parser: _Parser, argv: Sequence[str]) -> argparse.Namespace:
    """SystemExit for what cannot be parsed, after saying why and which spelling comes near."""
    if not argv:
        parser.print_help(sys.stderr)
        raise SystemExit(EXIT_USAGE)
    if argv[0].partition("=")[0] in _ALL_FLAGS:
        parser.error(f"{argv[0]}: options follow the verb, as in {PROGRAM} run {argv[0]}")
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        word, asked = unknown[0].partition("=")[0], f"{PROGRAM} {args.verb or ''}".rstrip()
        close = difflib.get_close_matches(word, VERBS[args.verb].flags if args.verb else VERBS, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        what = "not an option of" if word in _ALL_FLAGS else "unknown to"
        _Parser(prog=asked).error(f"{word}: {what} {asked}{hint}")
    return args
