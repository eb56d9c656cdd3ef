import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import hypothesis
import pytest
from hypothesis import strategies as st

from amdgpu_plugin.allocation.container import DeviceNode, Extras, Mount
from amdgpu_plugin.config.nested import MOST_REPLICAS
from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, KfdAccess, Link, Skipped
from amdgpu_plugin.kubelet import service as service_module
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.kubelet.service import DevicePluginService, Streams, allocatable, device_list
from amdgpu_plugin.node import Latest, ListedDevice, NodeState, Verdict
from tests.kubelet.worlds import GPU, UNBOUND, device, device_plugin, lines, state, until


class Served:
    """The service of amd.com/gpu, and a client of it."""

    def __init__(
        self, service: DevicePluginService, node: Latest[NodeState], stub: wire.DevicePluginStub
    ) -> None:
        self.service = service
        self.node = node
        self.stub = stub

    async def allocate(self, *containers: Sequence[str]) -> api.AllocateResponse:
        wanted = [api.ContainerAllocateRequest(devices_ids=ids) for ids in containers]
        answer: api.AllocateResponse = await self.stub.Allocate(
            api.AllocateRequest(container_requests=wanted)
        )
        return answer

    async def prefer(self, *containers: api.ContainerPreferredAllocationRequest) -> list[list[str]]:
        answer = await self.stub.GetPreferredAllocation(
            api.PreferredAllocationRequest(container_requests=containers)
        )
        return [list(container.deviceIDs) for container in answer.container_responses]


@asynccontextmanager
async def served(directory: str, first: NodeState, *, simulated: bool = False) -> AsyncIterator[Served]:
    node = Latest(first)
    service = DevicePluginService(GPU, node, simulated=simulated)
    async with device_plugin(f"{directory}/plugin.sock", service) as stub:
        yield Served(service, node, stub)


async def test_options_offer_a_preference_and_no_call_before_the_start(directory: str) -> None:
    async with served(directory, state()) as plugin:
        assert await plugin.stub.GetDevicePluginOptions(api.Empty()) == api.DevicePluginOptions(
            pre_start_required=False, get_preferred_allocation_available=True
        )


async def test_pre_start_has_nothing_to_do(directory: str) -> None:
    async with served(directory, state(device(1))) as plugin:
        request = api.PreStartContainerRequest(devices_ids=["0000:01:00.0"])
        assert await plugin.stub.PreStartContainer(request) == api.PreStartContainerResponse()


# ---- ListAndWatch ----

NO_CONTEXT: Any = None


def listed(bus: int, health: str, numa_node: int | None = 0) -> api.Device:
    topology = None if numa_node is None else api.TopologyInfo(nodes=[api.NUMANode(ID=numa_node)])
    return api.Device(ID=f"0000:{bus:02x}:00.0", health=health, topology=topology)


async def test_the_list_tells_health_and_the_numa_node_where_known(directory: str) -> None:
    first = state(
        device(1, numa_node=0),
        device(2, numa_node=1, verdict=UNBOUND),
        device(3, numa_node=None),
        device(4, resource="amd.com/cpx_nps1"),
    )
    async with served(directory, first) as plugin:
        assert await plugin.stub.ListAndWatch(api.Empty()).read() == api.ListAndWatchResponse(
            devices=[listed(1, "Healthy", 0), listed(2, "Unhealthy", 1), listed(3, "Healthy", None)]
        )


async def test_no_device_is_an_empty_list(directory: str) -> None:
    async with served(directory, state()) as plugin:
        assert await plugin.stub.ListAndWatch(api.Empty()).read() == api.ListAndWatchResponse()


async def test_each_change_sends_the_whole_list(directory: str) -> None:
    async with served(directory, state(device(1), device(2))) as plugin:
        lists = plugin.stub.ListAndWatch(api.Empty())
        await lists.read()
        plugin.node.set(state(device(1), device(2, verdict=UNBOUND)))
        assert await lists.read() == api.ListAndWatchResponse(
            devices=[listed(1, "Healthy"), listed(2, "Unhealthy")]
        )
        plugin.node.set(state(device(1), device(2), device(3)))
        assert await lists.read() == api.ListAndWatchResponse(
            devices=[listed(1, "Healthy"), listed(2, "Healthy"), listed(3, "Healthy")]
        )


