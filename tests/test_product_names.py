from pathlib import Path

import pytest

from amdgpu_plugin.product_names import FILE_LIMIT, ProductNames

AMDGPU_IDS = """\
# a comment, 740F, not a row

1.0.0
66A1,\t02,\tAMD Instinct MI60 / MI50
740C,\t01,\tAMD Instinct MI250X / MI250
740F,\t02,\tAMD Instinct MI210
7550,\tC0,\tAMD Radeon RX 9070 XT
7550,\tC3,\tAMD Radeon RX 9070
7551,\tC0,\tAMD Radeon AI PRO R9700
7551,\tC8,\tAMD Radeon AI PRO R9700
"""

PCI_IDS = """\
# vendors
0e11  A vendor before
\t74a1  Not this one [Wrong]
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t731f  Navi 10 [Radeon RX 5600 OEM/5600 XT / 5700/5700 XT]
\t\t1002 0b36  Reference RX 5700 XT
# a comment between
\t\t1043 04e2  Strix Something
\t\t1043 0b37  Strix Other
\t73c3  Navi 22
\t740f  Aldebaran/MI200 [Instinct MI210]
\t74a1  Aqua Vanjaram [Instinct MI300X]
\t\t1002 74a1  MI300X OAM
\t74b5  Aqua Vanjaram [AMD Instinct MI300X VF]
1003  A vendor after
\t7550  Not this one either [Wrong]
"""


@pytest.fixture
def names(tmp_path: Path) -> ProductNames:
    (tmp_path / "amdgpu.ids").write_text(AMDGPU_IDS)
    (tmp_path / "pci.ids").write_text(PCI_IDS)
    return ProductNames(amdgpu_ids=str(tmp_path / "amdgpu.ids"), pci_ids=str(tmp_path / "pci.ids"))


@pytest.mark.parametrize(
    ("device", "revision", "name"),
    [
        (0x740F, 0x02, "AMD Instinct MI210"),
        (0x7550, 0xC0, "AMD Radeon RX 9070 XT"),
        (0x7550, 0xC3, "AMD Radeon RX 9070"),
    ],
)
def test_the_revision_decides_in_amdgpu_ids(
    names: ProductNames, device: int, revision: int, name: str
) -> None:
    assert names.name(device, revision, None) == name


def test_device_unknown_to_amdgpu_ids_is_named_by_the_brackets_of_pci_ids(names: ProductNames) -> None:
    assert names.name(0x74A1, 0x00, (0x1002, 0x74A1)) == "AMD Instinct MI300X"


def test_a_name_that_has_the_vendor_gets_no_second_one(names: ProductNames) -> None:
    assert names.name(0x74B5, 0x00, None) == "AMD Instinct MI300X VF"


def test_device_without_brackets_is_named_by_its_code_name(names: ProductNames) -> None:
    assert names.name(0x73C3, None, None) == "AMD Navi 22"


def test_a_list_of_products_is_settled_by_amds_own_subsystem_only(names: ProductNames) -> None:
    several = "AMD Radeon RX 5600 OEM/5600 XT / 5700/5700 XT"
    assert names.name(0x731F, None, (0x1002, 0x0B36)) == "AMD Reference RX 5700 XT"
    assert names.name(0x731F, None, (0x1043, 0x04E2)) == several
    assert names.name(0x731F, None, (0x1043, 0x0B36)) == several
    assert names.name(0x731F, None, (0x1002, 0x0B37)) == several
    assert names.name(0x731F, None, (0x1002, 0x74A1)) == several
    assert names.name(0x731F, None, None) == several


def test_revision_not_listed_takes_the_name_all_others_share_and_guesses_nothing(names: ProductNames) -> None:
    assert names.name(0x7551, 0x01, None) == "AMD Radeon AI PRO R9700"
    assert names.name(0x7551, None, None) == "AMD Radeon AI PRO R9700"
    assert names.name(0x7550, 0x01, None) is None


