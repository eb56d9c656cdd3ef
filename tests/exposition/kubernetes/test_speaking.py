"""What is said of problems, and how often."""

import logging

import pytest

from amdgpu_plugin.exposition.kubernetes.problems import Problem, ProblemKind
from amdgpu_plugin.exposition.kubernetes.rest import Client, Request
from amdgpu_plugin.exposition.kubernetes.speaking import Speaker, pause
from amdgpu_plugin.instruments import Instruments
from tests.test_instruments import samples


class Answers(Client):
    """Gives these, one after another."""

    def __init__(self, *answers: bytes | Problem) -> None:
        self.answers = list(answers)

    async def ask(self, request: Request) -> bytes | Problem:
        return self.answers.pop(0)


def about(doing: str) -> Request:
    return Request("GET", "/", doing)


def problem(kind: ProblemKind, told: str = "so it is") -> Problem:
    return Problem(kind, told)


async def said(caplog: pytest.LogCaptureFixture, *asked: tuple[str, bytes | Problem]) -> list[str]:
    """What is logged when these are asked for, and answered so."""
    caplog.set_level(logging.INFO)
    speaker = Speaker(Answers(*(answer for _, answer in asked)), Instruments())
    for doing, _ in asked:
        await speaker.ask(about(doing))
    fields = [getattr(record, "fields", {}) for record in caplog.records]
    return [each.get("error") or f"again: {each['doing']}" for each in fields]


async def test_api_server_that_is_away_is_said_once_whatever_was_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = problem("unreachable", "away")
    assert await said(caplog, ("a", away), ("b", away), ("a", b"{}"), ("b", away)) == [
        "away",
        "again: a",
        "away",
    ]


async def test_each_way_of_being_away_is_said(caplog: pytest.LogCaptureFixture) -> None:
    kinds: tuple[ProblemKind, ...] = ("unreachable", "server", "unreachable", "untrusted", "server")
    assert await said(caplog, *(("a", problem(kind, kind)) for kind in kinds)) == [
        "unreachable",
        "server",
        "untrusted",
    ]


async def test_each_thing_that_is_not_allowed_is_said_once_until_it_is_allowed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    no = [problem("forbidden", f"no {what}") for what in "ab"]
    asked = (("a", no[0]), ("b", no[1]), ("a", no[0]), ("b", b"{}"), ("a", no[0]), ("b", no[1]))
    assert await said(caplog, *asked) == ["no a", "no b", "again: b", "no b"]


async def test_answer_that_is_no_json_is_a_problem() -> None:
    instruments = Instruments()
    answer = await Speaker(Answers(b"<html>"), instruments).ask(about("a"))
    assert isinstance(answer, Problem)
    assert answer.kind == "garbled"
    assert (
        samples(instruments, "amdgpu_plugin_kubernetes_errors")["kubernetes_errors_total", "garbled"] == 1.0
    )


@pytest.mark.parametrize(
    ("before", "asked", "expected"),
    [
        (0.0, None, 1.0),
        (1.0, None, 2.0),
        (40.0, None, 60.0),
        (60.0, None, 60.0),
        (1.0, 37.0, 37.0),
        (40.0, 5.0, 60.0),
    ],
)
def test_pauses(before: float, asked: float | None, expected: float) -> None:
    assert pause(Problem("throttled", "", retry_after_seconds=asked), before) == expected
