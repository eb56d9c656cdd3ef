"""How conditions come into force, end, are held for a while, and are over."""

from dataclasses import dataclass, replace

from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.health.policy.memory import GUARDED, Active, Episode, Health
from amdgpu_plugin.health.policy.rules import Rules


@dataclass(frozen=True, slots=True)
class Found:
    """A condition's cause, by where it was found (uevent, presence, readings, lane)."""

    name: str
    detail: str
    source: str
    informs_only: bool = False


def raised(health: Health, found: Found, rules: Rules, now: Moment) -> Health:
    """In force from now on, or still. What comes back while held has flapped; its beginning stays."""
    before = health.in_force(found.name, informs_only=found.informs_only)
    if before is None:
        active = Active(found.name, found.detail, found.source, now, found.informs_only)
        return replace(health, active=(*health.active, active))
    after = replace(before, detail=found.detail, cleared=None, ack=None)
    if before.cleared is None:
        return _with(health, before, after)
    counts = rules.effects[found.name] == "unhealthy" and not found.informs_only
    health = replace(health, flaps=health.flaps + counts)
    return _with(health, before, replace(after, source=found.source))


def cleared(
    health: Health, names: tuple[str, ...], now: Moment, *, informs_only: bool | None = None
) -> Health:
    """Their causes are gone; they are held from now on. Both forms, unless one is named."""

    def ends(each: Active) -> bool:
        asked = informs_only is None or each.informs_only is informs_only
        return each.name in names and asked and each.cleared is None

    active = tuple(replace(each, cleared=now) if ends(each) else each for each in health.active)
    return replace(health, active=active)


def dropped(health: Health, name: str) -> Health:
    """Not in force any more, without a hold."""
    return replace(health, active=tuple(each for each in health.active if each.name != name))


def settled(health: Health, found: Found, rules: Rules, now: Moment) -> Health:
    """Raised if there is a detail to tell, else cleared."""
    if found.detail:
        return raised(health, found, rules, now)
    return cleared(health, (found.name,), now, informs_only=found.informs_only)


def without_ended(health: Health, rules: Rules, now: Moment) -> Health:
    """Without what has been held for long enough."""
    ended = tuple(
        each
        for each in health.active
        if each.cleared is not None and now.monotonic - each.cleared.monotonic >= rules.hold_seconds
    )
    if not ended:
        return health
    over = tuple(
        Episode(each.name, each.raised.monotonic, each.cleared.monotonic)
        for each in ended
        if each.name in GUARDED and each.cleared is not None
    )
    names = {episode.name for episode in over}
    return replace(
        health,
        active=tuple(each for each in health.active if each not in ended),
        episodes=(*(before for before in health.episodes if before.name not in names), *over),
    )


def _with(health: Health, before: Active, after: Active) -> Health:
    return replace(health, active=tuple(after if each is before else each for each in health.active))
