"""`prefer`: what GetPreferredAllocation would answer here, and why."""

import argparse
import json
from collections.abc import Iterator, Sequence

from amdgpu_plugin.allocation.explanation import explain
from amdgpu_plugin.allocation.layout import Layout, layout_of
from amdgpu_plugin.allocation.preference import Choice, NoPreference, Ranked, Request, prefer
from amdgpu_plugin.commands.look import inventory_of
from amdgpu_plugin.commands.tables import columns
from amdgpu_plugin.config import Config, ConfigError
from amdgpu_plugin.discovery.inventory import Inventory, device_of
from amdgpu_plugin.discovery.naming import WHOLE
from amdgpu_plugin.node import ListedDevice

_HINT = "amdgpu-plugin discover lists this node's devices"
_SHOWN_IDS = 8


def run(config: Config, args: argparse.Namespace) -> int:
    """0: it could look, even where the answer is that there is no preference."""
    inventory = inventory_of(config)
    named = {"--available": _ids(args.available), "--must-include": _ids(args.must_include)}
    resource, listed = _asked_about(inventory, named)
    available = named["--available"]
    if available is None:
        available = tuple(served for each in listed for served in each.device.served_ids)
    request = Request(available, named["--must-include"] or (), args.size)
    layout = layout_of(inventory)
    choice = prefer(layout, listed, request, spread=config.sharing_spread, runner_up=True)
    if not isinstance(choice, Choice):
        print(_no_json(choice) if args.output == "json" else f"No preference: {choice.reason}.")
        return 0
    reasons = explain(layout, request, choice, config.sharing_spread)
    if args.output == "json":
        print(as_json(choice, reasons))
    else:
        print("\n".join(_lines(resource, layout, request, choice, reasons)))
    return 0


def as_json(choice: Choice, reasons: Sequence[str]) -> str:
    """`runner_up` is null where every other set is as good."""
    other = choice.runner_up
    answer = {
        "devices": choice.best.devices,
        "cost": choice.best.cost,
        "exact": choice.exact,
        "reasons": reasons,
        "runner_up": None if other is None else {"devices": other.devices, "cost": other.cost},
    }
    return json.dumps(answer, indent=2)


def _no_json(none: NoPreference) -> str:
    answer = {"devices": [], "cost": None, "exact": None, "reasons": [none.reason], "runner_up": None}
    return json.dumps(answer, indent=2)


def _ids(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(filter(None, map(str.strip, text.split(","))))


def _asked_about(
    inventory: Inventory, named: dict[str, tuple[str, ...] | None]
) -> tuple[str, tuple[ListedDevice, ...]]:
    """The resource of the IDs named, else amd.com/gpu, else the first; and its devices.

    ConfigError for IDs that this node has not, or that are not of one resource.
    """
    listed = [ListedDevice(device, gpu) for gpu in inventory.gpus for device in gpu.devices]
    resource_of = {served: one.device.resource for one in listed for served in one.device.served_ids}
    for option, ids in named.items():
        for served in ids or ():
            if served not in resource_of:
                raise ConfigError(f"this node has no device {served!r}", where=option, hint=_HINT)
    asked = {resource_of[served] for ids in named.values() for served in ids or ()}
    if len(asked) > 1:
        raise ConfigError(f"devices of {' and of '.join(sorted(asked))}", where="prefer", hint="ask for one")
    usual = min(resource_of.values(), key=lambda name: (name != WHOLE, name), default=WHOLE)
    resource = next(iter(asked), usual)
    return resource, tuple(one for one in listed if one.device.resource == resource)


def _lines(
    resource: str, layout: Layout, request: Request, choice: Choice, reasons: Sequence[str]
) -> Iterator[str]:
    yield f"{resource}: {request.size} of {len(set(request.available))}"
    yield ""
    yield from columns([("DEVICE", "GPU", "NUMA", "HIVE"), *_rows(layout, choice.best)])
    yield ""
    other = choice.runner_up
    proof = "exact" if choice.exact else "not proven to be the best"
    yield from columns(
        [
            ("total distance", f"{choice.best.cost}, {proof}"),
            ("runner-up", "none: every other set is as good" if other is None else _shown(other)),
        ]
    )
    yield ""
    yield from (f"- {reason}" for reason in reasons)


def _rows(layout: Layout, best: Ranked) -> Iterator[tuple[str, ...]]:
    for served in best.devices:
        gpu = layout.gpus[layout.gpu_of[device_of(served)]]
        numa = "-" if gpu.numa_node is None else str(gpu.numa_node)
        yield served, gpu.pci_address, numa, gpu.xgmi_hive or "-"


def _shown(other: Ranked) -> str:
    more = len(other.devices) - _SHOWN_IDS
    ids = ", ".join(other.devices[:_SHOWN_IDS]) + (f" and {more} more" if more > 0 else "")
    return f"{other.cost}: {ids}"
