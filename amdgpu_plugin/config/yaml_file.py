"""The configuration file's text into what it sets, by dotted key."""

import difflib
import re
from types import MappingProxyType
from typing import Any

from amdgpu_plugin.config.kinds import WrongValueError
from amdgpu_plugin.config.nested import checked_mapping
from amdgpu_plugin.config.options import OPTIONS
from amdgpu_plugin.config.values import ConfigError

_BY_KEY = MappingProxyType({option.key: option for option in OPTIONS if option.key is not None})
_GROUPS = frozenset(key.partition(".")[0] for key in _BY_KEY if "." in key)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})$")
_FLOAT = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}$")
_LEFT_OUT = (":int", ":float", ":timestamp", ":merge", ":value")


def file_settings(text: str, name: str) -> dict[str, object]:
    """Values by key (`health.interval`), not yet checked. A group without a body sets nothing.

    ConfigError for what is not YAML, for a key that is unknown, and for one that is there twice.
    """
    settings: dict[str, object] = {}
    for key, value in _mapping(_parsed(text, name), name).items():
        if key in _GROUPS:
            inner = _mapping(value, f"{name}: {key}")
            settings |= {f"{key}.{inner_key}": inner_value for inner_key, inner_value in inner.items()}
        else:
            settings[key] = value
            if "." in key and key in _BY_KEY:
                raise ConfigError("keys do not have dots", where=f"{name}: {key}", hint=_as_group(key))
    for key in settings:
        if key not in _BY_KEY:
            raise ConfigError("unknown key", where=f"{name}: {key}", hint=_closest_key(key))
    return settings


def _as_group(key: str) -> str:
    group, _, inner = key.partition(".")
    return f"write {group}: {{{inner}: …}}"


def _mapping(value: object, where: str) -> dict[str, object]:
    try:
        return {} if value is None else checked_mapping(value)
    except WrongValueError as error:
        raise ConfigError(error.what, where=where, hint=error.hint) from None


def _closest_key(key: str) -> str:
    """Finds `health.interval` for `health.intervall` and for `health-interval`, `health` for `helth`."""
    spellings = {option.name.replace("-", "_"): key for key, option in _BY_KEY.items() if option.name}
    spellings |= {known: known for known in _BY_KEY}
    spellings |= {group: group for group in _GROUPS}
    close = difflib.get_close_matches(key.replace("-", "_"), spellings, 1)
    return f"did you mean {spellings[close[0]]}?" if close else ""


def _parsed(text: str, name: str) -> object:
    """The document, by the safe loader with less magic.

    YAML 1.1 takes `0000:05:00.0` for the number 300, in base 60, and 010 for 8; here both are text.
    """
    import yaml  # noqa: PLC0415 - most nodes have no file, and the import is not free

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
            first: [row for row in rows if not row[0].endswith(_LEFT_OUT)]
            for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
            value = super().construct_scalar(node)
            try:
                str(value).encode()
            except UnicodeEncodeError:
                problem = "half a surrogate pair is no character"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None
            return value

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
            keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for index, (key, _) in enumerate(node.value):
                if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in keys[:index]:
                    problem = f"the key {key.value} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = name if mark is None else f"{name}: line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigError(error.problem or "not YAML", where=where) from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # An explicit tag on a value that does not fit it leaves PyYAML as whatever Python raised.
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}", where=name) from None
