"""What outlives the daemon within one boot: loaded before it starts, saved whenever it changes."""

import asyncio
import logging
import os
from dataclasses import replace
from functools import partial

from amdgpu_plugin import settings
from amdgpu_plugin.config import Config
from amdgpu_plugin.health import policy
from amdgpu_plugin.health.monitor import Monitor, Remembered
from amdgpu_plugin.lanes import Lane
from amdgpu_plugin.state import Memory, Owner, StateFile

log = logging.getLogger(__name__)

SAVE_SECONDS, SAVE_PAUSE_SECONDS = 5.0, 0.2
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def state_file(config: Config) -> StateFile:
    """The state directory's file, for this boot and this sysfs or shape."""
    return StateFile(config.state_dir, owner(config))


def owner(config: Config) -> Owner:
    """Whose memory it is that this daemon keeps."""
    try:
        with open(BOOT_ID) as file:
            boot_id = file.read().strip()
    except OSError:
        boot_id = "unknown"
    return Owner(boot_id, config.simulate or os.path.realpath(config.sysfs_root))


def remembered(file: StateFile, config: Config) -> Remembered:
    """What an earlier daemon kept, nothing where that makes no sense; devices shared as they are now."""
    memory, sharing = file.load(), settings.sharing(config)
    try:
        kept = {address: policy.kept_from_json(gpu) for address, gpu in memory.gpus.items()}
    except ValueError as error:
        log.warning("an earlier daemon's verdicts cannot be used", extra={"fields": {"error": str(error)}})
        kept = {}
    devices = (sharing.served(each.device, each.device.resource) for each in memory.listed)
    listed = zip(memory.listed, devices, strict=True)
    return Remembered(kept, tuple(replace(each, device=device) for each, device in listed))


async def keep_saved(file: StateFile, monitor: Monitor, lane: Lane) -> None:
    """Until cancelled, and then once more. Where it cannot be saved, that is said once, and tried again."""
    saved: Memory | None = None
    said = False
    try:
        async for _ in monitor.node.follow():
            # First who has to know at once, and what comes soon after it is saved with it.
            await asyncio.sleep(SAVE_PAUSE_SECONDS)
            memory = _memory(monitor.remembered)
            if memory == saved:
                continue
            problem = await lane.ask(partial(_saved, file, memory), deadline=SAVE_SECONDS)
            saved = memory if problem is None else None
            if problem is not None and not said:
                fields = {"file": file.path, "error": str(problem)}
                log.warning("nothing is kept for a later daemon: baselines, words", extra={"fields": fields})
            said = problem is not None
    finally:
        if (last := _memory(monitor.remembered)) != saved and not lane.stuck:
            _saved(file, last)


def _memory(known: Remembered) -> Memory:
    gpus = {address: kept.as_json() for address, kept in known.kept.items()}
    return Memory(gpus, tuple(replace(each, verdict=None) for each in known.listed))


def _saved(file: StateFile, memory: Memory) -> str | None:
    """None, or why not."""
    try:
        file.save(memory)
    except OSError as error:
        return error.strerror or str(error)
    return None
