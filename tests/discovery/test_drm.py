import pytest

from amdgpu_plugin.capture_file import Entry, Link
from amdgpu_plugin.discovery.drm import DrmMinors, Minor, read_minors
from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.sysfs import Blob, Refused
from tests.discovery.trees import Tree, gone, in_memory, link, pci_path, put, put_minors, put_pci, put_xcp

PATH = pci_path("0000:05:00.0")


def tree_of_one() -> Tree:
    tree: Tree = {}
    put_minors(tree, put_pci(tree, "0000:05:00.0"), card=1, render=128)
    return tree


def card(number: int, device: str = PATH) -> Minor:
    return Minor(f"card{number}", "card", number, device)


def render(number: int, device: str = PATH) -> Minor:
    return Minor(f"renderD{number}", "render", number, device)


def test_minors_are_cards_and_render_nodes_in_the_order_of_their_numbers() -> None:
    tree = tree_of_one()
    put_minors(tree, put_pci(tree, "0000:27:00.0"), card=10, render=200)
    put_minors(tree, put_pci(tree, "0000:47:00.0"), card=2, render=129)
    assert read_minors(in_memory(tree)) == DrmMinors(
        (
            card(1),
            card(2, pci_path("0000:47:00.0")),
            card(10, pci_path("0000:27:00.0")),
            render(128),
            render(129, pci_path("0000:47:00.0")),
            render(200, pci_path("0000:27:00.0")),
        ),
        (),
    )


def test_connectors_and_control_nodes_are_no_minors() -> None:
    tree = tree_of_one()
    for name in ("card1-DP-1", "card1-HDMI-A-1", "card1-Writeback-1"):
        put(tree, f"{PATH}/drm/card1/{name}", {"status": "connected\n"})
        link(tree, f"class/drm/{name}", f"{PATH}/drm/card1/{name}")
    link(tree, f"{PATH}/drm/controlD64", f"{PATH}/drm/card1")
    link(tree, "class/drm/controlD64", f"{PATH}/drm/controlD64")
    link(tree, "class/drm/ttm", "devices/virtual/drm/ttm")
    assert read_minors(in_memory(tree)) == DrmMinors((card(1), render(128)), ())


@pytest.mark.parametrize("spelling", ["_", "."])
def test_xcp_devices_are_known_by_both_spellings(spelling: str) -> None:
    tree: Tree = {}
    path = put_xcp(tree, 12, card=3, render=130, spelling=spelling)
    minors = read_minors(in_memory(tree)).minors
    assert minors == (card(3, path), render(130, path))
    assert [minor.is_xcp for minor in minors] == [True, True]


@pytest.mark.parametrize("name", ["vkms", "amdgpu_xcp", "amdgpu_xcp-1", "amdgpu_xcp_1x", "my_amdgpu_xcp_1"])
def test_other_platform_devices_are_no_xcp_devices(name: str) -> None:
    assert not render(130, f"devices/platform/{name}").is_xcp


def test_pci_device_is_no_xcp_device() -> None:
    assert not render(128).is_xcp


def test_minor_whose_link_is_no_ordinary_one_is_found_through_its_device() -> None:
    # as in a tree copied with its links followed
    tree = gone(tree_of_one(), "class/drm/renderD128")
    link(tree, "class/drm/renderD128/device", PATH)
    assert read_minors(in_memory(tree)) == DrmMinors((card(1), render(128)), ())


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Link("renderD128"), "a loop of symbolic links"),
        (Link("../../devices/gone"), "absent"),
        (Link("../../../elsewhere"), "a link that leads out of the sysfs root"),
        (Blob(b"odd"), "absent"),
    ],
)
def test_minor_that_cannot_be_followed_is_skipped_with_the_reason(entry: Entry, reason: str) -> None:
    found = read_minors(in_memory(tree_of_one() | {"class/drm/renderD128": entry}))
    said = Skipped("class/drm/renderD128", f"its device cannot be followed: {reason}")
    assert found == DrmMinors((card(1),), (said,))


@pytest.mark.parametrize("listing", [None, Blob(b"odd"), Refused(13)])
def test_no_class_is_no_drm(listing: Entry | None) -> None:
    tree: Tree = {} if listing is None else {"class/drm": listing}
    reasons = {
        None: "no DRM: the amdgpu module is not loaded, or has no GPU",
        Blob(b"odd"): "a file where a folder should be",
        Refused(13): "a file where a folder should be",  # it stands for a file that refuses
    }
    said = Skipped("class/drm", reasons[listing])  # type: ignore[index]
    assert read_minors(in_memory(tree)) == DrmMinors((), (said,))


def test_minor_of_a_device_is_the_first_of_its_kind() -> None:
    minors = read_minors(in_memory(tree_of_one()))
    assert (minors.of(PATH, "card"), minors.of(PATH, "render")) == (card(1), render(128))
    assert minors.of("devices/other", "card") is None
