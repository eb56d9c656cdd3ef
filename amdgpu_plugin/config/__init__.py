"""One frozen Config out of flags, environment and a YAML file, by one table of options (`options.py`).

Enters: what was typed, the environment, the file's text. Leaves: a Config and the warnings it deserves, or a
ConfigError that names what is wrong, where, and what to try. Nothing is read from the machine here.
"""

from amdgpu_plugin.config.load import config_path, default_config, load_config
from amdgpu_plugin.config.options import GROUPS, OPTIONS, Option
from amdgpu_plugin.config.values import (
    CONDITIONS,
    Config,
    ConfigError,
    ExtraDevice,
    ExtraMount,
    ListenAddress,
    Loaded,
    SharedResource,
)
from amdgpu_plugin.health.conditions import ConditionSetting

__all__ = [
    "CONDITIONS",
    "GROUPS",
    "OPTIONS",
    "ConditionSetting",
    "Config",
    "ConfigError",
    "ExtraDevice",
    "ExtraMount",
    "ListenAddress",
    "Loaded",
    "Option",
    "SharedResource",
    "config_path",
    "default_config",
    "load_config",
]