def test_the_same_device_id_of_another_vendor_is_not_taken(names: ProductNames) -> None:
    assert names.name(0x7550, None, None) is None
    assert names.name(0x74A1, None, None) == "AMD Instinct MI300X"


def test_device_in_no_file_has_no_name(names: ProductNames) -> None:
    assert names.name(0x75A3, 0x00, (0x1002, 0x75A3)) is None


@pytest.mark.parametrize("missing", [None, "/nowhere/at/all", "/", "a\0b"])
def test_missing_files_mean_no_name(missing: str | None) -> None:
    assert ProductNames(amdgpu_ids=missing, pci_ids=missing).name(0x740F, 0x02, None) is None


def test_either_file_alone_serves(tmp_path: Path) -> None:
    (tmp_path / "amdgpu.ids").write_text(AMDGPU_IDS)
    (tmp_path / "pci.ids").write_text(PCI_IDS)
    only_drm = ProductNames(amdgpu_ids=str(tmp_path / "amdgpu.ids"), pci_ids=None)
    only_pci = ProductNames(amdgpu_ids=None, pci_ids=str(tmp_path / "pci.ids"))
    assert only_drm.name(0x740F, 2, None) == only_pci.name(0x740F, 2, None) == "AMD Instinct MI210"


def test_odd_lines_cost_themselves_only(tmp_path: Path) -> None:
    (tmp_path / "amdgpu.ids").write_bytes(
        b"\xff\xfe\n,,\n740F\n740F,02\n740F,\t02,\t\n740F,\tZZ,\tAMD no\n99999740F,\t02,\tAMD no\n"
        b"740F,\t02,\t"
        + b"x" * 5000
        + b"\n740f,02,AMD\tInstinct\x1b \x07MI\xff210\r\n740F,\t02,\tAMD second\n"
    )
    (tmp_path / "pci.ids").write_bytes(
        b"1002\n\t74a1\n1002  AMD\n74a1  at the margin\n\n1002  again\n\t74a1  never reached [No]\n"
    )
    names = ProductNames(amdgpu_ids=str(tmp_path / "amdgpu.ids"), pci_ids=str(tmp_path / "pci.ids"))
    assert names.name(0x740F, 2, None) == "AMD Instinct MI\N{REPLACEMENT CHARACTER}210"
    assert names.name(0x74A1, 0, None) is None


def test_what_lies_past_the_size_limit_is_not_read(tmp_path: Path) -> None:
    first = b"740F,\t02,\tAMD Instinct MI210\n"
    cut = b"740C,\t01,\tAMD Instinct MI250X / MI250\n"
    filler = b"#" * (FILE_LIMIT - len(first) - 21) + b"\n"
    (tmp_path / "amdgpu.ids").write_bytes(first + filler + cut + b"738C,\t01,\tAMD Instinct MI100\n")
    names = ProductNames(amdgpu_ids=str(tmp_path / "amdgpu.ids"), pci_ids=None)
    assert names.name(0x740F, 0x02, None) == "AMD Instinct MI210"
    assert names.name(0x740C, 0x01, None) is None
    assert names.name(0x738C, 0x01, None) is None


def test_each_device_is_looked_up_once_and_not_before_it_is_asked_about(tmp_path: Path) -> None:
    file = tmp_path / "amdgpu.ids"
    names = ProductNames(amdgpu_ids=str(file), pci_ids=None)
    file.write_text(AMDGPU_IDS)
    assert names.name(0x7550, 0xC0, None) == "AMD Radeon RX 9070 XT"
    assert names.name(0xFFFF, 0x00, None) is None
    file.write_text("7550,\tC3,\tAMD changed\nFFFF,\t00,\tAMD changed\n")
    assert names.name(0x7550, 0xC3, None) == "AMD Radeon RX 9070"
    assert names.name(0xFFFF, 0x00, None) is None
