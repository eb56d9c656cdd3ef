"""All findings of one look, in the order of the table: problems first. Pure."""

from collections.abc import Iterator

from amdgpu_plugin.doctor.access import about_access
from amdgpu_plugin.doctor.driver import about_driver
from amdgpu_plugin.doctor.finding import Finding, found
from amdgpu_plugin.doctor.health import about_health
from amdgpu_plugin.doctor.kinds import KINDS
from amdgpu_plugin.doctor.links import about_links
from amdgpu_plugin.doctor.looked import Looked
from amdgpu_plugin.doctor.serving import about_serving

_ORDER = {name: place for place, name in enumerate(KINDS)}


def findings(looked: Looked) -> tuple[Finding, ...]:
    """What is wrong, or worth knowing."""
    all_of_them = (
        *_about_the_look(looked),
        *about_driver(looked),
        *about_health(looked),
        *about_links(looked),
        *about_access(looked),
        *about_serving(looked),
    )
    return tuple(sorted(all_of_them, key=lambda one: _ORDER[one.name]))


def _about_the_look(looked: Looked) -> Iterator[Finding]:
    if looked.source == "simulated":
        yield found("simulated", f"--simulate {looked.where}")
    elif looked.daemon is not None and looked.daemon.simulated:
        yield found("simulated", "the daemon runs with --simulate")
    if looked.source == "capture":
        yield found("capture", looked.where)
    if looked.unanswered is not None:
        yield found("no-daemon", looked.unanswered)
