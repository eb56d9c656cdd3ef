"""The effective policy: the table of conditions and what the operator says of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from amdgpu_plugin.health.conditions import TABLE, ConditionKind, ConditionSetting, Effect

Mode = Literal["enforce", "observe"]


@dataclass(frozen=True, slots=True)
class Rules:
    """`effects` of every condition by name, `numbers` of those that have one; None is no limit."""

    mode: Mode
    interval_seconds: float
    hold_seconds: float
    read_deadline_seconds: float
    effects: Mapping[str, Effect]
    numbers: Mapping[str, int | None]

    @property
    def guard_window_seconds(self) -> float:
        """What befalls all GPUs within this is taken for one cause: each is looked at once in that time."""
        return self.interval_seconds + self.read_deadline_seconds

    def as_json(self) -> dict[str, Any]:
        """Made of what JSON has."""
        return {
            "mode": self.mode,
            "interval_seconds": self.interval_seconds,
            "recovery_hold_seconds": self.hold_seconds,
            "read_deadline_seconds": self.read_deadline_seconds,
            "conditions": {
                kind.name: {"effect": self.effects[kind.name]} | self._number_of(kind)
                for kind in TABLE
                if kind.effect is not None
            },
        }

    def lines(self) -> tuple[str, ...]:
        """For people, one for the whole and one for each condition."""
        whole = (
            f"mode {self.mode}, interval {self.interval_seconds:g} s, recovery hold {self.hold_seconds:g} s, "
            f"read deadline {self.read_deadline_seconds:g} s"
        )
        return whole, *(self._line(kind) for kind in TABLE if kind.effect is not None)

    def _number_of(self, kind: ConditionKind) -> dict[str, int | None]:
        return {} if kind.number is None else {kind.number.key: self.numbers[kind.name]}

    def _line(self, kind: ConditionKind) -> str:
        number = "".join(
            f", {key} {'unset' if value is None else value}" for key, value in self._number_of(kind).items()
        )
        return f"{kind.name}: {self.effects[kind.name]}{number}"


def rules_of(
    *,
    mode: Mode,
    interval_seconds: float,
    hold_seconds: float,
    read_deadline_seconds: float,
    settings: Iterable[ConditionSetting] = (),
) -> Rules:
    """The table's defaults, and over them the settings, which are of known conditions and valid."""
    said = {setting.name: setting for setting in settings}
    effects: dict[str, Effect] = {}
    numbers: dict[str, int | None] = {}
    for kind in TABLE:
        setting = said.get(kind.name, ConditionSetting(kind.name))
        if kind.effect is not None:
            effects[kind.name] = setting.effect or kind.effect
        if kind.number is not None:
            number: int | None = getattr(setting, kind.number.key)
            numbers[kind.name] = kind.number.default if number is None else number
    return Rules(
        mode=mode,
        interval_seconds=interval_seconds,
        hold_seconds=hold_seconds,
        read_deadline_seconds=read_deadline_seconds,
        effects=MappingProxyType(effects),
        numbers=MappingProxyType(numbers),
    )
