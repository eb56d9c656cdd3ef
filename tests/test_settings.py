import pytest

from amdgpu_plugin import settings
from amdgpu_plugin.allocation.container import NOTHING_MORE, DeviceNode, Extras, Mount
from amdgpu_plugin.config import default_config, load_config
from amdgpu_plugin.discovery.naming import UNSHARED, Shares, Sharing
from amdgpu_plugin.discovery.offering import USUAL, Offering

CONFIG = load_config(
    {},
    {},
    """
    sharing:
      replicas: 4
      rename: true
      resources:
        amd.com/gpu: {replicas: 1}
        amd.com/cpx_nps4: {rename: false}
    devices: {include: [1002:74A1], exclude: [0000:05:00.0], integrated: never}
    allocate:
      card_nodes: true
      visible_devices: rocr
      extra_devices: [{host_path: /dev/a, container_path: /dev/b, permissions: r}]
      mounts: [{host_path: /a, container_path: /b}]
      env: {A: "1"}
    """,
).config


def test_who_sets_nothing_gets_the_rooms_own_defaults() -> None:
    config = default_config()
    assert settings.offering(config) == USUAL
    assert settings.sharing(config) == UNSHARED
    assert settings.extras(config) == NOTHING_MORE


def test_what_is_offered() -> None:
    assert settings.offering(CONFIG) == Offering(("1002:74a1",), ("0000:05:00.0",), "never")


def test_what_one_resource_does_not_say_is_as_for_all() -> None:
    assert settings.sharing(CONFIG) == Sharing(
        Shares(4, rename=True),
        {"amd.com/gpu": Shares(1, rename=True), "amd.com/cpx_nps4": Shares(4, rename=False)},
    )


def test_what_containers_are_given_beside() -> None:
    assert settings.extras(CONFIG) == Extras(
        card_nodes=True,
        nodes=(DeviceNode("/dev/b", "/dev/a", "r"),),
        mounts=(Mount("/b", "/a", read_only=True),),
        environment=(("A", "1"),),
        visible_devices="rocr",
    )


@pytest.mark.parametrize(
    ("flags", "reads"),
    [
        ({}, True),
        ({"--device-plugins-dir": "/p"}, True),
        ({"--simulate": "apu"}, True),
        ({"--simulate": "apu", "--pod-resources-dir": "/r"}, True),
        ({"--simulate": "apu", "--device-plugins-dir": "/p"}, False),
        ({"--simulate": "apu", "--device-plugins-dir": "/p", "--pod-resources-dir": "/r"}, True),
    ],
)
def test_a_simulated_node_aside_is_not_told_of_this_machines_containers(
    flags: dict[str, str], *, reads: bool
) -> None:
    assert settings.reads_pod_resources(load_config(flags, {}).config) is reads
