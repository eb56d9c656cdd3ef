"""One finding: what is the matter here, what it was seen by, and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass

from amdgpu_plugin.doctor.kinds import KINDS, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """`name` is one of kinds.TABLE; each line of `evidence` is one thing that was seen."""

    name: str
    severity: Severity
    what: str
    evidence: tuple[str, ...]
    advice: str


def found(name: str, *evidence: str, advice: str = "") -> Finding:
    """A finding of a kind; `advice` where it is more exact than the kind's."""
    kind = KINDS[name]
    return Finding(name, kind.severity, kind.what, evidence, advice or kind.advice)


def found_if(name: str, evidence: tuple[str, ...]) -> Iterator[Finding]:
    """The finding, if there is evidence of it."""
    if evidence:
        yield found(name, *evidence)
