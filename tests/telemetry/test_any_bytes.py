"""No bytes a file may hold make a parser raise."""

from hypothesis import example, given
from hypothesis import strategies as st

from amdgpu_plugin.telemetry import aer, bad_pages, hwmon, memory, numbers, pcie_link, ras, runtime_status
from amdgpu_plugin.telemetry.gpu_metrics import parse_gpu_metrics
from amdgpu_plugin.telemetry.gpu_metrics_layouts import LAYOUTS
from tests.telemetry.metrics_blobs import structure
from tests.telemetry.trees import FILES, node, readings

HEADERS = st.sampled_from([(size.size, *version) for version, size in LAYOUTS.items()] + [(1150, 1, 9)])
TEXT = st.text(alphabet=st.sampled_from("ue: c0d9-1\n\0xRPGT/s.") | st.characters(), max_size=60)


@given(TEXT)
@example("9" * 10_000)
def test_text_parsers_take_any_text(text: str) -> None:
    ras.parse_ras_counts(text)
    ras.block_of(text)
    bad_pages.parse_bad_pages(text)
    bad_pages.parse_threshold(text)
    aer.parse_aer(text, text, None)
    memory.parse_memory(text, text)
    numbers.parse_ratio(text)
    numbers.parse_measured(text, per_unit=1000)
    runtime_status.is_asleep(text)
    pcie_link.parse_link(text, text, pcie_link.Most(text, text), pcie_link.Most(text, text))
    pcie_link.port_above(text)


@given(
    st.dictionaries(
        st.sampled_from([name.rpartition("/")[2] for name in FILES if name.startswith("hwmon")]) | TEXT, TEXT
    )
)
def test_sensors_take_any_files(files: dict[str, str]) -> None:
    found = hwmon.parse_sensors(files).temperatures
    assert len({each.sensor for each in found}) == len(found)


@given(HEADERS, st.binary(max_size=200), st.integers(0, 4200))
def test_gpu_metrics_takes_any_bytes(header: tuple[int, int, int], body: bytes, length: int) -> None:
    parse_gpu_metrics(body)
    told = structure(*header)[:4] + body * (1 + length // 200)
    parse_gpu_metrics(told[:length])


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=40))
def test_round_ends_whatever_a_file_holds(name: str, content: bytes) -> None:
    readings(node({name: content}))
