"""Which findings a look gives: a table, each row one thing that is wrong with a node that is fine."""

from dataclasses import replace
from typing import Any

import pytest

from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.doctor.findings import findings
from amdgpu_plugin.doctor.kinds import KINDS
from amdgpu_plugin.doctor.looked import Bus, DeviceNode, Directory, Looked, Registration, Socket
from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.node import Condition, GpuStatus, ListedDevice, Verdict
from tests.doctor.looks import (
    ALONE,
    DAEMON,
    GPUS,
    MODALIAS,
    PLUGINS,
    PODS,
    REGISTERED,
    WITH_DAEMON,
    A,
    B,
    bus,
    gpu,
    node,
    on,
)

SINCE = 1_800_000_000.0
AT = "2027-01-15 08:00:00Z"
NO_GPUS: Any = {"node": node(), "bus": bus(a=None, b=None)}


def told(looked: Looked) -> dict[str, tuple[str, ...]]:
    return {one.name: one.evidence for one in findings(looked)}


def ill(*verdicts: Verdict, gpus: Any = GPUS, **facts: Any) -> Looked:
    """The first devices of the node have those verdicts."""
    fine = node(*gpus, **facts)
    sick = [replace(one, verdict=verdict) for one, verdict in zip(fine.devices, verdicts, strict=False)]
    return replace(WITH_DAEMON, node=replace(fine, devices=(*sick, *fine.devices[len(sick) :])))


def status(**facts: Any) -> dict[str, GpuStatus]:
    return {A: GpuStatus(**facts)}


def registered(**facts: Any) -> Looked:
    return replace(WITH_DAEMON, daemon=replace(DAEMON, registrations=(replace(REGISTERED, **facts),)))


def with_daemon(**facts: Any) -> Looked:
    return replace(WITH_DAEMON, daemon=replace(DAEMON, **facts))


Cases = dict[str, tuple[Looked, dict[str, tuple[str, ...]]]]

CONFINED = "system_u:system_r:container_t:s0:c1,c2"
KERNEL = "; Linux 6.12.9, amdgpu 6.12.12"
HOT = Condition("Hot", "junction 101 °C", "readings", SINCE, "inform")
WEDGED = Verdict("Wedged", "rebind", SINCE)
CPX = gpu(B, 136, partitions=2)

