"""Whether and how the GPU's files answer: Unresponsive, Busy, PluginStarved."""

from dataclasses import replace

from amdgpu_plugin.health.evidence import Evidence, Moment, NoAnswer, Sampled, Seen, Starved
from amdgpu_plugin.health.policy.holds import Found, cleared, raised, settled
from amdgpu_plugin.health.policy.memory import Answers, Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.presence import NotSeen
from amdgpu_plugin.telemetry.readings import Readings

_BUSY_SECONDS = 600.0
_BUSY_ROUNDS = 3
"""With long intervals, two rounds far apart may each have met a short reset."""
_BUSY_INFORMS_ROUNDS = 2
_FAILING_ROUNDS = 3


def judge_answers(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """A late answer ends one cause of Unresponsive; the others end by a round that shows so."""
    match evidence:
        case Starved(seconds=seconds):
            found = Found("PluginStarved", f"our own reads were {seconds:g} s late", "lane")
            return raised(health, found, rules, now)
        case NoAnswer(seconds=seconds):
            answers = replace(health.answers, unanswered_seconds=seconds)
        case Seen(presence=NotSeen()):
            return health
        case Seen():
            answers = replace(health.answers, unanswered_seconds=None)
            health = cleared(health, ("PluginStarved",), now)
        case Sampled(readings=readings):
            answers = replace(_after_round(health.answers, readings, now), unanswered_seconds=None)
            health = cleared(health, ("PluginStarved",), now)
        case _:
            return health
    health = replace(health, answers=answers)
    source = "readings" if answers.unanswered_seconds is None else "lane"
    health = settled(health, Found("Unresponsive", _unresponsive(answers), source), rules, now)
    busy = "in a reset or suspended, or has not come back from it"
    busy = busy if answers.busy_rounds >= _BUSY_INFORMS_ROUNDS else ""
    return settled(health, Found("Busy", busy, "readings"), rules, now)


def _after_round(before: Answers, readings: Readings, now: Moment) -> Answers:
    tally = readings.tally
    if not readings.asleep and not tally.answered + tally.guarded + tally.busy + tally.failing:
        return before
    failing = tally.failing > 0 and not tally.answered and not tally.busy
    busy = tally.busy > 0 and not tally.guarded
    since = now.monotonic if before.busy_since is None else before.busy_since
    return Answers(
        busy_since=since if busy else None,
        busy_seconds=now.monotonic - since if busy else 0.0,
        busy_rounds=before.busy_rounds + 1 if busy else 0,
        failing_rounds=before.failing_rounds + 1 if failing else 0,
        failing_errnos=tally.failing_errnos if failing else (),
    )


def _unresponsive(answers: Answers) -> str:
    """Why, empty when it is not."""
    if answers.unanswered_seconds is not None:
        return f"no answer in {answers.unanswered_seconds:g} s"
    if answers.failing_rounds >= _FAILING_ROUNDS:
        return f"every read of the driver fails ({', '.join(answers.failing_errnos)})"
    if answers.busy_rounds >= _BUSY_ROUNDS and answers.busy_seconds > _BUSY_SECONDS:
        return f"busy for over {_BUSY_SECONDS / 60:g} minutes"
    return ""
