from pathlib import Path
from xml.etree.ElementTree import fromstring

from amdgpu_plugin.commands.topology import as_text
from amdgpu_plugin.discovery.inventory import Driver, Gpu, Inventory, Link
from tests.conftest import Answer, Command

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sysfs"

LEGEND = """
XGMI, PCIE: the kind of link, with KFD's weight (lower is nearer) and bandwidth in GB/s where known;
INTERNAL: between partitions of one GPU; none: KFD tells of no link. For programs: discover -o json.
"""

# Four links join the dies of a package, two or one its neighbours: 50 GB/s each.
MI250X = """\
      GPU0           GPU1           GPU2           GPU3           GPU4           GPU5           GPU6           GPU7
GPU0  -              XGMI 15 (200)  XGMI 15 (50)   XGMI 30 (50)   XGMI 30 (50)   XGMI 30 (50)   XGMI 15 (100)  XGMI 30 (50)
GPU1  XGMI 15 (200)  -              XGMI 30 (50)   XGMI 15 (50)   XGMI 30 (50)   XGMI 15 (50)   XGMI 30 (50)   XGMI 30 (50)
GPU2  XGMI 15 (50)   XGMI 30 (50)   -              XGMI 15 (200)  XGMI 15 (100)  XGMI 30 (50)   XGMI 30 (50)   XGMI 30 (50)
GPU3  XGMI 30 (50)   XGMI 15 (50)   XGMI 15 (200)  -              XGMI 30 (50)   XGMI 30 (50)   XGMI 30 (50)   XGMI 15 (50)
GPU4  XGMI 30 (50)   XGMI 30 (50)   XGMI 15 (100)  XGMI 30 (50)   -              XGMI 15 (200)  XGMI 15 (50)   XGMI 30 (50)
GPU5  XGMI 30 (50)   XGMI 15 (50)   XGMI 30 (50)   XGMI 30 (50)   XGMI 15 (200)  -              XGMI 30 (50)   XGMI 15 (50)
GPU6  XGMI 15 (100)  XGMI 30 (50)   XGMI 30 (50)   XGMI 30 (50)   XGMI 15 (50)   XGMI 30 (50)   -              XGMI 15 (200)
GPU7  XGMI 30 (50)   XGMI 30 (50)   XGMI 30 (50)   XGMI 15 (50)   XGMI 30 (50)   XGMI 15 (50)   XGMI 15 (200)  -

      ADDRESS       PRODUCT              NUMA  HIVE                 DEVICES
GPU0  0000:c1:00.0  AMD Instinct MI250X  3     5760416393521208493  1
GPU1  0000:c5:00.0  AMD Instinct MI250X  3     5760416393521208493  1
GPU2  0000:c9:00.0  AMD Instinct MI250X  1     5760416393521208493  1
GPU3  0000:cd:00.0  AMD Instinct MI250X  1     5760416393521208493  1
GPU4  0000:d1:00.0  AMD Instinct MI250X  0     5760416393521208493  1
GPU5  0000:d5:00.0  AMD Instinct MI250X  0     5760416393521208493  1
GPU6  0000:d9:00.0  AMD Instinct MI250X  2     5760416393521208493  1
GPU7  0000:dd:00.0  AMD Instinct MI250X  2     5760416393521208493  1
"""