DRIVER_CASES: Cases = {
    "a node without AMD GPUs": (
        replace(ALONE, node=node(), bus=Bus(amdgpu_loaded=False, gpus=())),
        {"no-gpu": ("bus/pci/devices: no AMD display or accelerator function",)},
    ),
    "the module is not loaded": (
        replace(ALONE, **NO_GPUS | {"bus": bus(loaded=False, a=None, b=None)}),
        {"driver-absent": (f"module/amdgpu is absent; no driver: {A}, {B}{KERNEL}",)},
    ),
    "the module is not loaded, since it is blacklisted": (
        replace(
            on(ALONE, blacklisted=("/proc/cmdline: nomodeset",)),
            **NO_GPUS | {"bus": bus(loaded=False, a=None, b=None)},
        ),
        {
            "driver-absent": (f"module/amdgpu is absent; no driver: {A}, {B}{KERNEL}",),
            "driver-blacklisted": ("/proc/cmdline: nomodeset",),
        },
    ),
    "a blacklist that keeps nothing out": (on(ALONE, blacklisted=("/proc/cmdline: nomodeset",)), {}),
    "the driver does not know the GPU": (
        replace(on(ALONE, aliases=("pci:v00001002d00006860sv*sd*bc*sc*i*",)), **NO_GPUS),
        {"driver-too-old": tuple(f"{address} is {MODALIAS}{KERNEL}" for address in (A, B))},
    ),
    "the driver claims the GPU and does not have it": (
        replace(ALONE, **NO_GPUS),
        {"gpu-unbound": tuple(f"{address} is bound to no driver{KERNEL}" for address in (A, B))},
    ),
    "what the driver claims is not visible": (
        replace(on(ALONE, aliases=None, kernel=None), **NO_GPUS),
        {"gpu-unbound": tuple(f"{address} is bound to no driver; amdgpu 6.12.12" for address in (A, B))},
    ),
    "a GPU is passed through": (
        replace(ALONE, node=node(GPUS[0]), bus=bus(b="vfio-pci")),
        {"gpu-elsewhere": (f"{B} is on vfio-pci",)},
    ),
    "fewer GPUs than expected": (
        replace(WITH_DAEMON, expected_gpus=3),
        {"gpus-missing": ("2 of 3 GPUs are bound to amdgpu",)},
    ),
    "as many GPUs as expected": (replace(WITH_DAEMON, expected_gpus=2), {}),
    "a GPU that does not answer": (
        replace(ALONE, node=node(GPUS[0], skipped=(Skipped("class/drm/card9", "no answer in 20 s"),))),
        {"gpu-skipped": (f"nothing of {B} is served", "class/drm/card9: no answer in 20 s")},
    ),
    "a GPU whose partitions cannot be proven": (
        replace(
            ALONE,
            node=node(GPUS[0], replace(CPX, devices=()), skipped=(Skipped("devices/b", "not provable"),)),
        ),
        {"gpu-skipped": (f"nothing of {B} is served", "devices/b: not provable")},
    ),
    "a GPU that the operator left out": (
        replace(
            ALONE,
            node=node(
                GPUS[0],
                replace(GPUS[1], devices=(), left_out="left out by devices.exclude: 1002:74a1"),
                skipped=(Skipped(f"bus/pci/devices/{B}", "left out by devices.exclude: 1002:74a1"),),
            ),
        ),
        {},
    ),
    "a BMC and denied KFD nodes are no news": (
        replace(
            ALONE,
            node=node(
                *GPUS,
                skipped=(
                    Skipped("class/drm/card0", "not an amdgpu device (vendor 0x1a03)"),
                    Skipped("class/kfd/kfd/topology/nodes/2", "denied: no device-cgroup access"),
                ),
            ),
        ),
        {},
    ),
    "an attribute that makes no sense": (
        replace(ALONE, node=node(*GPUS, skipped=(Skipped("devices/a/numa_node", "not a number: 'x'"),))),
        {"skipped": ("devices/a/numa_node: not a number: 'x'",)},
    ),
    "the bus could not be listed": (replace(ALONE, bus=None), {}),
}

HEALTH_CASES: Cases = {
    "an unhealthy device": (ill(WEDGED), {"unhealthy": (f"Wedged: {A}: rebind, since {AT}",)}),
    "a GPU's partitions are one line": (
        replace(ill(WEDGED, WEDGED, gpus=(CPX,)), bus=None),
        {"unhealthy": (f"Wedged: {B}: rebind, since {AT}, 2 devices",)},
    ),
    "facts about IDs are no illness": (
        ill(Verdict("Retired", "of mode CPX", SINCE), Verdict("HeldElsewhere", "team/pod", SINCE)),
        {"ids-waiting": (f"{A}: Retired: of mode CPX", f"{B}: HeldElsewhere: team/pod")},
    ),
    "a condition that informs": (
        replace(WITH_DAEMON, node=node(*GPUS, statuses=status(conditions=(HOT,)))),
        {"informs": (f"Hot: {A}: junction 101 °C, since {AT}",)},
    ),
    "a verdict that observe mode keeps back is told once": (
        replace(
            WITH_DAEMON,
            node=node(*GPUS, statuses=status(conditions=(replace(HOT, name="Wedged"),), would_be=WEDGED)),
        ),
        {"observed-only": (f"Wedged: {A}: rebind, since {AT}",)},
    ),
    "the guard": (
        replace(WITH_DAEMON, node=node(*GPUS, guard_active=True)),
        {"guard-active": ("health.guard_active is true",)},
    ),
    "a narrow link": (
        replace(ALONE, bus=Bus(True, (replace(bus().gpus[0], lanes=8), bus().gpus[1]))),
        {"link-narrow": (f"{A}: x8 of x16",)},
    ),
    "a narrow link that the daemon has judged": (
        replace(
            WITH_DAEMON,
            bus=Bus(True, (replace(bus().gpus[0], lanes=8), bus().gpus[1])),
            node=node(*GPUS, statuses=status(conditions=(replace(HOT, name="LinkDegraded"),))),
        ),
        {"informs": (f"LinkDegraded: {A}: junction 101 °C, since {AT}",)},
    ),
    "a link of unknown width": (
        replace(ALONE, bus=Bus(True, tuple(replace(each, most_lanes=None) for each in bus().gpus))),
        {},
    ),
    "a GPU outside the hive": (
        replace(ALONE, node=node(GPUS[0], replace(GPUS[1], xgmi_hive=None))),
        {"outside-hive": (f"{B} (AMD Instinct MI300X) is in no hive",)},
    ),
    "another kind of GPU is in no hive": (
        replace(ALONE, node=node(GPUS[0], replace(GPUS[1], xgmi_hive=None, pci_id="1002:7448"))),
        {},
    ),
    "modes mixed under one name": (
        replace(ALONE, node=node(GPUS[0], CPX)),
        {"modes-mixed": (f"CPX NPS1 as amd.com/cpx_nps1: {B}", f"SPX as amd.com/gpu: {A}")},
    ),
    "modes mixed on purpose": (replace(ALONE, node=node(GPUS[0], CPX), shares_one_name=False), {}),
    "memory modes of whole GPUs are one style": (
        replace(ALONE, node=node(GPUS[0], replace(GPUS[1], memory_partition="NPS4"))),
        {},
    ),
}

