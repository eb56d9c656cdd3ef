import pytest

from amdgpu_plugin.telemetry.ras import block_of, parse_ras_counts
from amdgpu_plugin.telemetry.readings import RasCounts


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("umc_err_count", "umc"),
        ("xgmi_wafl_err_count", "xgmi_wafl"),
        ("pcie_bif_err_count", "pcie_bif"),
        ("aca_umc", "umc"),
        ("aca_xgmi_wafl", "xgmi_wafl"),
        ("features", None),
        ("version", None),
        ("schema", None),
        ("event_state", None),
        ("gpu_vram_bad_pages", None),
        ("_err_count", None),
        ("aca_", None),
    ],
)
def test_both_families_of_names_tell_the_block(name: str, block: str | None) -> None:
    assert block_of(name) == block


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("ue: 0\nce: 0\n", RasCounts(0, 0, None)),
        ("ue: 5\nce: 17\nde: 2\n", RasCounts(5, 17, 2)),
        ("ce: 17\nue: 5\n", RasCounts(5, 17, None)),
        ("ue: 1\nce: 2\n" + "\0" * 4084, RasCounts(1, 2, None)),
    ],
)
def test_counts_are_read_whatever_their_order_and_padding(text: str, counts: RasCounts) -> None:
    assert parse_ras_counts(text) == counts


@pytest.mark.parametrize(
    "text",
    [
        "Query currently inaccessible\n",
        "",
        "\0" * 4096,
        "ue: 1\n",
        "ce: 1\n",
        "ue: 1\nce:",
        "ue: -1\nce: 0\n",
        "ue: 1\0\0\nce: 0\n",
        "ue: 1\nce: 2\nue: 3\n",
        "ue: 1\nce: 2\npoison: 3\n",
        "ue: 18446744073709551615\nce: 0\n",
        "ue: 4294967295\nce: 0\n",
        "ue: ٣\nce: 0\n",
        "ue: 0x1\nce: 0\n",
    ],
)
def test_anything_but_counts_is_not_told_and_never_zero(text: str) -> None:
    assert parse_ras_counts(text) is None
