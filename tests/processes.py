"""The daemon as a process of its own: started, listened to, told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
GUARD_SECONDS = 20.0
"""Long enough for any machine: a test that waits for so long has failed."""
_LAST_SECONDS = 5.0
PROGRAM = (sys.executable, "-m", "amdgpu_plugin")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without options of ours, but for a port of its own for each daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AMDGPU_PLUGIN_")}
    return kept | {"AMDGPU_PLUGIN_HTTP_ADDRESS": "127.0.0.1:0"} | dict(extra or {})


@dataclass(slots=True)
class Running:
    """A process whose stderr (and stdout, if asked) is read line by line into `log`."""

    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)
    _ended: bool = False
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        lines = self.process.stdout or self.process.stderr
        assert lines is not None
        while line := await lines.readline():
            self.log.append(line.decode().rstrip("\n"))
            self._tell()
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    def said(self, *words: str) -> list[str]:
        """The log's lines that have all those words in them."""
        return [line for line in self.log if all(word in line for word in words)]

    async def says(self, *words: str, times: int = 1) -> str:
        """The line that says it for the n-th time, once it is there."""
        try:
            async with asyncio.timeout(GUARD_SECONDS):
                while len(self.said(*words)) < times:
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"never said {words}: {self.log}") from None
        return self.said(*words)[times - 1]

    async def ends(self) -> int:
        """Its exit status, once it has ended of its own; the log is then complete."""
        try:
            async with asyncio.timeout(GUARD_SECONDS):
                while not self._ended:
                    await self._more.wait()
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"does not end: {self.log}") from None

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status after that signal."""
        self.process.send_signal(number)
        return await self.ends()


@asynccontextmanager
async def run(
    *options: str,
    verb: str = "run",
    before: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    stdout_too: bool = False,
) -> AsyncIterator[Running]:
    """`amdgpu-plugin run` with those options, ended at the end if it still lives.

    `before` is a command that starts it, such as `unshare`. There is no terminal.
    """
    pipe, devnull, stdout = (
        asyncio.subprocess.PIPE,
        asyncio.subprocess.DEVNULL,
        asyncio.subprocess.STDOUT,
    )
    process = await asyncio.create_subprocess_exec(
        *before,
        *PROGRAM,
        verb,
        *options,
        cwd=REPOSITORY,
        env=environment(env),
        stdin=devnull,
        stdout=pipe if stdout_too else devnull,
        stderr=stdout if stdout_too else pipe,
    )
    running = Running(process)
    reader = asyncio.create_task(running.read())
    try:
        yield running
    except BaseException as error:
        error.add_note("\n".join(("the process said:", *running.log)))
        raise
    finally:
        await _end(process)
        await reader


async def _end(process: asyncio.subprocess.Process) -> None:
    """Asked first: who is killed cannot take a simulated node's folder along."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()


async def succeeds(*command: str) -> bool:
    """Whether this machine lets us do that."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return False
    return await process.wait() == 0
