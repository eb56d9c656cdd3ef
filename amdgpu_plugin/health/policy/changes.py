"""What changed between two states, for the log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from amdgpu_plugin.health.conditions import Effect
from amdgpu_plugin.node import Condition, GpuStatus


@dataclass(frozen=True, slots=True)
class Transition:
    """A condition that came, or whose effect changed (`raised`), or that is over. `since` is a UNIX time."""

    gpu: str
    condition: str
    detail: str
    source: str
    since: float
    effect: Effect
    raised: bool


def transitions(before: Mapping[str, GpuStatus], after: Mapping[str, GpuStatus]) -> tuple[Transition, ...]:
    """By GPU, the raised ones first. Statuses are by PCI address; who left takes its conditions along."""
    return tuple(
        transition
        for gpu in sorted({*before, *after})
        for transition in _of_gpu(gpu, before.get(gpu, GpuStatus()), after.get(gpu, GpuStatus()))
    )


def _of_gpu(gpu: str, before: GpuStatus, after: GpuStatus) -> Iterator[Transition]:
    was = {condition.name: condition for condition in before.conditions}
    for condition in after.conditions:
        earlier = was.pop(condition.name, None)
        if earlier is None or earlier.effect != condition.effect:
            yield _transition(gpu, condition, raised=True)
    for condition in was.values():
        yield _transition(gpu, condition, raised=False)


def _transition(gpu: str, condition: Condition, *, raised: bool) -> Transition:
    return Transition(
        gpu=gpu,
        condition=condition.name,
        detail=condition.detail,
        source=condition.source,
        since=condition.since,
        effect=condition.effect,
        raised=raised,
    )
