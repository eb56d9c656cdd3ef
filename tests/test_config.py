import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.config import (
    CONDITIONS,
    OPTIONS,
    ConditionSetting,
    Config,
    ConfigError,
    ExtraDevice,
    ExtraMount,
    ListenAddress,
    Option,
    SharedResource,
    config_path,
    default_config,
    load_config,
)
from amdgpu_plugin.config.reference import EXAMPLE, reference

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"

DEFAULTS = Config(
    config=None,
    sysfs_root="/sys",
    dev_root=None,
    simulate=None,
    simulate_anyway=False,
    device_plugins_dir="/var/lib/kubelet/device-plugins",
    pod_resources_dir="/var/lib/kubelet/pod-resources",
    state_dir="/run/amdgpu-plugin",
    resource_naming="single",
    replicas=1,
    sharing_rename=False,
    sharing_resources=(),
    sharing_strict=False,
    sharing_spread="distinct",
    devices_include=(),
    devices_exclude=(),
    devices_integrated="auto",
    devices_expect=None,
    retire_after_seconds=600,
    allocate_card_nodes=False,
    allocate_visible_devices="none",
    allocate_extra_devices=(),
    allocate_mounts=(),
    allocate_env=(),
    health_mode="enforce",
    health_interval_seconds=30,
    health_recovery_hold_seconds=60,
    health_read_deadline_seconds=20,
    health_conditions=(),
    http_address=ListenAddress("", 9400),
    http_status_page=True,
    kubernetes_events=False,
    kubernetes_node_condition=False,
    kubernetes_node_condition_delay_seconds=300.0,
    log_level="info",
    log_format="text",
)


def from_yaml(text: str) -> Config:
    return load_config({}, {}, text, yaml_name="node.yaml").config


def refused(**given: Any) -> str:
    """What is said of flags, environ or yaml_text that cannot be used."""
    with pytest.raises(ConfigError) as error:
        load_config(
            given.get("flags", {}), given.get("environ", {}), given.get("yaml_text"), yaml_name="node.yaml"
        )
    return str(error.value)


# -- What wins --


def test_nothing_set_gives_the_defaults() -> None:
    assert default_config() == DEFAULTS
    assert load_config({}, {}, "").warnings == ()


def test_flag_over_variable_over_file_over_default() -> None:
    flags, environ = {"--health-interval": "10"}, {"AMDGPU_PLUGIN_HEALTH_INTERVAL": "20"}
    text = "health: {interval: 25}"
    seen = [
        load_config(flags, environ, text).config,
        load_config({}, environ, text).config,
        load_config({}, {}, text).config,
        load_config({}, {}, None).config,
    ]
    assert seen == [
        dataclasses.replace(DEFAULTS, health_interval_seconds=seconds) for seconds in (10, 20, 25, 30)
    ]


def test_a_bad_value_is_refused_where_another_wins_over_it_too() -> None:
    good = {"--health-interval": "10"}
    assert refused(flags=good, environ={"AMDGPU_PLUGIN_HEALTH_INTERVAL": "x"}).startswith(
        "AMDGPU_PLUGIN_HEALTH_INTERVAL: "
    )
    assert refused(flags=good, yaml_text="health: {interval: 0}").startswith("node.yaml: health.interval: ")


