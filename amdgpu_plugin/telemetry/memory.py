"""Memory of a GPU: `mem_info_{vram,vis_vram,gtt}_{total,used}`, in bytes."""

from amdgpu_plugin.telemetry.numbers import parse_count
from amdgpu_plugin.telemetry.readings import Memory


def parse_memory(total: str | None, used: str | None) -> Memory | None:
    """Size and use of one kind; None where neither file told anything."""
    memory = Memory(parse_count(total), parse_count(used))
    return memory if memory != Memory(None, None) else None
