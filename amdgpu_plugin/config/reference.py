"""The reference page of the options, out of their table."""

from collections.abc import Iterator

from amdgpu_plugin.config.nested import MOST_REPLICAS, NUMBERS, OUR_VARIABLES
from amdgpu_plugin.config.options import GROUPS, Option
from amdgpu_plugin.config.values import CONDITIONS
from amdgpu_plugin.health.conditions import FACTS, Number

EXAMPLE = """\
resource_naming: mixed
log_format: json
health:
  interval: 10
  read_deadline: 20
  conditions:
    Overheated: {effect: inform}
    UncorrectableErrors: {threshold: 3}
    BadPageThreshold: {limit: 64}
sharing:
  replicas: 1
  spread: packed
  resources:
    amd.com/gpu: {replicas: 4, rename: true}
devices:
  exclude: [0000:05:00.0, 1002:744c, AMD Radeon Pro W7900]
  expect: 8
allocate:
  extra_devices:
    - {host_path: /dev/infiniband/uverbs0}
    - {host_path: /dev/fuse, container_path: /dev/fuse, permissions: rw}
  mounts:
    - {host_path: /opt/rocm, container_path: /opt/rocm, read_only: true}
  env: {HSA_ENABLE_SDMA: "0"}
http: {address: "127.0.0.1:9400"}
"""

_INTRODUCTION = """\
# Configuration

<!-- Made by `python -m amdgpu_plugin.config > docs/configuration.md`: change the table, not this page. -->

Every option of `amdgpu-plugin run`. A flag wins over its environment variable, the variable over the YAML
file that `--config` names, the file over the default. Other verbs take those flags that concern what they
read (`amdgpu-plugin VERB --help`), and know the variables and the file as well.

What cannot be used ends the program with status 2 and names the place: an unknown flag or key, a key that is
there twice, a value of the wrong type or out of range, in any of the three, even where another wins over it.
An unknown variable `AMDGPU_PLUGIN_…` is warned about once. Variables that Kubernetes sets for a Service whose
name begins with `amdgpu-plugin` (`…_SERVICE_HOST`, `…_SERVICE_PORT…`, `…_PORT`, `…_PORT_…`) are left alone.

Durations are plain numbers of seconds. An empty variable or flag unsets an option that is unset by default;
an empty `--http-address` switches listening off.
"""

_TABLE_HEAD = """\
| flag | variable | YAML key | values | default | meaning |
| --- | --- | --- | --- | --- | --- |
"""

_NESTED = f"""\
## Keys with parts

`devices.include` and `devices.exclude` hold PCI addresses (`0000:05:00.0`), PCI ids (`1002:74a1`) and product
names (`AMD Instinct MI300X`), in any case of letters. What is left out shows in `discover`.

| in each of | key | default | meaning |
| --- | --- | --- | --- |
| `allocate.extra_devices` | `host_path` | needed | absolute path on the node |
| | `container_path` | `host_path` | absolute path in the container |
| | `permissions` | `rw` | out of `r`, `w`, `m` |
| `allocate.mounts` | `host_path` | needed | absolute path on the node |
| | `container_path` | `host_path` | absolute path in the container |
| | `read_only` | `true` | |
| `sharing.resources` | `replicas` | `sharing.replicas` | 1 to {MOST_REPLICAS} |
| | `rename` | `sharing.rename` | |

`sharing.resources` has a mapping for each resource that is shared otherwise than the rest, by its name
without `.shared` (`amd.com/gpu`).

`allocate.env` cannot set what the plugin itself tells a container:
{", ".join(f"`{name}`" for name in OUR_VARIABLES)}.

`health.conditions` has a mapping for each condition whose defaults do not suit. `effect` is `unhealthy` (the
kubelet is told), `inform` (logged and exported) or `ignore`; some have a number as well. What each means and
what to do about it is in [health.md](health.md).
{" and ".join(f"`{name}`" for name in FACTS)} are facts about IDs and cannot be set.

| condition | default `effect` | number |
| --- | --- | --- |
"""


def reference() -> str:
    """The whole page, as Markdown."""
    tables = (
        f"## {title}\n\n{_TABLE_HEAD}" + "".join(_row(option) for option in options)
        for title, options in GROUPS.items()
    )
    nested = _NESTED + "".join(_condition_rows())
    return "\n".join((_INTRODUCTION, *tables, nested, f"## A file\n\n```yaml\n{EXAMPLE}```\n"))


def _row(option: Option) -> str:
    default = option.shown_default if option.default is None else f"`{option.shown_default}`"
    cells = (
        _code(option.flag),
        _code(option.variable),
        _code(option.key),
        option.kind.values,
        default,
        option.help,
    )
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |\n"


def _code(text: str | None) -> str:
    return "–" if text is None else f"`{text}`"


def _cell(text: str) -> str:
    # A name in angle brackets would be taken for HTML, a bar for the next cell.
    return text.replace("|", "\\|").replace("<", "&lt;")


def _condition_rows() -> Iterator[str]:
    for name, effect in CONDITIONS.items():
        yield f"| `{name}` | `{effect}` | {_number(NUMBERS.get(name))} |\n"


def _number(number: Number | None) -> str:
    if number is None:
        return ""
    default = "unset" if number.default is None else f"`{number.default}`"
    return f"`{number.key}`: {number.unit}, {number.low} to {number.high}; {default} by default"