def test_every_option_of_the_file_reaches_its_field() -> None:
    config = from_yaml(
        """
        sysfs_root: /captures/node.gz
        dev_root: /host/dev
        simulate: mi300x:4
        simulate_anyway: true
        device_plugins_dir: /plugins
        pod_resources_dir: /pods
        state_dir: /state
        resource_naming: mixed
        sharing:
          replicas: 4
          rename: true
          resources:
            amd.com/gpu: {replicas: 1}
            amd.com/cpx_nps4: {replicas: 2, rename: false}
            amd.com/dpx: {}
          strict: true
          spread: packed
        devices:
          include: [0000:0A:00.0, 1002:74A1, AMD Instinct MI300X]
          exclude: [0001:27:00.0]
          integrated: never
          expect: 0
        retire_after: 0.5
        allocate:
          card_nodes: true
          visible_devices: hip
          extra_devices:
            - {host_path: /dev/a}
            - {host_path: /dev/b, container_path: /dev/c, permissions: rwm}
          mounts:
            - {host_path: /opt/a}
            - {host_path: /opt/b, container_path: /opt/c, read_only: false}
          env: {A: "1", B: ""}
        health:
          mode: observe
          interval: 3600
          recovery_hold: 0
          read_deadline: 300
          conditions:
            Overheated: {effect: inform}
            UncorrectableErrors: {threshold: 3}
            BadPageThreshold: {limit: 64, effect: ignore}
            Busy: {}
        http: {address: "[::1]:0", status_page: false}
        kubernetes: {events: true, node_condition: true, node_condition_delay: 60}
        log_level: debug
        log_format: json
        """
    )
    assert config == Config(
        config=None,
        sysfs_root="/captures/node.gz",
        dev_root="/host/dev",
        simulate="mi300x:4",
        simulate_anyway=True,
        device_plugins_dir="/plugins",
        pod_resources_dir="/pods",
        state_dir="/state",
        resource_naming="mixed",
        replicas=4,
        sharing_rename=True,
        sharing_resources=(
            SharedResource("amd.com/gpu", replicas=1),
            SharedResource("amd.com/cpx_nps4", replicas=2, rename=False),
            SharedResource("amd.com/dpx"),
        ),
        sharing_strict=True,
        sharing_spread="packed",
        devices_include=("0000:0a:00.0", "1002:74a1", "AMD Instinct MI300X"),
        devices_exclude=("0001:27:00.0",),
        devices_integrated="never",
        devices_expect=0,
        retire_after_seconds=0.5,
        allocate_card_nodes=True,
        allocate_visible_devices="hip",
        allocate_extra_devices=(
            ExtraDevice("/dev/a", "/dev/a", "rw"),
            ExtraDevice("/dev/b", "/dev/c", "rwm"),
        ),
        allocate_mounts=(
            ExtraMount("/opt/a", "/opt/a", read_only=True),
            ExtraMount("/opt/b", "/opt/c", read_only=False),
        ),
        allocate_env=(("A", "1"), ("B", "")),
        health_mode="observe",
        health_interval_seconds=3600,
        health_recovery_hold_seconds=0,
        health_read_deadline_seconds=300,
        health_conditions=(
            ConditionSetting("Overheated", effect="inform"),
            ConditionSetting("UncorrectableErrors", threshold=3),
            ConditionSetting("BadPageThreshold", effect="ignore", limit=64),
            ConditionSetting("Busy"),
        ),
        http_address=ListenAddress("::1", 0),
        http_status_page=False,
        kubernetes_events=True,
        kubernetes_node_condition=True,
        kubernetes_node_condition_delay_seconds=60.0,
        log_level="debug",
        log_format="json",
    )


OTHER_VALUES = {
    "--config": "/c",
    "--sysfs-root": "/s",
    "--dev-root": "/d",
    "--simulate": "mi210:4",
    "--simulate-anyway": "true",
    "--device-plugins-dir": "/p",
    "--pod-resources-dir": "/r",
    "--state-dir": "/t",
    "--resource-naming": "mixed",
    "--replicas": "2",
    "--retire-after": "7",
    "--health-mode": "observe",
    "--health-interval": "8",
    "--health-recovery-hold": "9.5",
    "--health-read-deadline": "10",
    "--http-address": "localhost:1",
    "--log-level": "debug",
    "--log-format": "json",
}


def test_flags_and_variables_are_those_promised() -> None:
    assert {option.flag for option in OPTIONS if option.flag} == set(OTHER_VALUES)
    assert all(
        option.variable == "AMDGPU_PLUGIN_" + option.flag[2:].upper().replace("-", "_")
        for option in OPTIONS
        if option.flag
    )


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.flag], ids=lambda option: option.name
)
def test_each_flag_and_its_variable_set_their_field_and_no_other(option: Option) -> None:
    assert option.flag is not None
    assert option.variable is not None
    text = OTHER_VALUES[option.flag]
    by_flag = load_config({option.flag: text}, {}).config
    assert by_flag == load_config({}, {option.variable: text}).config
    changed = [
        field.name
        for field in dataclasses.fields(Config)
        if getattr(by_flag, field.name) != getattr(DEFAULTS, field.name)
    ]
    assert changed == [option.field]


