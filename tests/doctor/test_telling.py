import json

from amdgpu_plugin.doctor.finding import Finding, found
from amdgpu_plugin.doctor.kinds import KINDS
from amdgpu_plugin.doctor.telling import NPD_LIMIT, as_json, as_text, npd_line
from tests.doctor.looks import ALONE, GPUS, WITH_DAEMON, node

GUARD = found("guard-active", "health.guard_active is true")


def test_text_tells_what_was_asked_each_finding_and_how_many() -> None:
    denied = found("kfd-denied", "class/kfd: denied")
    assert as_text(WITH_DAEMON, (GUARD, denied)) == (
        """\
Asked the running daemon (0.2.0): 2 GPUs, 2 of 2 devices healthy.

PROBLEM guard-active
  All GPUs went silent at once: this is taken for our trouble, and only informs.
  seen: health.guard_active is true
  do:   See whether the plugin's pod still has its `/sys` and CPU time; restart it. If the GPUs are
        really hung, reboot the node.

REMARK kfd-denied
  KFD may not be read: link weights are not known, and partitions must be proven without it.
  seen: class/kfd: denied
  do:   Nothing, for whole GPUs. For partitions: `kfdAccess: privileged` in the chart.

1 problem, 1 remark."""
    )


def test_text_of_a_node_that_is_fine() -> None:
    assert as_text(ALONE, ()) == ("Looked at /sys: 2 GPUs, 2 devices, health not known.\n\nNo problem.")


def test_text_shows_controls_as_escapes_and_the_first_of_many_lines() -> None:
    lines = tuple(f"line\x1b[2J\n{number}" for number in range(10))
    text = as_text(ALONE, (found("skipped", *lines),))
    assert [line for line in text.splitlines() if "seen" in line] == [
        *(rf"  seen: line\x1b[2J\n{number}" for number in range(8)),
        "  seen: and 2 more (-o json has them all)",
    ]


def test_json_has_all_of_it() -> None:
    assert json.loads(as_json(WITH_DAEMON, (GUARD, found("capture", "a", "b")))) == {
        "source": "daemon",
        "where": "/run/amdgpu-plugin/control.sock",
        "daemon": "0.2.0",
        "problems": 1,
        "remarks": 1,
        "findings": [
            {
                "name": "guard-active",
                "severity": "problem",
                "what": KINDS["guard-active"].what,
                "evidence": ["health.guard_active is true"],
                "advice": KINDS["guard-active"].advice,
            },
            {
                "name": "capture",
                "severity": "remark",
                "what": KINDS["capture"].what,
                "evidence": ["a", "b"],
                "advice": KINDS["capture"].advice,
            },
        ],
    }


def test_npd_line_is_the_first_problem_and_how_many_more() -> None:
    other = found("kfd-absent", "no KFD")
    assert npd_line(WITH_DAEMON, (GUARD,)) == "guard-active: health.guard_active is true"
    assert npd_line(WITH_DAEMON, (GUARD, other, found("capture", "x"))) == (
        "guard-active: health.guard_active is true (+1 more)"
    )


def test_npd_line_without_a_problem_does_not_tell_remarks() -> None:
    capture = found("capture", "x")
    assert npd_line(WITH_DAEMON, (capture,)) == "AMD GPUs: no problem; 2 GPUs, 2 of 2 devices healthy"
    assert npd_line(ALONE, ()) == "AMD GPUs: no problem; 2 GPUs, 2 devices, health not known"
    none = npd_line(WITH_DAEMON.__class__("sysfs", "/sys", node(GPUS[0]), shares_one_name=True), ())
    assert none == "AMD GPUs: no problem; 1 GPU, 1 device, health not known"


def npd(*evidence: str, problems: int = 1) -> str:
    return npd_line(WITH_DAEMON, tuple(Finding("x", "problem", "", evidence, "") for _ in range(problems)))


def test_npd_line_is_one_line_within_the_limit() -> None:
    assert npd("é" * 200, problems=12) == "x: " + "é" * 31 + "... (+11 more)"
    assert len(npd("é" * 200, problems=12).encode()) == NPD_LIMIT - 1
    assert npd("two\nlines\x1b[2J") == r"x: two\nlines\x1b[2J"
    assert len(npd("a" * 77)) == len(npd("a" * 78)) == NPD_LIMIT
    assert npd("a" * 77).endswith("aaaa")
