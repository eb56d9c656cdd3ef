"""What single rooms take of the Config, in their own words: they know nothing of options."""

from amdgpu_plugin.allocation.container import DeviceNode, Extras, Mount
from amdgpu_plugin.config import Config, SharedResource, default_config
from amdgpu_plugin.discovery.naming import Shares, Sharing
from amdgpu_plugin.discovery.offering import Offering
from amdgpu_plugin.health.policy import Rules, rules_of


def offering(config: Config) -> Offering:
    """Which GPUs are offered."""
    return Offering(config.devices_include, config.devices_exclude, config.devices_integrated)


def sharing(config: Config) -> Sharing:
    """How many containers share a device of each resource."""
    default = Shares(config.replicas, config.sharing_rename)
    return Sharing(default, {each.name: _shares(each, default) for each in config.sharing_resources})


def rules(config: Config) -> Rules:
    """What health is judged by."""
    return rules_of(
        mode=config.health_mode,
        interval_seconds=config.health_interval_seconds,
        hold_seconds=config.health_recovery_hold_seconds,
        read_deadline_seconds=config.health_read_deadline_seconds,
        settings=config.health_conditions,
    )


def extras(config: Config) -> Extras:
    """What containers are given beyond what they need."""
    return Extras(
        card_nodes=config.allocate_card_nodes,
        nodes=tuple(
            DeviceNode(extra.container_path, extra.host_path, extra.permissions)
            for extra in config.allocate_extra_devices
        ),
        mounts=tuple(
            Mount(mount.container_path, mount.host_path, mount.read_only) for mount in config.allocate_mounts
        ),
        environment=config.allocate_env,
        visible_devices=config.allocate_visible_devices,
    )


def reads_pod_resources(config: Config) -> bool:
    """Whether who holds a device is asked for.

    A simulated node beside the kubelet's own directory would be told of that machine's real containers,
    unless their directory was chosen as well.
    """
    usual = default_config()
    aside = config.device_plugins_dir != usual.device_plugins_dir
    return config.simulate is None or not aside or config.pod_resources_dir != usual.pod_resources_dir


def _shares(resource: SharedResource, default: Shares) -> Shares:
    return Shares(
        default.replicas if resource.replicas is None else resource.replicas,
        default.rename if resource.rename is None else resource.rename,
    )