UNSEEN = {
    "another reason": state(device(1), device(2, verdict=Verdict("DeviceLost", "gone", since=2.0))),
    "another resource's device": state(
        device(1), device(2, verdict=UNBOUND), device(3, resource="amd.com/cpx_nps1")
    ),
    "another driver": replace(
        state(device(1), device(2, verdict=UNBOUND)),
        inventory=replace(state().inventory, driver=Driver("amdgpu", "6.12.12", "readable")),
    ),
    "something skipped": replace(
        state(device(1), device(2, verdict=UNBOUND)),
        inventory=replace(state().inventory, skipped=(Skipped("class/drm/card0", "not an amdgpu device"),)),
    ),
}


@pytest.mark.parametrize("unseen", UNSEEN.values(), ids=UNSEEN.keys())
async def test_a_change_the_kubelet_cannot_see_sends_no_list(directory: str, unseen: NodeState) -> None:
    async with served(directory, state(device(1), device(2, verdict=UNBOUND))) as plugin:
        lists = plugin.stub.ListAndWatch(api.Empty())
        await lists.read()
        plugin.node.set(unseen)
        # An answer to a later question: had a list been sent, it would have come before.
        await plugin.stub.GetDevicePluginOptions(api.Empty())
        plugin.node.set(state(device(1)))
        assert await lists.read() == api.ListAndWatchResponse(devices=[listed(1, "Healthy")])


async def test_a_slow_reader_gets_the_latest_list_and_no_queue() -> None:
    node = Latest(state(device(1, numa_node=0)))
    # Between two steps of a handler gRPC waits until the reader has room.
    lists = aiter(DevicePluginService(GPU, node, simulated=False).ListAndWatch(api.Empty(), NO_CONTEXT))
    received = [await anext(lists)]
    for number in range(1, 21):
        node.set(state(device(1, numa_node=number)))
    received.append(await anext(lists))
    node.set(state(device(1, verdict=UNBOUND)))
    received.append(await anext(lists))
    assert [list(answer.devices) for answer in received] == [
        [listed(1, "Healthy", 0)],
        [listed(1, "Healthy", 20)],
        [listed(1, "Unhealthy", 0)],
    ]


def three_megabytes(character: str) -> NodeState:
    """As a list, close to the most that the kubelet takes and more than gRPC sends ahead at first."""
    whole = device(1)
    return state(replace(whole, device=replace(whole.device, id=character * 3_000_000)))


async def test_a_stream_cancelled_by_a_reader_that_reads_nothing_counts_as_ended(directory: str) -> None:
    async with served(directory, three_megabytes("x")) as plugin:
        lists = plugin.stub.ListAndWatch(api.Empty())
        for character in "abcdefgh":
            plugin.node.set(three_megabytes(character))
            await plugin.stub.GetDevicePluginOptions(api.Empty())
        assert plugin.service.streams.value == Streams(opened=1, live=1)
        lists.cancel()
        await until(plugin.service.streams, lambda streams: streams.live == 0)


async def test_open_streams_are_counted(directory: str) -> None:
    async with served(directory, state(device(1))) as plugin:
        one, other = plugin.stub.ListAndWatch(api.Empty()), plugin.stub.ListAndWatch(api.Empty())
        assert await one.read() == await other.read()
        assert plugin.service.streams.value == Streams(opened=2, live=2)
        one.cancel()
        await until(plugin.service.streams, lambda streams: streams.live == 1)
        other.cancel()
        await until(plugin.service.streams, lambda streams: streams == Streams(opened=2, live=0))


async def test_a_client_that_is_gone_ends_its_stream(directory: str) -> None:
    async with served(directory, state(device(1))) as plugin:
        channel = grpc.aio.insecure_channel(
            f"unix:{directory}/plugin.sock", [("grpc.use_local_subchannel_pool", 1)]
        )
        await wire.DevicePluginStub(channel).ListAndWatch(api.Empty()).read()
        assert plugin.service.streams.value == Streams(opened=1, live=1)
        await channel.close()
        await until(plugin.service.streams, lambda streams: streams.live == 0)


