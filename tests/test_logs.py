import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from amdgpu_plugin import logs
from amdgpu_plugin.logs import JsonFormatter, TextFormatter, configure


def record(message: str, fields: object = None, **rest: Any) -> logging.LogRecord:
    made = logging.LogRecord("amdgpu_plugin.kubelet.registrar", logging.INFO, "", 0, message, None, None)
    made.created = 1769860800.25
    if fields is not None:
        made.fields = fields
    for name, value in rest.items():
        setattr(made, name, value)
    return made


def test_text_is_one_greppable_line() -> None:
    line = TextFormatter().format(record("registered", {"resource": "amd.com/gpu", "devices": 8}))
    assert line == "2026-01-31T12:00:00.250Z INFO registrar: registered resource=amd.com/gpu devices=8"


def test_json_is_one_object_with_its_fields_apart() -> None:
    line = JsonFormatter().format(
        record("registered", {"resource": "amd.com/gpu", "devices": 8, "level": "own"})
    )
    assert json.loads(line) == {
        "time": "2026-01-31T12:00:00.250Z",
        "level": "info",
        "logger": "amdgpu_plugin.kubelet.registrar",
        "message": "registered",
        "fields": {"resource": "amd.com/gpu", "devices": 8, "level": "own"},
    }


def test_json_without_fields_has_none() -> None:
    assert "fields" not in json.loads(JsonFormatter().format(record("started")))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0000:05:00.0-cpx3", "0000:05:00.0-cpx3"),
        ("", '""'),
        ("no answer in 20 s", '"no answer in 20 s"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines\tand\r", '"two\\nlines\\tand\\r"'),
        ("\x1b[31m\x7f\x85", '"\\u001b[31m\\u007f\\u0085"'),
        ("\u202eright to left\u2028", '"\\u202eright to left\\u2028"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("\ud800", '"\\ud800"'),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1.5, "1.5"),
        (("a", "b"), "a,b"),
        (["a b", "c"], '"a b,c"'),
        ((), '""'),
        (KeyError("x"), "'x'"),
    ],
)
def test_text_values_are_quoted_only_where_they_must(value: object, text: str) -> None:
    assert TextFormatter().format(record("m", {"k": value})).partition(": m k=")[2] == text


def test_json_values_keep_their_types_and_stay_json() -> None:
    fields = {"a": None, "b": True, "c": 0, "d": 1.5, "e": ("x", 2), "f": float("nan"), "g": KeyError("x")}
    line = JsonFormatter().format(record("m", fields))
    assert json.loads(line, parse_constant=pytest.fail)["fields"] == {
        "a": None, "b": True, "c": 0, "d": 1.5, "e": ["x", 2], "f": "nan", "g": "'x'",
    }  # fmt: skip


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_hostile_text_anywhere_stays_one_printable_line(formatter: logging.Formatter) -> None:
    nasty = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA1), 0x2028, 0x202E, 0xD800]))
    line = formatter.format(record(nasty, {nasty: nasty}, name=f"x.{nasty}"))
    assert line.isprintable()


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_stays_in_its_line(formatter: logging.Formatter) -> None:
    error = ValueError("first\nsecond")
    line = formatter.format(record("failed", exc_info=(ValueError, error, None)))
    assert line.isprintable()
    assert r"ValueError: first\nsecond" in line


def test_fields_that_are_no_mapping_are_left_out() -> None:
    assert TextFormatter().format(record("m", fields="text")).endswith("registrar: m")


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("amdgpu_plugin")
    before = root.handlers, root.level, ours.level
    yield
    root.handlers = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.mark.parametrize(
    ("level", "said"),
    [("debug", ["d", "i", "w", "library w"]), ("info", ["i", "w", "library w"]), ("error", [])],
)
@pytest.mark.usefixtures("logging_restored")
def test_level_is_for_ours_and_libraries_speak_from_warning_on(
    level: Literal["debug", "info", "error"], said: list[str]
) -> None:
    stream = io.StringIO()
    configure(level, "json", stream)
    ours, library = logging.getLogger("amdgpu_plugin.x"), logging.getLogger("library")
    ours.debug("d")
    ours.info("i")
    ours.warning("w")
    library.info("library i")
    library.warning("library w")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == said


@pytest.mark.usefixtures("logging_restored")
def test_configuring_again_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "text", first)
    configure("info", "text", second)
    logging.getLogger("amdgpu_plugin.x").info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


def test_a_value_without_end_is_cut_and_says_so() -> None:
    record = logging.LogRecord("amdgpu_plugin.x", logging.INFO, "", 0, "m", (), None)
    vars(record)["fields"] = {"ids": "a" * 5000}
    line = TextFormatter().format(record)
    assert line.endswith('aaa… (5000 characters)"')
    assert len(line) < 4200


# -- A log that nobody reads --


class Stuck(io.StringIO):
    """Takes no line before `let_go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.let_go = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.waiting.set()
        assert self.let_go.wait(10)
        return super().write(text)


@pytest.mark.usefixtures("logging_restored")
def test_a_log_that_nobody_reads_holds_up_nobody_and_says_what_was_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "QUEUED_LINES", 3)
    stream = Stuck()
    configure("info", "text", stream)
    log = logging.getLogger("amdgpu_plugin.daemon")
    with logs.unhurried():
        log.info("first")
        assert stream.waiting.wait(10)
        for number in range(5):
            log.info("then %d", number)
        stream.let_go.set()
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines == [
        "INFO daemon: first",
        "INFO daemon: then 0",
        "WARNING logs: lines were dropped: nobody read the log lines=2",
        "INFO daemon: then 1",
        "INFO daemon: then 2",
    ]


@pytest.mark.usefixtures("logging_restored")
def test_the_end_does_not_wait_for_who_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LAST_LINES_SECONDS", 0.01)
    stream = Stuck()
    configure("info", "text", stream)
    with logs.unhurried():
        logging.getLogger("amdgpu_plugin.daemon").info("first")
    assert stream.getvalue() == ""
    stream.let_go.set()


@pytest.mark.usefixtures("logging_restored")
def test_what_was_queued_is_written_at_the_end_and_the_log_goes_on() -> None:
    stream = io.StringIO()
    configure("info", "text", stream)
    log = logging.getLogger("amdgpu_plugin.daemon")
    with logs.unhurried():
        for number in range(100):
            log.info("line %d", number)
    log.info("after")
    assert [line.split(": ", 1)[1] for line in stream.getvalue().splitlines()] == [
        *(f"line {number}" for number in range(100)),
        "after",
    ]


@pytest.mark.usefixtures("logging_restored")
def test_lines_reach_a_pipe_that_is_full_for_a_while() -> None:
    read, write = os.pipe()
    with open(write, "w") as stream, open(read) as reader:
        configure("info", "text", stream)
        with logs.unhurried():
            for _ in range(200):
                logging.getLogger("amdgpu_plugin.daemon").info("a" * 1000)
            assert len([reader.readline() for _ in range(200)]) == 200
