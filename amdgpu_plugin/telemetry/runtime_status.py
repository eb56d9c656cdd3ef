"""Whether a GPU sleeps: `power/runtime_status`, which the PM core answers without waking anybody.

`active`, `suspended`, `suspending`, `resuming`, `error` or `unsupported`. Most of amdgpu's own files wake a
GPU that sleeps, as does reading its PCI configuration.
"""

from amdgpu_plugin.telemetry.numbers import bare

FILE = "power/runtime_status"

_ASLEEP = frozenset({"suspended", "suspending", "resuming"})


def is_asleep(text: str | None) -> bool:
    """True from the beginning of a suspend to the end of the resume; what is not told counts as awake."""
    return text is not None and bare(text) in _ASLEEP


def is_active(text: str | None) -> bool:
    """True only where the kernel says so."""
    return text is not None and bare(text) == "active"
