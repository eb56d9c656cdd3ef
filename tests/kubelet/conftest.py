import tempfile
from collections.abc import AsyncIterator, Iterator

import pytest

from amdgpu_plugin.simulation.kubelet import SimulatedKubelet


@pytest.fixture
def directory() -> Iterator[str]:
    """A device-plugins directory whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="dp") as made:
        yield made


@pytest.fixture
async def kubelet(directory: str) -> AsyncIterator[SimulatedKubelet]:
    """A kubelet that lives in `directory` from the start."""
    async with SimulatedKubelet(directory, dial_seconds=1.0) as started:
        yield started
