"""Flags, environment and a file's text into one Config."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from amdgpu_plugin.config.kinds import WrongValueError, closest
from amdgpu_plugin.config.options import OPTIONS, VARIABLE_PREFIX, Option
from amdgpu_plugin.config.values import Config, ConfigError, Loaded
from amdgpu_plugin.config.yaml_file import file_settings

# What Kubernetes puts into every container for a Service whose name begins like ours
# (kubernetes/kubernetes pkg/kubelet/envvars).
_SERVICE_LINK = re.compile(r".+_SERVICE_HOST|.+_SERVICE_PORT.*|.+_PORT|.+_PORT_.+")

_FLAGS = tuple(option.flag for option in OPTIONS if option.flag)
_VARIABLES = tuple(option.variable for option in OPTIONS if option.variable)


def config_path(flags: Mapping[str, str | bool], environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Who asks for a YAML file (the flag or the variable) and its path; None when nobody does."""
    variable = f"{VARIABLE_PREFIX}CONFIG"
    where = "--config" if "--config" in flags else variable
    path = str(flags.get("--config", environ.get(variable, "")))
    return (where, path) if path else None


def load_config(
    flags: Mapping[str, str | bool],
    environ: Mapping[str, str],
    yaml_text: str | None = None,
    *,
    yaml_name: str = "the configuration file",
) -> Loaded:
    """Flag over variable over file over default.

    `flags` has values as typed, by flag: `{"--health-interval": "10"}`, True for one without a value.
    `yaml_text` is the content of the file that `config_path` tells. ConfigError for anything unknown or
    wrong in any of the three, even where another wins over it; unknown variables make a warning only.
    """
    for flag in flags:
        if flag not in _FLAGS:
            raise ConfigError("no such option", where=flag, hint=closest(flag, _FLAGS))
    file = {} if yaml_text is None else file_settings(yaml_text, yaml_name)
    warnings = _unknown_variables(environ)
    values: dict[str, Any] = {}
    for option in OPTIONS:
        values[option.field] = option.default_value
        for where, value in _given(option, flags, environ, file, yaml_name):
            values[option.field] = _valid(option, where, value)
    config = Config(**values)
    if config.simulate is not None and config.sysfs_root != "/sys":
        warnings.append(f"--sysfs-root: {config.sysfs_root} is not read, a simulated node takes its place")
    return Loaded(config, tuple(warnings))


def default_config() -> Config:
    """What one has who sets nothing."""
    return load_config({}, {}).config


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    unknown = [
        name
        for name in sorted(environ)
        if name.startswith(VARIABLE_PREFIX) and name not in _VARIABLES and not _SERVICE_LINK.fullmatch(name)
    ]
    return [f"{name}: no such option, ignored{_closest_variable(name)}" for name in unknown]


def _closest_variable(name: str) -> str:
    # What all have in common would make any two look alike.
    rests = [known.removeprefix(VARIABLE_PREFIX) for known in _VARIABLES]
    close = difflib.get_close_matches(name.removeprefix(VARIABLE_PREFIX), rests, 1)
    return f" (did you mean {VARIABLE_PREFIX}{close[0]}?)" if close else ""


def _given(
    option: Option,
    flags: Mapping[str, str | bool],
    environ: Mapping[str, str],
    file: Mapping[str, object],
    yaml_name: str,
) -> Iterator[tuple[str, object]]:
    """Where the option is set and to what, the strongest last."""
    if option.key is not None and option.key in file:
        yield f"{yaml_name}: {option.key}", file[option.key]
    if option.variable is not None and option.variable in environ:
        yield option.variable, _from_text(option, environ[option.variable])
    if option.flag is not None and option.flag in flags:
        typed = flags[option.flag]
        yield option.flag, typed if isinstance(typed, bool) else _from_text(option, typed)


def _from_text(option: Option, text: str) -> object:
    # Empty is how a template says "nothing"; for an option that can be unset it means just that.
    return None if text == "" and option.default is None else option.kind.from_text(text)


def _valid(option: Option, where: str, value: object) -> Any:
    if value is None and option.default is None:
        return None
    try:
        return option.kind.check(value)
    except WrongValueError as error:
        raise ConfigError(error.what, where=where + error.at, hint=error.hint) from None
