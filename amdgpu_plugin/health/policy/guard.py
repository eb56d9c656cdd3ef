"""Trouble that every GPU of a node has at once is more likely ours than theirs: it informs only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.health.policy.memory import Health
from amdgpu_plugin.health.policy.rules import Rules


@dataclass(frozen=True, slots=True)
class Spared:
    """PCI addresses of the GPUs whose condition does not count; `common`: all have it, not only some yet."""

    addresses: frozenset[str] = frozenset()
    common: bool = False


@dataclass(frozen=True, slots=True)
class _Spell:
    """One GPU's condition: since when, until when; `over` when it is not in force any more."""

    raised: float
    cleared: float | None
    over: bool


def spared(name: str, healths: Mapping[str, Health], rules: Rules, now: Moment) -> Spared:
    """Whom a condition does not make unhealthy. The first GPU is told of at once, the next ones wait.

    Only GPUs with their driver link intact take part.
    """
    attached = {
        address: health
        for address, health in healths.items()
        if not health.troubled_by("DriverUnbound") and not health.troubled_by("DeviceLost")
    }
    spells = {address: spell for address, health in attached.items() if (spell := _spell(name, health))}
    in_force = {address: spell for address, spell in spells.items() if not spell.over}
    window = rules.guard_window_seconds
    if len(attached) > 1 and len(spells) == len(attached) and _spread(spells.values()) <= window:
        # Who comes back first gives the others one window to follow; who comes back in it was never ill.
        ends = [spell.cleared for spell in spells.values() if spell.cleared is not None]
        until = min(ends) + window if ends else now.monotonic
        free = frozenset(address for address, spell in in_force.items() if _ends_by(spell, until, now))
        return Spared(free, common=bool(free))
    return Spared(
        frozenset(
            address
            for address, spell in in_force.items()
            if (first := _first_before(address, in_force, window)) is not None
            and _ends_by(spell, first + window, now)
        )
    )


def _spell(name: str, health: Health) -> _Spell | None:
    active = health.in_force(name)
    if active is not None:
        cleared = None if active.cleared is None else active.cleared.monotonic
        return _Spell(active.raised.monotonic, cleared, over=False)
    last = next((episode for episode in health.episodes if episode.name == name), None)
    return None if last is None else _Spell(last.raised, last.cleared, over=True)


def _spread(spells: Iterable[_Spell]) -> float:
    moments = [spell.raised for spell in spells]
    return max(moments) - min(moments)


def _first_before(address: str, spells: Mapping[str, _Spell], window: float) -> float | None:
    """When the first of those began that have the same since a window before this GPU at most."""
    mine = spells[address].raised
    earlier = (spell.raised for other, spell in spells.items() if (spell.raised, other) < (mine, address))
    return min((moment for moment in earlier if mine - moment <= window), default=None)


def _ends_by(spell: _Spell, moment: float, now: Moment) -> bool:
    """Whether it ended by then, or still may."""
    return (now.monotonic if spell.cleared is None else spell.cleared) <= moment
