import pytest

from amdgpu_plugin.telemetry.hwmon import Sensors, is_measured, is_wanted, parse_sensors
from amdgpu_plugin.telemetry.readings import Temperature


def test_discrete_card_has_three_sensors_with_their_limits() -> None:
    files = {
        "temp1_label": "edge\n", "temp1_input": "53000\n", "temp1_crit": "100000\n", "temp1_emergency": "105000\n",
        "temp2_label": "junction\n", "temp2_input": "61000\n", "temp2_crit": "110000\n", "temp2_emergency": "115000\n",
        "temp3_label": "mem\n", "temp3_input": "68000\n", "temp3_crit": "108000\n", "temp3_emergency": "113000\n",
        "power1_average": "68000000\n", "power1_cap": "290000000\n", "fan1_input": "1200\n",
        "freq1_label": "sclk\n", "freq1_input": "31000000\n", "freq2_label": "mclk\n", "freq2_input": "1249000000\n",
    }  # fmt: skip
    assert parse_sensors(files) == Sensors(
        temperatures=(
            Temperature("edge", 53.0, 100.0, 105.0),
            Temperature("junction", 61.0, 110.0, 115.0),
            Temperature("mem", 68.0, 108.0, 113.0),
        ),
        power_watts=68.0,
        power_cap_watts=290.0,
        clocks_hertz={"sclk": 31e6, "mclk": 1249e6},
        fan_rpm=1200,
    )


def test_labels_decide_which_sensor_a_channel_is() -> None:
    files = {
        "temp1_label": "mem", "temp1_input": "40000",
        "temp10_label": "edge", "temp10_input": "42000",
        "temp2_label": "junction", "temp2_input": "41000",
        "freq1_label": "mclk", "freq1_input": "7",
        "freq2_label": "sclk", "freq2_input": "0",
    }  # fmt: skip
    assert parse_sensors(files) == Sensors(
        temperatures=(
            Temperature("mem", 40.0, None, None),
            Temperature("junction", 41.0, None, None),
            Temperature("edge", 42.0, None, None),
        ),
        clocks_hertz={"mclk": 7.0, "sclk": 0.0},
    )


@pytest.mark.parametrize("label", [None, "", "edge", "\0\0", "ju\nnction", 'a"b', "x" * 33])
def test_channel_without_a_label_of_its_own_goes_by_its_channel(label: str | None) -> None:
    files = {"temp1_label": "edge", "temp1_input": "40000", "temp4_input": "50000"}
    files |= {} if label is None else {"temp4_label": label}
    assert parse_sensors(files).temperatures == (
        Temperature("edge", 40.0, None, None),
        Temperature("temp4", 50.0, None, None),
    )


def test_no_two_channels_are_one_sensor_even_if_a_label_is_a_channels_name() -> None:
    files = {"temp1_label": "temp2", "temp1_input": "40000", "temp2_input": "50000"}
    assert parse_sensors(files).temperatures == (Temperature("temp2", 40.0, None, None),)


@pytest.mark.parametrize("text", ["-273150", "65535000", "4294967295", "", "hot", "-1"])
def test_temperature_that_is_none_is_left_out_and_a_limit_that_is_none_is_unknown(text: str) -> None:
    label = {"temp1_label": "edge"}
    limits = {"temp1_crit": "100000", "temp1_emergency": "105000"}
    assert parse_sensors({**label, **limits, "temp1_input": text}).temperatures == ()
    without = {**label, **dict.fromkeys(limits, text), "temp1_input": "40000"}
    assert parse_sensors(without).temperatures == (Temperature("edge", 40.0, None, None),)


@pytest.mark.parametrize(("text", "celsius"), [("0", 0.0), ("255000", 255.0), ("85000", 85.0)])
def test_limits_are_told_as_they_are(text: str, celsius: float) -> None:
    files = {"temp1_label": "edge", "temp1_input": "40000", "temp1_crit": text, "temp1_emergency": text}
    assert parse_sensors(files).temperatures == (Temperature("edge", 40.0, celsius, celsius),)


@pytest.mark.parametrize(
    ("files", "watts"),
    [
        ({"power1_average": "3103000", "power1_input": "3142000"}, 3.103),
        ({"power1_input": "142000000"}, 142.0),
        ({"power1_average": "65535000000", "power1_input": "142000000"}, 142.0),
        ({"power1_average": "0", "power1_input": "142000000"}, 0.0),
        ({"power1_input": "-5"}, None),
        ({}, None),
    ],
)
def test_power_is_the_average_where_there_is_one(files: dict[str, str], watts: float | None) -> None:
    assert parse_sensors(files) == Sensors(power_watts=watts)


def test_only_files_that_ask_the_gpu_are_measured() -> None:
    names = (
        "temp1_input power1_average power1_input power1_cap freq2_input fan1_input temp1_label temp1_crit "
        "temp1_emergency freq1_label temp1_crit_hyst power1_label power1_cap_max power2_average in0_input pwm1 name "
        "fan1_target uevent temp100_input"
    ).split()
    assert [name for name in names if is_measured(name)] == names[:6]
    assert [name for name in names if is_wanted(name)] == names[:10]