ACCESS_CASES: Cases = {
    "no KFD": (
        replace(WITH_DAEMON, node=node(*GPUS, kfd="absent")),
        {"kfd-absent": ("class/kfd/kfd/topology is not there",)},
    ),
    "KFD denied": (
        replace(WITH_DAEMON, node=node(*GPUS, kfd="denied")),
        {"kfd-denied": ("class/kfd/kfd/topology/nodes: denied",)},
    ),
    "no KFD where there is no GPU": (
        replace(ALONE, node=node(kfd="absent"), bus=None),
        {},
    ),
    "a render node is missing": (
        on(WITH_DAEMON, device_nodes=(DeviceNode("/dev/dri/renderD128", None),)),
        {"device-node-missing": ("/dev/dri/renderD128 is missing",)},
    ),
    "nodes of root's group, or closed to theirs": (
        on(
            WITH_DAEMON,
            device_nodes=(DeviceNode("/dev/kfd", 0o660), DeviceNode("/dev/dri/renderD128", 0o640, 105)),
        ),
        {
            "device-permissions": (
                "/dev/kfd: group 0, mode 0660",
                "/dev/dri/renderD128: group 105, mode 0640",
            )
        },
    ),
    "nodes of two groups": (
        on(
            WITH_DAEMON,
            device_nodes=(
                DeviceNode("/dev/kfd", 0o660, 44),
                DeviceNode("/dev/dri/renderD128", 0o660, 105),
                DeviceNode("/dev/dri/renderD129", 0o660, 105),
            ),
        ),
        {
            "non-root-pods": (
                "group 44: /dev/kfd",
                "group 105: /dev/dri/renderD128, /dev/dri/renderD129",
            )
        },
    ),
    "/dev is not visible": (on(WITH_DAEMON, device_nodes=None), {}),
    "SELinux confines us": (
        on(ALONE, selinux_context=CONFINED),
        {"selinux-denial": (f"this process is {CONFINED}; enforcing",)},
    ),
    "SELinux confines us, and may enforce": (
        on(ALONE, selinux_context=CONFINED, selinux_enforcing=None),
        {"selinux-denial": (f"this process is {CONFINED}; whether it enforces is not visible",)},
    ),
    "SELinux is permissive": (on(ALONE, selinux_context=CONFINED, selinux_enforcing=False), {}),
    "SELinux lets us": (on(ALONE, selinux_context="system_u:system_r:spc_t:s0"), {}),
    "SELinux confines a daemon that is served all the same": (on(WITH_DAEMON, selinux_context=CONFINED), {}),
    "AppArmor": (on(ALONE, selinux_context="cri-containerd.apparmor.d (enforce)"), {}),
    "no security module": (on(ALONE, selinux_context=None), {}),
    "a user namespace": (
        on(WITH_DAEMON, uid_map="         0     100000      65536\n"),
        {"events-deaf": ("/proc/self/uid_map is '0 100000 65536': a user namespace",)},
    ),
    "a user namespace, with simulated events": (
        replace(on(WITH_DAEMON, uid_map="0 100000 65536"), daemon=replace(DAEMON, events="simulated")),
        {},
    ),
    "the daemon hears nothing": (
        with_daemon(events="none"),
        {"events-deaf": ("the daemon listens to no kernel events",)},
    ),
    "a daemon that hears nothing of what happens": (
        with_daemon(missed_events=3),
        {"netlink-deaf": ("changes of GPUs that no event told of since the daemon started: 3",)},
    ),
    "it hears nothing, and why": (
        on(with_daemon(missed_events=1), uid_map="0 100000 65536"),
        {
            "netlink-deaf": (
                "changes of GPUs that no event told of since the daemon started: 1",
                "/proc/self/uid_map is '0 100000 65536': a user namespace",
            )
        },
    ),
    "the state directory is read-only": (
        on(WITH_DAEMON, state=Directory("/run/amdgpu-plugin", there=True, writable=False)),
        {"state-not-writable": ("/run/amdgpu-plugin is not writable",)},
    ),
}

