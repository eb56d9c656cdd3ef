import os
import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import MethodDescriptor

from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import generate

WIRE: dict[str, dict[str, int]] = {
    "Empty": {},
    "DevicePluginOptions": {"pre_start_required": 1, "get_preferred_allocation_available": 2},
    "RegisterRequest": {"version": 1, "endpoint": 2, "resource_name": 3, "options": 4},
    "ListAndWatchResponse": {"devices": 1},
    "Device": {"ID": 1, "health": 2, "topology": 3},
    "TopologyInfo": {"nodes": 1},
    "NUMANode": {"ID": 1},
    "PreferredAllocationRequest": {"container_requests": 1},
    "ContainerPreferredAllocationRequest": {
        "available_deviceIDs": 1,
        "must_include_deviceIDs": 2,
        "allocation_size": 3,
    },
    "PreferredAllocationResponse": {"container_responses": 1},
    "ContainerPreferredAllocationResponse": {"deviceIDs": 1},
    "AllocateRequest": {"container_requests": 1},
    "ContainerAllocateRequest": {"devices_ids": 1},
    "AllocateResponse": {"container_responses": 1},
    "ContainerAllocateResponse": {"envs": 1, "mounts": 2, "devices": 3, "annotations": 4, "cdi_devices": 5},
    "Mount": {"container_path": 1, "host_path": 2, "read_only": 3},
    "DeviceSpec": {"container_path": 1, "host_path": 2, "permissions": 3},
    "CDIDevice": {"name": 1},
    "PreStartContainerRequest": {"devices_ids": 1},
    "PreStartContainerResponse": {},
}


def read(directory: str, path: str) -> bytes:
    with open(os.path.join(directory, path), "rb") as file:
        return file.read()


def shape(method: MethodDescriptor) -> tuple[str, str, bool]:
    return method.input_type.name, method.output_type.name, method.server_streaming


def test_checked_in_code_is_what_the_proto_generates(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed: nothing to generate with")
    generate.generate(str(tmp_path))
    for path in generate.GENERATED:
        assert read(str(tmp_path), path) == read(generate.ROOT, path), (
            f"{path}: run python -m amdgpu_plugin.kubelet.api.generate"
        )


def test_generated_code_holds_no_address() -> None:
    for path in (*generate.GENERATED, *generate.PROTOS):
        assert re.findall(rb"\w+://\S*", read(generate.ROOT, path)) == []


def test_field_numbers_are_the_wires() -> None:
    messages = api.DESCRIPTOR.message_types_by_name
    assert {
        name: {field.name: field.number for field in message.fields} for name, message in messages.items()
    } == WIRE


def test_file_name_collides_with_no_other_kubelet_api() -> None:
    assert api.DESCRIPTOR.name == generate.PROTOS[0]
    assert api.DESCRIPTOR.package == "v1beta1"


def test_a_message_has_the_kubelets_bytes() -> None:
    device = api.Device(ID="a", health="Healthy", topology=api.TopologyInfo(nodes=[api.NUMANode(ID=1)]))
    assert device.SerializeToString() == b"\x0a\x01a\x12\x07Healthy\x1a\x04\x0a\x02\x08\x01"


def test_services_and_methods_have_the_kubelets_paths() -> None:
    services = api.DESCRIPTOR.services_by_name.values()
    assert {
        f"/{service.full_name}/{method.name}": shape(method)
        for service in services
        for method in service.methods
    } == {
        "/v1beta1.Registration/Register": ("RegisterRequest", "Empty", False),
        "/v1beta1.DevicePlugin/GetDevicePluginOptions": ("Empty", "DevicePluginOptions", False),
        "/v1beta1.DevicePlugin/ListAndWatch": ("Empty", "ListAndWatchResponse", True),
        "/v1beta1.DevicePlugin/GetPreferredAllocation": (
            "PreferredAllocationRequest",
            "PreferredAllocationResponse",
            False,
        ),
        "/v1beta1.DevicePlugin/Allocate": ("AllocateRequest", "AllocateResponse", False),
        "/v1beta1.DevicePlugin/PreStartContainer": (
            "PreStartContainerRequest",
            "PreStartContainerResponse",
            False,
        ),
    }