def test_a_flag_without_a_value_is_true() -> None:
    assert load_config({"--simulate-anyway": True}, {}).config.simulate_anyway


def test_empty_unsets_what_can_be_unset() -> None:
    environ = {
        "AMDGPU_PLUGIN_SIMULATE": "mi300x",
        "AMDGPU_PLUGIN_DEV_ROOT": "",
        "AMDGPU_PLUGIN_HTTP_ADDRESS": "",
    }
    config = load_config({"--simulate": ""}, environ, "dev_root: /host/dev").config
    assert (config.simulate, config.dev_root, config.http_address) == (None, None, None)


def test_null_in_the_file_unsets_what_can_be_unset_and_a_group_without_a_body_sets_nothing() -> None:
    assert from_yaml("dev_root: null\ndevices: {expect: ~}\nhealth:\n") == DEFAULTS


@pytest.mark.parametrize(
    ("interval", "period"), [("1", 0.2), ("10", 2.0), ("25", 5.0), ("30", 5.0), ("3600", 5.0)]
)
def test_presence_is_looked_at_every_fifth_of_the_interval_but_at_least_every_5_s(
    interval: str, period: float
) -> None:
    assert load_config({"--health-interval": interval}, {}).config.presence_period_seconds == pytest.approx(
        period
    )


@pytest.mark.parametrize(
    ("flags", "environ", "asked"),
    [
        ({}, {}, None),
        ({"--config": "/f"}, {"AMDGPU_PLUGIN_CONFIG": "/v"}, ("--config", "/f")),
        ({}, {"AMDGPU_PLUGIN_CONFIG": "/v"}, ("AMDGPU_PLUGIN_CONFIG", "/v")),
        ({"--config": ""}, {"AMDGPU_PLUGIN_CONFIG": "/v"}, None),
        ({}, {"AMDGPU_PLUGIN_CONFIG": ""}, None),
    ],
)
def test_who_asks_for_a_file(
    flags: dict[str, str], environ: dict[str, str], asked: tuple[str, str] | None
) -> None:
    assert config_path(flags, environ) == asked


