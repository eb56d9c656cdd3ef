"""The cluster's own processes: each in a session of its own, with a pid file and a log."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.places import STATE, logs

POLL_S = 0.05
TAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class Process:
    """One part of the cluster. It outlives the Python that started it, and any Python can stop it."""

    name: str

    @property
    def pid_file(self) -> Path:
        return STATE / "run" / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return logs() / f"{self.name}.log"

    def start(self, command: Sequence[str | Path], *, path: str | None = None) -> int:
        """Its pid. `path`, when given, is put before PATH. The log is appended to."""
        environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=STATE,
                env=environment,
                start_new_session=True,
            )
        self.pid_file.write_text(f"{started.pid} {_started(started.pid) or 0}\n")
        started.returncode = 0  # it is meant to live on: no warning when this object goes
        return started.pid

    def pid(self) -> int | None:
        """None when it is not running; a pid that was given to another process since is not it."""
        try:
            pid, started = map(int, self.pid_file.read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return pid if _started(pid) == started else None

    def kill(self, how: signal.Signals = signal.SIGKILL, *, within_s: float = 20) -> None:
        """Signal its whole group and wait for its end, by SIGKILL when it does not come in time."""
        pid = self.pid()
        if pid is None:
            self.pid_file.unlink(missing_ok=True)
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, how)
        deadline = time.monotonic() + within_s
        while self.pid() is not None:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            time.sleep(POLL_S)
        self.pid_file.unlink(missing_ok=True)

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(line[:400] for line in lines[-TAIL_LINES:])


def _started(pid: int) -> int | None:
    """When it started, in clock ticks since boot (field 22 of /proc/PID/stat); None when it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
