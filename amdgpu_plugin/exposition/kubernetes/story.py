"""Which changes are told as Events: what stands now against what was told last. Pure, the clock passed in.

It goes by states and not by edges, so that nothing is lost for good: what a limit holds back is told later,
as it then stands, and what an earlier daemon told is not told again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from amdgpu_plugin.exposition.kubernetes.bucket import Bucket
from amdgpu_plugin.exposition.kubernetes.standing import Subject, Trouble, Weight, holdings, standing
from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.node import NodeState

OVERALL = (25, 5.0)
"""Events of this node at once, then one in so many seconds. 25 is the burst of client-go's own recorder."""
EACH = (6, 300.0)
"""The same for one condition of one GPU, told of one object: what flaps is told three times at once."""

Kind = Literal["raised", "eased", "cleared"]


class Told(NamedTuple):
    """What was told of a subject last. `since` is when it came, a UNIX time."""

    weight: Weight
    since: float


@dataclass(frozen=True, slots=True)
class Change:
    """Something to tell.

    `eased`: it stands, and makes no device unhealthy any more. `trouble` is None where it is over. `at` is
    when it happened, to a pod when it was seen to hold what is ill; `since` when the trouble came (UNIX
    times). `others` are what else makes devices of the same GPU unhealthy. `missed` counts changes of the
    same before it that were not told.
    """

    subject: Subject
    kind: Kind
    trouble: Trouble | None
    at: float
    since: float
    others: tuple[str, ...] = ()
    missed: int = 0

    @property
    def told(self) -> Told | None:
        """What its reader knows from then on; None: of nothing that stands."""
        if self.trouble is None or (self.subject.pod and self.kind == "eased"):
            return None
        return Told(self.trouble.weight, self.since)


@dataclass(slots=True)
class _Seen:
    """What a subject was like when last looked at, when that came, and how many changes were not told."""

    weight: Weight | None
    at: float
    missed: int = 0


@dataclass(slots=True)
class Story:
    """`told` is what an earlier daemon of this boot has told.

    Until `settled_at` (monotonic) nothing of that is told to be over: it may not have been found again yet.
    `held_back` counts changes that a limit kept from being told at once.
    """

    told: dict[Subject, Told]
    settled_at: float
    held_back: int = 0
    _seen: dict[Subject, _Seen] = field(default_factory=dict)
    _buckets: dict[Subject, Bucket] = field(default_factory=dict)
    _overall: Bucket = field(default_factory=lambda: Bucket(*OVERALL))

    def follow(self, state: NodeState, now: Moment) -> tuple[Change, ...]:
        """What to tell now. Called at each change, and every few seconds for what was held back."""
        current = standing(state)
        self._leave_pods_that_left(state, current)
        changes = tuple(self._changes(state, current, now))
        self._forget(current, now.monotonic)
        return changes

    def _leave_pods_that_left(self, state: NodeState, current: Mapping[Subject, Trouble]) -> None:
        over = {each for each in self.told.keys() | self._seen.keys() if each.pod} - current.keys()
        if not over or state.holders is None:
            return
        held = holdings(state)
        for subject in over:
            if (subject.gpu, subject.namespace, subject.pod) not in held:
                self.told.pop(subject, None)
                self._seen.pop(subject, None)

    def _changes(self, state: NodeState, current: Mapping[Subject, Trouble], now: Moment) -> Iterator[Change]:
        # The Node's own come first: they must not wait for those of many pods.
        for subject in sorted({*current, *self.told, *self._seen}, key=lambda each: (each.pod, each)):
            unknown = subject.pod and state.holders is None
            unsettled = subject not in current and now.monotonic < self.settled_at
            if not unknown and not (unsettled and subject not in self._seen):
                moved = self._look(subject, current.get(subject), now)
                yield from self._told_now(subject, current, now, moved=moved)

    def _look(self, subject: Subject, trouble: Trouble | None, now: Moment) -> bool:
        """Whether it is another than when last looked at."""
        weight = None if trouble is None else trouble.weight
        seen = self._seen.get(subject)
        if seen is None:
            told = self.told.get(subject)
            seen = self._seen[subject] = _Seen(None if told is None else told.weight, now.unix)
        moved = seen.weight != weight
        if moved:
            seen.weight, seen.at = weight, now.unix
        return moved

    def _told_now(
        self, subject: Subject, current: Mapping[Subject, Trouble], now: Moment, *, moved: bool
    ) -> Iterator[Change]:
        seen, was = self._seen[subject], self.told.get(subject)
        before = None if was is None else was.weight
        own = self._buckets.setdefault(subject, Bucket(*EACH))
        if seen.weight != before and own.has(now.monotonic) and self._overall.has(now.monotonic):
            own.take(now.monotonic)
            self._overall.take(now.monotonic)
            change = _change(subject, was, seen, current, missed=seen.missed - (not moved))
            seen.missed = 0
            self._note(subject, change.told)
            yield change
        elif moved:
            seen.missed += 1
            self.held_back += 1

    def _note(self, subject: Subject, told: Told | None) -> None:
        if told is None:
            self.told.pop(subject, None)
        else:
            self.told[subject] = told

    def _forget(self, current: Mapping[Subject, Trouble], now: float) -> None:
        """What is over, told, and so long ago that no limit remembers it."""
        for subject in [each for each, bucket in self._buckets.items() if bucket.is_full(now)]:
            del self._buckets[subject]
        for subject in self._seen.keys() - current.keys() - self.told.keys() - self._buckets.keys():
            del self._seen[subject]


def _change(
    subject: Subject, was: Told | None, seen: _Seen, current: Mapping[Subject, Trouble], *, missed: int
) -> Change:
    trouble = current.get(subject)
    of_gpu = subject._replace(namespace="", pod="")
    eased = was is not None and was.weight == "unhealthy" and of_gpu in current and seen.weight != "unhealthy"
    kind: Kind = "eased" if eased else "raised" if trouble is not None else "cleared"
    since = trouble.since if trouble is not None else was.since if was is not None else seen.at
    return Change(
        subject=subject,
        kind=kind,
        trouble=current[of_gpu] if eased else trouble,
        at=since if was is None and not subject.pod else seen.at,
        since=since,
        others=tuple(
            each.condition
            for each, other in current.items()
            if each.gpu == subject.gpu
            and not each.pod
            and other.weight == "unhealthy"
            and each.condition != subject.condition
        ),
        missed=max(0, missed),
    )