SERVING_CASES: Cases = {
    "no directory": (
        on(
            ALONE,
            device_plugins=Directory(PLUGINS, there=False, writable=True),
            kubelet=Socket(f"{PLUGINS}/kubelet.sock", "absent"),
        ),
        {"device-plugins-missing": (f"{PLUGINS} is not there",)},
    ),
    "a directory that is read-only": (
        on(ALONE, device_plugins=Directory(PLUGINS, there=True, writable=False)),
        {"device-plugins-not-writable": (f"{PLUGINS} is not writable",)},
    ),
    "a kubelet that ended": (
        on(ALONE, kubelet=Socket(f"{PLUGINS}/kubelet.sock", "dead")),
        {"kubelet-silent": (f"{PLUGINS}/kubelet.sock: dead",)},
    ),
    "a daemon that is registered knows better": (
        on(
            WITH_DAEMON,
            device_plugins=Directory(PLUGINS, there=False, writable=False),
            kubelet=Socket(f"{PLUGINS}/kubelet.sock", "absent"),
            pod_resources=Socket(f"{PODS}/kubelet.sock", "absent"),
        ),
        {},
    ),
    "what a user may not do says nothing of the daemon": (
        on(
            ALONE,
            uid=1000,
            device_plugins=Directory(PLUGINS, there=True, writable=False),
            state=Directory("/run/amdgpu-plugin", there=True, writable=False),
            kubelet=Socket(f"{PLUGINS}/kubelet.sock", "denied"),
            pod_resources=Socket(f"{PODS}/kubelet.sock", "denied"),
        ),
        {"not-root": ("user id 1000",)},
    ),
    "another plugin's socket": (
        on(WITH_DAEMON, neighbours=(Socket(f"{PLUGINS}/amd.com_gpu", "live"),)),
        {"other-plugin": (f"{PLUGINS}/amd.com_gpu accepts connections",)},
    ),
    "another plugin that ended": (
        on(WITH_DAEMON, neighbours=(Socket(f"{PLUGINS}/amd.com_gpu", "dead"),)),
        {},
    ),
    "the daemon waits for another plugin": (
        registered(registered=False, phase="waiting", detail="amd.com_gpu", conflict=True),
        {"other-plugin": ("amd.com/gpu: waiting: amd.com_gpu",)},
    ),
    "a refused registration": (
        registered(registered=False, phase="not registered", detail="UNAVAILABLE"),
        {"not-registered": ("amd.com/gpu: not registered: UNAVAILABLE",)},
    ),
    "pod-resources do not answer": (
        on(ALONE, pod_resources=Socket(f"{PODS}/kubelet.sock", "absent")),
        {"pod-resources-silent": (f"{PODS}/kubelet.sock: absent",)},
    ),
    "the daemon does not know the holders": (
        with_daemon(holders_known=False),
        {"pod-resources-silent": ("the daemon does not know who holds its devices",)},
    ),
    "a simulated node": (
        replace(ALONE, source="simulated", where="mi300x:2", machine=None, bus=None),
        {"simulated": ("--simulate mi300x:2",)},
    ),
    "a simulating daemon": (
        with_daemon(simulated=True),
        {"simulated": ("the daemon runs with --simulate",)},
    ),
    "a capture": (
        replace(ALONE, source="capture", where="node7.capture", machine=None),
        {"capture": ("node7.capture",)},
    ),
    "no daemon": (replace(ALONE, unanswered="no answer at x"), {"no-daemon": ("no answer at x",)}),
}