async def test_a_shared_device_is_listed_by_each_of_its_replicas(directory: str) -> None:
    first = state(device(1, replicas=2), device(2, numa_node=1, verdict=UNBOUND, replicas=3), device(3))
    async with served(directory, first) as plugin:
        answer: Any = await plugin.stub.ListAndWatch(api.Empty()).read()
    assert [(told.ID, told.health, told.topology.nodes[0].ID) for told in answer.devices] == [
        ("0000:01:00.0::0", "Healthy", 0),
        ("0000:01:00.0::1", "Healthy", 0),
        ("0000:02:00.0::0", "Unhealthy", 1),
        ("0000:02:00.0::1", "Unhealthy", 1),
        ("0000:02:00.0::2", "Unhealthy", 1),
        ("0000:03:00.0", "Healthy", 0),
    ]


def test_the_longest_list_fits_into_what_the_kubelet_takes() -> None:
    devices = [device(bus, resource=GPU, numa_node=63, replicas=MOST_REPLICAS) for bus in range(256)]
    slices = [
        replace(each, device=replace(each.device, id=f"{each.id}-cpx{number % 8}"))
        for number, each in enumerate(devices)
    ]
    assert device_list(state(*slices), GPU).ByteSize() < 4 * 1024 * 1024


# ---- Allocate ----


def given(*buses: int, numa_nodes: str, kfd: bool = True) -> api.ContainerAllocateResponse:
    paths = (["/dev/kfd"] if kfd else []) + [f"/dev/dri/renderD{128 + bus}" for bus in buses]
    ids = ",".join(f"0000:{bus:02x}:00.0" for bus in buses)
    return api.ContainerAllocateResponse(
        envs={
            "AMDGPU_DEVICES": ids,
            "AMDGPU_PCI_ADDRESSES": ids,
            "AMDGPU_RENDER_NODES": ",".join(f"renderD{128 + bus}" for bus in buses),
            "AMDGPU_NUMA_NODES": numa_nodes,
        },
        devices=[api.DeviceSpec(container_path=path, host_path=path, permissions="rw") for path in paths],
    )


async def test_containers_are_answered_in_the_order_asked(directory: str) -> None:
    node = state(device(1, numa_node=0), device(2, numa_node=None), device(3, numa_node=1))
    async with served(directory, node) as plugin:
        assert await plugin.allocate(
            ["0000:03:00.0"], [], ["0000:02:00.0", "0000:01:00.0"]
        ) == api.AllocateResponse(
            container_responses=[
                given(3, numa_nodes="1"),
                api.ContainerAllocateResponse(),
                given(2, 1, numa_nodes=",0"),
            ]
        )


async def test_a_repeated_id_is_given_once(directory: str) -> None:
    async with served(directory, state(device(1), device(2))) as plugin:
        answer = await plugin.allocate(["0000:02:00.0", "0000:01:00.0", "0000:02:00.0"])
    assert answer == api.AllocateResponse(container_responses=[given(2, 1, numa_nodes="0,0")])


async def test_no_id_is_given_nothing_not_even_kfd(directory: str) -> None:
    async with served(directory, state(device(1), kfd="readable")) as plugin:
        assert await plugin.allocate([]) == api.AllocateResponse(
            container_responses=[api.ContainerAllocateResponse()]
        )


async def test_no_container_is_an_empty_answer(directory: str) -> None:
    async with served(directory, state(device(1))) as plugin:
        assert await plugin.allocate() == api.AllocateResponse()


@pytest.mark.parametrize(
    ("kfd", "expected"),
    [
        ("readable", given(1, numa_nodes="0")),
        ("denied", given(1, numa_nodes="0")),
        ("absent", given(1, numa_nodes="0", kfd=False)),
    ],
)
async def test_kfd_is_given_where_it_exists_though_it_be_denied_to_us(
    directory: str, kfd: KfdAccess, expected: api.ContainerAllocateResponse
) -> None:
    async with served(directory, state(device(1), kfd=kfd)) as plugin:
        answer = await plugin.allocate(["0000:01:00.0"])
    assert answer.container_responses == [expected]


async def test_a_simulated_device_is_the_hosts_null(directory: str) -> None:
    async with served(directory, state(device(1)), simulated=True) as plugin:
        (answer,) = (await plugin.allocate(["0000:01:00.0"])).container_responses
    assert answer.envs["AMDGPU_SIMULATED"] == "1"
    assert {node.container_path: node.host_path for node in answer.devices} == {
        "/dev/kfd": "/dev/null",
        "/dev/dri/renderD129": "/dev/null",
    }


async def test_a_replica_is_given_as_its_device(directory: str) -> None:
    async with served(directory, state(device(1, replicas=4), device(2, replicas=4))) as plugin:
        answer = await plugin.allocate(["0000:02:00.0::3", "0000:01:00.0::0"])
    assert answer == api.AllocateResponse(container_responses=[given(2, 1, numa_nodes="0,0")])


