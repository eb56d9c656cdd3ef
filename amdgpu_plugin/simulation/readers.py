"""What readers get of files that depend on how a GPU is, and on what was read before: see Fault."""

import errno
import re
import threading
from collections.abc import Callable, Iterable

from amdgpu_plugin.simulation.faulty_sysfs import Refusal
from amdgpu_plugin.simulation.gpu import Gpu
from amdgpu_plugin.simulation.metrics import Elapsed
from amdgpu_plugin.sysfs import Blob, Refused


class Advancing:
    """gpu_metrics of any of these GPUs: with every read, one second later."""

    def __init__(self, gpus: Iterable[Gpu], metrics: Callable[[Gpu, Elapsed], bytes]) -> None:
        """`metrics` gives the file as it is after some time."""
        self._gpus = {f"{gpu.path}/gpu_metrics": gpu for gpu in gpus}
        self._elapsed = dict.fromkeys(self._gpus, Elapsed())
        self._metrics = metrics
        self._turn = threading.Lock()

    def __call__(self, path: str) -> Blob | None:
        """See Fault."""
        gpu = self._gpus.get(path)
        if gpu is None or gpu.driver is None:
            return None
        with self._turn:
            now = self._elapsed[path] = self._elapsed[path].after_a_second(throttled=gpu.vitals.throttled)
        return Blob(self._metrics(gpu, now))


class Disconnected:
    """What the driver has to ask a GPU for fails, for as long as its bus has failed."""

    def __init__(self, gpu: Gpu, asked: re.Pattern[str]) -> None:
        """`asked` matches the paths of such files."""
        self._gpu = gpu
        self._refusal = Refusal(asked, errno.EIO)

    def __call__(self, path: str) -> Refused | None:
        """See Fault."""
        return self._refusal(path) if self._gpu.vitals.bus_failed else None


class Sleeping:
    """power/runtime_status, `active` after the first read that woke the GPU."""

    def __init__(self, gpu: Gpu, waking: re.Pattern[str]) -> None:
        """`waking` matches the paths whose readers wake it."""
        self._status = f"{gpu.path}/power/runtime_status"
        self._waking = waking
        self._awake = False

    def __call__(self, path: str) -> Blob | None:
        """See Fault."""
        if self._waking.fullmatch(path):
            self._awake = True
        return Blob(b"active\n") if self._awake and path == self._status else None
