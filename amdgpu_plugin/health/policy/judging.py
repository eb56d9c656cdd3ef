"""One step of one GPU's health."""

from amdgpu_plugin.health.evidence import Evidence, Moment
from amdgpu_plugin.health.policy.answers import judge_answers
from amdgpu_plugin.health.policy.attachment import judge_attachment
from amdgpu_plugin.health.policy.corrected import judge_corrected
from amdgpu_plugin.health.policy.errors import judge_errors
from amdgpu_plugin.health.policy.heat import judge_heat
from amdgpu_plugin.health.policy.holds import without_ended
from amdgpu_plugin.health.policy.leftover import judge_leftover
from amdgpu_plugin.health.policy.link import judge_link
from amdgpu_plugin.health.policy.memory import Health
from amdgpu_plugin.health.policy.pages import judge_pages
from amdgpu_plugin.health.policy.recovery import judge_recovery
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.health.policy.throttling import judge_throttling

# Attachment first: a driver that was loaded anew starts the others afresh.
_FAMILIES = (
    judge_attachment,
    judge_recovery,
    judge_errors,
    judge_corrected,
    judge_pages,
    judge_heat,
    judge_throttling,
    judge_link,
    judge_answers,
    judge_leftover,
)


def judge(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """What is known of a GPU after one more piece of evidence. `now.monotonic` never falls between steps."""
    health = without_ended(health, rules, now)
    for family in _FAMILIES:
        health = family(health, evidence, rules, now)
    return without_ended(health, rules, now)
