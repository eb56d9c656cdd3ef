"""Ready: the kubelet hears of every device there is. Pure."""

from dataclasses import dataclass

from amdgpu_plugin.exposition.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Readiness:
    """`reasons`: a line for each resource, or why there is none."""

    ready: bool
    reasons: tuple[str, ...]


def readiness(snapshot: Snapshot) -> Readiness:
    """A node without a GPU to serve is as ready as it can be."""
    resources = snapshot.state.resources
    if not resources:
        skipped = len(snapshot.state.inventory.skipped)
        return Readiness(True, (f"nothing to serve: no GPU to offer was found ({skipped} skipped)",))
    stands = {resource: snapshot.registration(resource) for resource in resources}
    return Readiness(
        all(registration.live for registration in stands.values()),
        tuple(
            f"{resource}: {': '.join(filter(None, (registration.phase, registration.detail)))}"
            + ("" if registration.live or not registration.registered else ", without a stream")
            for resource, registration in stands.items()
        ),
    )
