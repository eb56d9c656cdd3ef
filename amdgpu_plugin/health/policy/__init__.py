"""Evidence in, verdicts out: what is the matter with each GPU, and what of that the kubelet is told.

Pure and immutable: the clock is passed in, nothing is read and nothing is logged. `judge` makes one GPU's
Health follow one piece of evidence; `conclude` makes a GpuStatus for each GPU out of the Healths of all.
What is not known changes no verdict.
"""

from amdgpu_plugin.health.policy.changes import Transition, transitions
from amdgpu_plugin.health.policy.judging import judge
from amdgpu_plugin.health.policy.memory import Health
from amdgpu_plugin.health.policy.restart import Kept, kept, kept_from_json, restored
from amdgpu_plugin.health.policy.rules import Rules, rules_of
from amdgpu_plugin.health.policy.verdicts import Conclusion, conclude, is_acknowledged

__all__ = [
    "Conclusion",
    "Health",
    "Kept",
    "Rules",
    "Transition",
    "conclude",
    "is_acknowledged",
    "judge",
    "kept",
    "kept_from_json",
    "restored",
    "rules_of",
    "transitions",
]