TWICE = ["0000:01:00.0::2", "0000:02:00.0::0", "0000:01:00.0::0"]


async def test_two_replicas_of_one_device_are_one_device_and_a_warning(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(directory, state(device(1, replicas=4), device(2, replicas=4))) as plugin:
        answer = await plugin.allocate(TWICE)
    assert answer == api.AllocateResponse(container_responses=[given(1, 2, numa_nodes="0,0")])
    assert [
        (record.message, record.__dict__["fields"])
        for record in lines(caplog, service_module.log)
        if record.levelname == "WARNING"
    ] == [
        (
            "several replicas of one device in one container",
            {"resource": GPU, "devices": "0000:01:00.0::2,0000:01:00.0::0"},
        )
    ]


async def test_two_replicas_of_one_device_are_refused_where_sharing_is_strict(directory: str) -> None:
    node = Latest(state(device(1, replicas=4), device(2, replicas=4)))
    service = DevicePluginService(GPU, node, simulated=False, strict_sharing=True)
    async with device_plugin(f"{directory}/plugin.sock", service) as stub:
        plugin = Served(service, node, stub)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await plugin.allocate(TWICE)
        await plugin.allocate(["0000:01:00.0::2"], ["0000:01:00.0::0"])
    assert (refused.value.code(), refused.value.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "0000:01:00.0::2, 0000:01:00.0::0 are one device, shared with itself",
    )


async def test_what_the_operator_adds_is_in_the_answer(directory: str) -> None:
    extras = Extras(
        nodes=(DeviceNode("/dev/fuse", "/dev/fuse0", "rwm"),),
        mounts=(Mount("/opt/rocm", "/opt/rocm-7", read_only=True),),
        environment=(("A", "1"),),
    )
    node = Latest(state(device(1)))
    service = DevicePluginService(GPU, node, simulated=False, extras=extras)
    async with device_plugin(f"{directory}/plugin.sock", service) as stub:
        answer = await Served(service, node, stub).allocate(["0000:01:00.0"])
    plain = given(1, numa_nodes="0")
    assert answer.container_responses == [
        api.ContainerAllocateResponse(
            envs={**plain.envs, "A": "1"},
            mounts=[api.Mount(container_path="/opt/rocm", host_path="/opt/rocm-7", read_only=True)],
            devices=[
                *plain.devices,
                api.DeviceSpec(container_path="/dev/fuse", host_path="/dev/fuse0", permissions="rwm"),
            ],
        )
    ]


SHARED = state(*(device(bus, replicas=bus) for bus in (1, 2, 3, 4)))
SERVED_IDS = [served_id for listed in SHARED.devices for served_id in listed.device.served_ids]


@hypothesis.given(st.lists(st.sampled_from(SERVED_IDS), max_size=20))
def test_each_distinct_device_is_allocated_once_in_the_order_asked(served_ids: list[str]) -> None:
    given_ids = [listed.id for listed in allocatable(SHARED, GPU, served_ids)]
    assert given_ids == list(dict.fromkeys(served_id.split("::")[0] for served_id in served_ids))


def test_a_request_for_many_replicas_looks_at_each_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would take as long as the square of their number."""
    looks: list[str] = []

    def counted(asked: ComputeDevice) -> tuple[str, ...]:
        looks.append(asked.id)
        return tuple(f"{asked.id}::{number}" for number in range(asked.replicas))

    monkeypatch.setattr(ComputeDevice, "served_ids", property(counted))
    many = state(device(1, replicas=256), device(2, replicas=256))
    wanted = [f"0000:0{bus}:00.0::{number}" for number in range(256) for bus in (1, 2)]
    assert (
        [listed.id for listed in allocatable(many, GPU, wanted)] == looks == ["0000:01:00.0", "0000:02:00.0"]
    )


async def test_the_log_of_an_allocation_does_not_grow_with_its_ids(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with served(directory, state(device(1, replicas=256))) as plugin:
        await plugin.allocate([f"0000:01:00.0::{number}" for number in range(256)])
    told = [record.__dict__["fields"]["devices"] for record in lines(caplog, service_module.log)]
    assert [text.rpartition(",")[2] for text in told] == ["0000:01:00.0::63 and 192 more"] * 2


MIXED = (
    device(1),
    device(2, verdict=UNBOUND),
    device(3, resource="amd.com/cpx_nps1"),
    device(4, verdict=UNBOUND),
    device(5, replicas=2),
)
FOREIGN_ID = "x" * 500
UNKNOWN_GPU7 = "amd.com/gpu has no device 'gpu7' on this node"
UNHEALTHY_2 = "device 0000:02:00.0 is unhealthy: DriverUnbound: no driver is bound"

REFUSED: dict[str, tuple[list[list[str]], grpc.StatusCode, str]] = {
    "unknown": (
        [["0000:01:00.0", "0000:7f:00.0"]],
        grpc.StatusCode.INVALID_ARGUMENT,
        "amd.com/gpu has no device '0000:7f:00.0' on this node",
    ),
    "empty": ([[""]], grpc.StatusCode.INVALID_ARGUMENT, "amd.com/gpu has no device '' on this node"),
    "500 characters": (
        [[FOREIGN_ID]],
        grpc.StatusCode.INVALID_ARGUMENT,
        f"amd.com/gpu has no device '{'x' * 80}…' on this node",
    ),
    "control characters": (
        [["0000:01:00.0\n\x00"]],
        grpc.StatusCode.INVALID_ARGUMENT,
        r"amd.com/gpu has no device '0000:01:00.0\n\x00' on this node",
    ),
    "of another resource": (
        [["0000:03:00.0"]],
        grpc.StatusCode.INVALID_ARGUMENT,
        "device '0000:03:00.0' is served as amd.com/cpx_nps1, not as amd.com/gpu",
    ),
    "unhealthy": (
        [["0000:02:00.0"]],
        grpc.StatusCode.FAILED_PRECONDITION,
        UNHEALTHY_2,
    ),
    "a replica of what is not shared": (
        [["0000:01:00.0::0"]],
        grpc.StatusCode.INVALID_ARGUMENT,
        "amd.com/gpu has no device '0000:01:00.0::0' on this node",
    ),
    "what is shared, without its replica": (
        [["0000:05:00.0"]],
        grpc.StatusCode.INVALID_ARGUMENT,
        "amd.com/gpu has no device '0000:05:00.0' on this node",
    ),
    "replicas that do not exist": (
        [[f"0000:05:00.0::{number}" for number in ("2", "01", "-1", "", "x", "0::0", "٠")]],
        grpc.StatusCode.INVALID_ARGUMENT,
        "; ".join(
            f"amd.com/gpu has no device '0000:05:00.0::{number}' on this node"
            for number in ("2", "01", "-1", "", "x", "0::0", "٠")
        ),
    ),
    "several unknown, all named": (
        [["gpu7", "0000:01:00.0", "0000:03:00.0"]],
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{UNKNOWN_GPU7}; device '0000:03:00.0' is served as amd.com/cpx_nps1, not as amd.com/gpu",
    ),
    "more unknown than a status message may hold": (
        [[f"{number}{FOREIGN_ID}" for number in range(1000)]],
        grpc.StatusCode.INVALID_ARGUMENT,
        "; ".join(f"amd.com/gpu has no device '{number}{'x' * 79}…' on this node" for number in range(8))
        + "; and 992 more",
    ),
    "unknown among unhealthy": (
        [["0000:02:00.0", "gpu7"]],
        grpc.StatusCode.INVALID_ARGUMENT,
        UNKNOWN_GPU7,
    ),
    "several unhealthy, all named": (
        [["0000:02:00.0", "0000:04:00.0", "0000:02:00.0"]],
        grpc.StatusCode.FAILED_PRECONDITION,
        f"{UNHEALTHY_2}; device 0000:04:00.0 is unhealthy: DriverUnbound: no driver is bound",
    ),
    "in the second container": (
        [["0000:01:00.0"], ["0000:02:00.0"]],
        grpc.StatusCode.FAILED_PRECONDITION,
        UNHEALTHY_2,
    ),
}


@pytest.mark.parametrize(("containers", "code", "details"), REFUSED.values(), ids=REFUSED.keys())
async def test_allocate_refuses_and_names_the_device(
    directory: str,
    containers: list[list[str]],
    code: grpc.StatusCode,
    details: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(directory, state(*MIXED)) as plugin:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await plugin.allocate(*containers)
    assert (refused.value.code(), refused.value.details()) == (code, details)
    assert [(record.message, record.__dict__["fields"]) for record in lines(caplog, service_module.log)] == [
        ("allocate refused", {"resource": GPU, "reason": details})
    ]


async def test_what_was_given_is_told_and_what_was_refused_is_not(directory: str) -> None:
    told: list[None] = []
    service = DevicePluginService(
        GPU, Latest(state(*MIXED)), simulated=False, on_allocated=lambda: told.append(None)
    )
    async with device_plugin(f"{directory}/plugin.sock", service) as stub:
        plugin = Served(service, Latest(state()), stub)
        with pytest.raises(grpc.aio.AioRpcError):
            await plugin.allocate(["0000:02:00.0"])
        assert len(told) == 0
        await plugin.allocate(["0000:01:00.0"])
        assert len(told) == 1


async def test_allocate_looks_at_the_state_of_now(directory: str) -> None:
    async with served(directory, state(device(1))) as plugin:
        await plugin.allocate(["0000:01:00.0"])
        plugin.node.set(state(device(1, verdict=UNBOUND)))
        with pytest.raises(grpc.aio.AioRpcError, match="DriverUnbound"):
            await plugin.allocate(["0000:01:00.0"])
        plugin.node.set(state(device(1)))
        await plugin.allocate(["0000:01:00.0"])


# ---- GetPreferredAllocation ----


def asked(
    size: int, available: Sequence[str] | None = None, must_include: Sequence[str] = ()
) -> api.ContainerPreferredAllocationRequest:
    return api.ContainerPreferredAllocationRequest(
        available_deviceIDs=ids(1, 2, 3, 4) if available is None else available,
        must_include_deviceIDs=must_include,
        allocation_size=size,
    )


def ids(*buses: int) -> list[str]:
    return [f"0000:{bus:02x}:00.0" for bus in buses]


def paired_gpus() -> tuple[ListedDevice, ...]:
    return tuple(device(bus) for bus in (1, 2, 3, 4))


PAIRS = tuple(
    Link(a, b, "xgmi" if (a, b) in {tuple(ids(1, 3)), tuple(ids(2, 4))} else "pcie", 15, None)
    for a, b in itertools.combinations(ids(1, 2, 3, 4), 2)
)


async def test_each_container_is_preferred_what_is_near_and_includes_what_it_must(directory: str) -> None:
    async with served(directory, state(*paired_gpus(), links=PAIRS)) as plugin:
        assert await plugin.prefer(asked(2), asked(2, must_include=ids(4)), asked(4), asked(1, ids(3))) == [
            ids(1, 3),
            ids(2, 4),
            ids(1, 2, 3, 4),
            ids(3),
        ]


ODD = {
    "size -3": asked(-3),
    "size 0": asked(0),
    "size 99": asked(99),
    "smallest size": asked(-(2**31)),
    "largest size": asked(2**31 - 1),
    "nothing available": asked(1, []),
    "unknown available": asked(2, ["0000:01:00.0", "gpu7"]),
    "repeated available": asked(2, ["0000:01:00.0", "0000:01:00.0"]),
    "unknown must-include": asked(2, must_include=["gpu7"]),
    "must-include not available": asked(2, ids(1, 2, 3), must_include=ids(4)),
    "more must-include than size": asked(1, must_include=ids(1, 2)),
    "500 characters": asked(1, ["x" * 500], must_include=["x" * 500]),
    "of another resource": asked(1, ids(9)),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_odd_input_gets_an_empty_preference_and_the_others_theirs(
    directory: str, odd: api.ContainerPreferredAllocationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    node = state(*paired_gpus(), device(9, resource="amd.com/cpx_nps1"), links=PAIRS)
    async with served(directory, node) as plugin:
        assert await plugin.prefer(asked(2), odd, asked(1, ids(4))) == [ids(1, 3), [], ids(4)]
    assert [record.message for record in lines(caplog, service_module.log)] == ["no preference"]


async def test_no_container_has_no_preference(directory: str) -> None:
    async with served(directory, state(device(1))) as plugin:
        assert await plugin.prefer() == []


async def test_a_fault_of_ours_gets_an_empty_preference_and_is_told(
    directory: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(service_module, "prefer_at_once", fault)
    async with served(directory, state(device(1))) as plugin:
        assert await plugin.prefer(asked(1, ids(1))) == [[]]
    assert [record.message for record in lines(caplog, service_module.log)] == [
        "no preference: a fault of ours"
    ]