# -- What is refused --


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--health-interval", "0", "must be between 1 and 3600 seconds, got 0"),
        ("--health-interval", "3600.5", "must be between 1 and 3600 seconds, got 3600.5"),
        ("--health-interval", "30s", "must be a number of seconds, got '30s' (a plain number, no unit)"),
        ("--health-interval", "nan", "must be a number of seconds, got 'nan' (a plain number, no unit)"),
        ("--health-interval", "", "must be a number of seconds, got '' (a plain number, no unit)"),
        ("--health-interval", "１０", "must be a number of seconds, got '１０' (a plain number, no unit)"),
        ("--health-read-deadline", "301", "must be between 1 and 300 seconds, got 301"),
        ("--health-recovery-hold", "-1", "must be between 0 and 86400 seconds, got -1"),
        ("--retire-after", "86401", "must be between 0 and 86400 seconds, got 86401"),
        ("--replicas", "0", "must be between 1 and 256, got 0"),
        ("--replicas", "2.0", "must be a whole number, got 2.0"),
        ("--replicas", "9" * 5000, f"must be a whole number, got '{'9' * 56}..."),
        ("--resource-naming", "Mixed", "must be single or mixed, got 'Mixed' (did you mean mixed?)"),
        ("--health-mode", "off", "must be enforce or observe, got 'off'"),
        ("--log-level", "", "must be debug or info or warning or error, got ''"),
        ("--log-format", "xml", "must be text or json, got 'xml'"),
        ("--sysfs-root", "", "must be a path, got ''"),
        ("--state-dir", "", "must be a path, got ''"),
        ("--simulate", "MI300X", "must be a shape, got 'MI300X' (for example mi300x, or mi300x:4 for four GPUs)"),
        ("--simulate", "mi300x:0", "must be a shape, got 'mi300x:0' (for example mi300x, or mi300x:4 for four GPUs)"),
        ("--simulate-anyway", "maybe", "must be true or false, got 'maybe'"),
        ("--http-address", ":65536", "must be between 0 and 65535 (the port), got 65536"),
        *(
            ("--http-address", bad, f"must be ADDRESS:PORT, got {bad!r} (for example :9400, 127.0.0.1:9400 or [::1]:9400; empty is off)")
            for bad in ("9400", ":", "::1:9400", "http://x:1", "[]:1", "a b:1", "x:-1")
        ),
    ],
)  # fmt: skip
def test_bad_value_is_refused_by_the_name_it_was_given_under(flag: str, value: str, said: str) -> None:
    variable = "AMDGPU_PLUGIN_" + flag[2:].upper().replace("-", "_")
    assert refused(flags={flag: value}) == f"{flag}: {said}"
    assert refused(environ={variable: value}) == f"{variable}: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("health_interval: 3", "health_interval: unknown key (did you mean health.interval?)"),
        ("health-interval: 3", "health-interval: unknown key (did you mean health.interval?)"),
        ("health: {intervall: 3}", "health.intervall: unknown key (did you mean health.interval?)"),
        ("helth: {interval: 3}", "helth: unknown key (did you mean health?)"),
        ("replicas: 3", "replicas: unknown key (did you mean sharing.replicas?)"),
        ("quite_something_else: 3", "quite_something_else: unknown key"),
        ("config: /other.yaml", "config: unknown key"),
        ("sysfs_root: {a: b}", "sysfs_root: must be a path, got a mapping"),
        ("health: 3", "health: must be a mapping, got 3"),
        ("health: {1: 2}", "health: a key must be text, got 1 (put it in quotes)"),
        ("[]", "must be a mapping, got a list"),
        ("text", "must be a mapping, got 'text'"),
        ("health: {interval: '30'}", "health.interval: must be a number of seconds, got '30' (a plain number, no unit)"),
        ("health: {interval: true}", "health.interval: must be a number of seconds, got true (a plain number, no unit)"),
        ("health: {interval: null}", "health.interval: must be a number of seconds, got null (a plain number, no unit)"),
        ("health: {interval: 010}", "health.interval: must be a number of seconds, got '010' (a plain number, no unit)"),
        ("sharing: {replicas: yes}", "sharing.replicas: must be a whole number, got true"),
        ("sharing: {strict: 1}", "sharing.strict: must be true or false, got 1"),
        ("sharing: {resources: {amd.com/gpu.shared: {}}}", "sharing.resources.amd.com/gpu.shared: not a resource of this plugin (for example amd.com/gpu, without .shared)"),
        ("sharing: {resources: {amd.com/gpu: {replicas: 257}}}", "sharing.resources.amd.com/gpu.replicas: must be between 1 and 256, got 257"),
        ("sharing: {resources: {amd.com/gpu: {strict: true}}}", "sharing.resources.amd.com/gpu.strict: unknown key (it can be replicas, rename)"),
        ("allocate: {visible_devices: both}", "allocate.visible_devices: must be none or rocr or hip, got 'both'"),
        ("sharing: {spread: wide}", "sharing.spread: must be distinct or packed, got 'wide'"),
        ("log_level: [info]", "log_level: must be debug or info or warning or error, got a list"),
        ("http: {address: 9400}", "http.address: must be ADDRESS:PORT, got 9400 (for example :9400, 127.0.0.1:9400 or [::1]:9400; empty is off)"),
        ("devices: {expect: -1}", "devices.expect: must be between 0 and 1024, got -1"),
        ("devices: {include: []}", "devices.include: an empty list would leave no GPU (all, or a list of GPUs)"),
        ("devices: {include: 0000:05:00.0}", "devices.include: must be a list, got '0000:05:00.0'"),
        ("devices: {exclude: all}", "devices.exclude: must be a list, got 'all'"),
        ("devices: {exclude: [a, 05:00.0]}", "devices.exclude[1]: a PCI address has its domain in front, got '05:00.0' (0000:05:00.0)"),
        ("devices: {exclude: ['']}", "devices.exclude[0]: must be a PCI address, a PCI id or a product name, got ''"),
        ("allocate: {extra_devices: [{host_path: dev/a}]}", "allocate.extra_devices[0].host_path: must be an absolute path, got 'dev/a'"),
        ("allocate: {extra_devices: [{}]}", "allocate.extra_devices[0]: host_path is missing"),
        ("allocate: {extra_devices: [{host_path: /a, mode: rw}]}", "allocate.extra_devices[0].mode: unknown key (it can be host_path, container_path, permissions)"),
        ("allocate: {extra_devices: [{host_path: /a, permissions: rr}]}", "allocate.extra_devices[0].permissions: must be out of r, w and m, got 'rr'"),
        ("allocate: {extra_devices: [/dev/a]}", "allocate.extra_devices[0]: must be a mapping, got '/dev/a'"),
        ("allocate: {mounts: [{host_path: /a, readonly: true}]}", "allocate.mounts[0].readonly: unknown key (did you mean read_only?)"),
        ("allocate: {mounts: [{host_path: /a, read_only: 'no'}]}", "allocate.mounts[0].read_only: must be true or false, got 'no'"),
        ("allocate: {env: {A: 1}}", "allocate.env.A: must be text, got 1 (put it in quotes)"),
        ("allocate: {env: {A-B: x}}", "allocate.env.A-B: not a name of a variable"),
        ("allocate: {env: {AMDGPU_DEVICES: x}}", "allocate.env.AMDGPU_DEVICES: is what the plugin itself tells the container"),
        ("health: {conditions: {Overheatd: {}}}", "health.conditions.Overheatd: no such condition (did you mean Overheated?)"),
        ("health: {conditions: {Retired: {}}}", "health.conditions.Retired: is a fact about an ID, which no setting changes"),
        ("health: {conditions: {Hot: ignore}}", "health.conditions.Hot: must be a mapping, got 'ignore'"),
        ("health: {conditions: {Hot: {effect: fatal}}}", "health.conditions.Hot.effect: must be unhealthy or inform or ignore, got 'fatal'"),
        ("health: {conditions: {Hot: {threshold: 3}}}", "health.conditions.Hot.threshold: unknown key (it can be effect)"),
        ("health: {conditions: {BadPageThreshold: {threshold: 3}}}", "health.conditions.BadPageThreshold.threshold: unknown key (it can be effect, limit)"),
        ("health: {conditions: {UncorrectableErrors: {threshold: 0}}}", "health.conditions.UncorrectableErrors.threshold: must be between 1 and 1000000, got 0"),
        ("log_level: info\nlog_level: debug", "line 2, column 1: the key log_level is there twice"),
        ('state_dir: "\\ud800"', "line 1, column 12: half a surrogate pair is no character"),
        ('"\\udfff": 1', "line 1, column 1: half a surrogate pair is no character"),
        ("health:\n  interval: 3\n  'interval': 4", "line 3, column 3: the key interval is there twice"),
        ("a: [", "line 1, column 5: expected the node content, but found '<stream end>'"),
        ("log_level: !!python/name:os.system", "line 1, column 12: could not determine a constructor for the tag 'tag:yaml.org,2002:python/name:os.system'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_in_the_file_is_named_by_its_place(text: str, said: str) -> None:
    assert refused(yaml_text=text) == f"node.yaml: {said}"


@pytest.mark.parametrize(
    "text",
    ["\0", "[" * 5000, "a: !!int ''", "a: !!timestamp x", "a: !!bool x", "a: !!float x", "--- a\n--- b"],
)
def test_what_is_no_yaml_is_an_error_like_any_other(text: str) -> None:
    assert refused(yaml_text=text).startswith("node.yaml: ")


@given(st.text() | st.text(alphabet="[]{}&*!:#-\n 'a1~|>%@<=\"\t?,"))
def test_any_text_in_the_file_gives_a_config_or_a_config_error(text: str) -> None:
    try:
        config = from_yaml(text)
    except ConfigError:
        return
    assert config == DEFAULTS


def test_unknown_flag_is_refused_with_the_nearest_known() -> None:
    assert (
        refused(flags={"--health-intervall": "3"})
        == "--health-intervall: no such option (did you mean --health-interval?)"
    )


# -- What is warned about --


def test_unknown_variables_warn_and_service_links_do_not() -> None:
    environ = {
        "AMDGPU_PLUGIN_HEALTH_INTERVALL": "3",
        "AMDGPU_PLUGIN_X": "3",
        "AMDGPU_PLUGIN_SERVICE_HOST": "10.0.0.1",
        "AMDGPU_PLUGIN_SERVICE_PORT": "9400",
        "AMDGPU_PLUGIN_METRICS_SERVICE_PORT_HTTP": "9400",
        "AMDGPU_PLUGIN_PORT": "tcp://10.0.0.1:9400",
        "AMDGPU_PLUGIN_PORT_9400_TCP_ADDR": "10.0.0.1",
        "AMDGPU_OTHER": "3",
        "PATH": "/bin",
    }
    assert load_config({}, environ).warnings == (
        "AMDGPU_PLUGIN_HEALTH_INTERVALL: no such option, ignored (did you mean AMDGPU_PLUGIN_HEALTH_INTERVAL?)",
        "AMDGPU_PLUGIN_X: no such option, ignored",
    )


def test_a_sysfs_root_beside_a_simulated_node_warns() -> None:
    loaded = load_config({"--simulate": "mi300x", "--sysfs-root": "/captures"}, {})
    assert loaded.warnings == ("--sysfs-root: /captures is not read, a simulated node takes its place",)


# -- The page --


def test_the_reference_page_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "python -m amdgpu_plugin.config > docs/configuration.md"
    )


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.field)
def test_the_reference_page_has_each_option_with_its_names_and_default(option: Option) -> None:
    default = "unset" if option.default is None else f"`{option.shown_default}`"
    names = [f"`{name}`" if name else "–" for name in (option.flag, option.variable, option.key)]
    rows = [line.split(" | ") for line in reference().splitlines()]
    row = next(row for row in rows if [cell.removeprefix("| ") for cell in row[:3]] == names)
    assert row[4] == default
    assert option.help in row[5].replace("&lt;", "<").replace("\\|", "|")