# RCCL's model gives 4 x MI50/60 in each of two hives, and no KFD.
TWO_HIVES = """\
      GPU0  GPU1  GPU2  GPU3  GPU4  GPU5  GPU6  GPU7
GPU0  -     XGMI  XGMI  XGMI  PCIE  PCIE  PCIE  PCIE
GPU1  XGMI  -     XGMI  XGMI  PCIE  PCIE  PCIE  PCIE
GPU2  XGMI  XGMI  -     XGMI  PCIE  PCIE  PCIE  PCIE
GPU3  XGMI  XGMI  XGMI  -     PCIE  PCIE  PCIE  PCIE
GPU4  PCIE  PCIE  PCIE  PCIE  -     XGMI  XGMI  XGMI
GPU5  PCIE  PCIE  PCIE  PCIE  XGMI  -     XGMI  XGMI
GPU6  PCIE  PCIE  PCIE  PCIE  XGMI  XGMI  -     XGMI
GPU7  PCIE  PCIE  PCIE  PCIE  XGMI  XGMI  XGMI  -

      ADDRESS       PRODUCT    NUMA  HIVE                  DEVICES
GPU0  0000:1d:00.0  1002:66a1  0     10000000000000000001  1
GPU1  0000:20:00.0  1002:66a1  0     10000000000000000001  1
GPU2  0000:23:00.0  1002:66a1  0     10000000000000000001  1
GPU3  0000:26:00.0  1002:66a1  0     10000000000000000001  1
GPU4  0000:3f:00.0  1002:66a1  0     10000000000000000002  1
GPU5  0000:43:00.0  1002:66a1  0     10000000000000000002  1
GPU6  0000:46:00.0  1002:66a1  0     10000000000000000002  1
GPU7  0000:49:00.0  1002:66a1  0     10000000000000000002  1
"""


def test_links_have_kind_weight_and_bandwidth(command: Command) -> None:
    assert command("topology", "--simulate", "mi250x") == Answer(0, MI250X + LEGEND, "")


def test_without_kfd_the_kind_is_all_that_is_told(command: Command) -> None:
    root = str(FIXTURES / "rccl-4p2h.capture")
    assert command("topology", "--sysfs-root", root) == Answer(0, TWO_HIVES + LEGEND, "")


def test_a_node_without_gpus_says_so(command: Command) -> None:
    root = str(FIXTURES / "lact-hd7870.capture")
    assert command("topology", "--sysfs-root", root) == Answer(0, "No GPU.\n", "")


def test_partitions_share_a_row_and_unlinked_gpus_say_none() -> None:
    def gpu(address: str, product: str | None, pci_id: str | None) -> Gpu:
        return Gpu(address, product, pci_id, None, None, None, None, None, None, ())

    a, b, c = "0000:05:00.0", "0000:27:00.0", "0001:05:00.0"
    links = (Link(a, a, "internal", 13, None), Link(a, b, "pcie", None, 31500), Link(b, c, "xgmi", 15, None))
    gpus = (gpu(a, "AMD Instinct MI300X", "1002:74a1"), gpu(b, None, "1002:74a1"), gpu(c, None, None))
    text = as_text(Inventory(Driver("amdgpu", None, "readable"), gpus, links, ()))
    assert text == (
        """\
      GPU0         GPU1         GPU2
GPU0  -            PCIE (31.5)  none
GPU1  PCIE (31.5)  -            XGMI 15
GPU2  none         XGMI 15      -

      ADDRESS       PRODUCT              NUMA  HIVE  DEVICES
GPU0  0000:05:00.0  AMD Instinct MI300X  -     -     0
GPU1  0000:27:00.0  1002:74a1            -     -     0
GPU2  0001:05:00.0  -                    -     -     0
"""
        + LEGEND.rstrip("\n")
    )


def test_a_partitioned_gpu_tells_of_its_inside(command: Command) -> None:
    shown = command("topology", "--simulate", "mi300x-dpx:1")
    assert shown.out.splitlines()[:2] == ["      GPU0", "GPU0  INTERNAL 13 (819.2)"]


def test_the_picture_goes_into_a_file_and_no_matrix_is_printed(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "node.svg"
    answer = command("topology", "--simulate", "mi210", "--svg", str(file))
    drawn = file.read_bytes()
    assert answer == Answer(0, "", f"{file}: {len(drawn)} bytes; any browser shows it\n")
    assert fromstring(drawn).findtext("{*}desc") == (
        "8 GPUs in 2 XGMI hives on NUMA nodes 0, 1. XGMI, weight 15, 50 GB/s: 12 links. PCIe, weight 72: 16 links."
    )


def test_a_picture_that_cannot_be_written_is_a_usage_error(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "absent" / "node.svg"
    assert command("topology", "--simulate", "apu", "--svg", str(file)) == Answer(
        2,
        "",
        f"amdgpu-plugin: error: {file}: cannot be written: No such file or directory "
        "(give a path in a folder that can be written)\n",
    )