CASES = DRIVER_CASES | HEALTH_CASES | ACCESS_CASES | SERVING_CASES


@pytest.mark.parametrize(("looked", "expected"), CASES.values(), ids=CASES)
def test_one_thing_wrong_is_told_with_its_evidence(
    looked: Looked, expected: dict[str, tuple[str, ...]]
) -> None:
    assert told(looked) == expected


@pytest.mark.parametrize("looked", [WITH_DAEMON, ALONE], ids=["daemon", "alone"])
def test_nothing_is_told_of_a_node_that_is_fine(looked: Looked) -> None:
    assert findings(looked) == ()


def test_the_cases_show_every_finding() -> None:
    assert {name for _, expected in CASES.values() for name in expected} == set(KINDS)


def test_the_table_has_problems_first() -> None:
    severities = [kind.severity for kind in KINDS.values()]
    assert severities == sorted(severities)


def test_findings_are_in_the_order_of_the_table() -> None:
    looked = replace(
        on(WITH_DAEMON, uid_map="0 1 2", state=Directory("/run/x", there=True, writable=False)),
        node=node(*GPUS, kfd="denied", guard_active=True),
        unanswered="x",
    )
    assert [(one.severity, one.name) for one in findings(looked)] == [
        ("problem", "guard-active"),
        ("problem", "state-not-writable"),
        ("remark", "no-daemon"),
        ("remark", "kfd-denied"),
        ("remark", "events-deaf"),
    ]


def test_each_condition_is_a_finding_with_its_own_advice() -> None:
    found = findings(ill(WEDGED, Verdict("Overheated", "junction 111 °C", SINCE)))
    assert [(one.name, one.advice) for one in found] == [
        ("unhealthy", CONDITIONS["Wedged"].advice),
        ("unhealthy", CONDITIONS["Overheated"].advice),
    ]


def test_a_condition_of_a_newer_daemon_gets_the_general_advice() -> None:
    (found,) = findings(ill(Verdict("Haunted", "boo", SINCE)))
    assert found.advice == KINDS["unhealthy"].advice


def test_devices_that_stayed_listed_are_judged_without_their_gpu() -> None:
    gone = ListedDevice(GPUS[1].devices[0], GPUS[1], Verdict("DeviceLost", "removed", SINCE))
    looked = replace(
        WITH_DAEMON,
        node=replace(node(GPUS[0]), devices=(*node(GPUS[0]).devices, gone)),
        bus=Bus(True, bus().gpus[:1]),
    )
    assert told(looked) == {"unhealthy": (f"DeviceLost: {B}: removed, since {AT}",)}


def test_a_registration_without_a_reason_is_told_by_its_phase() -> None:
    waits = Registration("amd.com/gpu", registered=False, phase="starting", detail=None, conflict=False)
    looked = replace(WITH_DAEMON, daemon=replace(DAEMON, registrations=(waits,)))
    assert told(looked) == {"not-registered": ("amd.com/gpu: starting",)}