def test_the_reference_page_has_each_condition() -> None:
    assert all(f"| `{name}` | `{effect}` |" in reference() for name, effect in CONDITIONS.items())


def test_the_example_on_the_page_is_valid() -> None:
    assert from_yaml(EXAMPLE).devices_exclude == ("0000:05:00.0", "1002:744c", "AMD Radeon Pro W7900")


def test_the_module_prints_the_page() -> None:
    printed = subprocess.run([sys.executable, "-m", "amdgpu_plugin.config"], capture_output=True, check=True)
    assert printed.stdout.decode() == reference()


def test_every_default_is_a_value_the_file_may_have() -> None:
    document: dict[str, Any] = {}
    for option in OPTIONS:
        if option.key is not None and option.default is not None:
            group, _, key = option.key.rpartition(".")
            place = document.setdefault(group, {}) if group else document
            place[key] = option.default
    assert from_yaml(yaml.safe_dump(document)) == DEFAULTS


@pytest.mark.parametrize("text", [":9400", "127.0.0.1:80", "node.example:0", "[::1]:9400"])
def test_an_address_is_shown_as_it_is_written(text: str) -> None:
    assert str(load_config({"--http-address": text}, {}).config.http_address) == text


def test_a_key_with_a_dot_is_refused_with_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"health.interval: keys do not have dots.*health: \{interval: …\}"):
        load_config({}, {}, "health.interval: 10\nhealth: {interval: 20}", yaml_name="f")
