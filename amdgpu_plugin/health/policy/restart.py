"""What of a GPU's health outlives the daemon within one boot: what nobody could find out again.

Latched conditions, baselines, operators' words. Plain values, times in UNIX seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from amdgpu_plugin.health.evidence import LAST_TIME, Moment
from amdgpu_plugin.health.policy.memory import Ack, Acked, Active, Block, Health, Pages

_LATCHED = ("Wedged", "BusError", "UncorrectableErrors")

_NOTHING = Acked()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeptCondition:
    """One that silence does not end. `acknowledged` is an operator's reason."""

    name: str
    detail: str
    source: str
    since: float
    informs_only: bool
    cleared: float | None
    acknowledged: str | None
    acknowledged_until: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """`errors` with their baselines; `pages_acked` are retired pages that an operator knows of."""

    conditions: tuple[KeptCondition, ...] = ()
    errors: tuple[Block, ...] = ()
    pages_acked: Acked = _NOTHING

    def as_json(self) -> dict[str, Any]:
        """Made of what JSON has; `kept_from_json` understands it."""
        return asdict(self)


def kept(health: Health) -> Kept:
    """What to keep of it."""
    return Kept(
        conditions=tuple(_kept_condition(each) for each in health.active if each.name in _LATCHED),
        errors=health.errors,
        pages_acked=health.pages.acked,
    )


def restored(kept: Kept, now: Moment) -> Health:
    """The Health to go on with; what was held goes on to be."""
    return Health(
        active=tuple(_restored_condition(each, now) for each in kept.conditions if each.name in _LATCHED),
        errors=kept.errors,
        pages=Pages(acked=kept.pages_acked),
    )


def kept_from_json(said: Mapping[str, Any]) -> Kept:
    """What `Kept.as_json` gave, after a way through a file. ValueError for anything else."""
    try:
        return Kept(
            conditions=tuple(_made(KeptCondition, each) for each in _items(said["conditions"])),
            errors=tuple(_block(each) for each in _items(said["errors"])),
            pages_acked=_made(Acked, said["pages_acked"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the health of a GPU: {type(error).__name__}: {error}") from None


def _kept_condition(active: Active) -> KeptCondition:
    ack = active.ack
    return KeptCondition(
        name=active.name,
        detail=active.detail,
        source=active.source,
        since=active.raised.unix,
        informs_only=active.informs_only,
        cleared=None if active.cleared is None else active.cleared.unix,
        acknowledged=None if ack is None else ack.reason,
        acknowledged_until=None if ack is None else ack.until,
    )


def _restored_condition(said: KeptCondition, now: Moment) -> Active:
    return Active(
        name=said.name,
        detail=said.detail,
        source=said.source,
        raised=_moment(said.since, now),
        informs_only=said.informs_only,
        cleared=None if said.cleared is None else _moment(said.cleared, now),
        ack=None if said.acknowledged is None else Ack(said.acknowledged, said.acknowledged_until),
    )


def _moment(unix: float, now: Moment) -> Moment:
    return Moment(now.monotonic - max(0.0, now.unix - unix), unix)


def _items(said: object) -> Sequence[Any]:
    if not isinstance(said, list | tuple):
        raise TypeError(f"not a list: {said!r}")
    return said


def _block(said: Mapping[str, Any]) -> Block:
    return _made(Block, {**said, "acked": _made(Acked, said["acked"])})


def _made(kind: type[T], said: Mapping[str, Any]) -> T:
    """What is there beyond the fields is left: a later version may have written it."""
    types = get_type_hints(kind)
    for name, field_type in types.items():
        if not _fits(said[name], field_type):
            raise TypeError(f"{name} cannot be {said[name]!r}")
    return kind(**{name: said[name] for name in types})


def _fits(value: object, kind: Any) -> bool:
    """JSON does not tell 5.0 from 5, and Python takes True for 1. What has fractions is a UNIX time."""
    kinds = get_args(kind) or (kind,)
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int | float):
        return (float in kinds and 0 <= value <= LAST_TIME) or (int in kinds and isinstance(value, int))
    return isinstance(value, kinds)
