"""What the page is looked at with: the real daemon on a simulated node, a simulated kubelet, and Chromium."""

import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.processes import Running, run

CHROMIUM = shutil.which("chromium")
"""Debian's; playwright's own would be downloaded."""
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
RESOURCE = "amd.com/gpu"
PATIENCE_MS = 15_000
"""For a daemon on a loaded machine: a test that waits for so long has failed."""


@dataclass(slots=True)
class Stage:
    """A daemon that serves the page of a node, both to be played with."""

    node: SimulatedNode
    kubelet: SimulatedKubelet
    folder: Path
    url: str
    options: tuple[str, ...]
    _daemon: AsyncExitStack = field(default_factory=AsyncExitStack)
    running: Running | None = None

    async def start(self) -> None:
        """The daemon, once the kubelet knows all it has."""
        self.running = await self._daemon.enter_async_context(
            run(*self.options, env={"NODE_NAME": "gpu-node-07"})
        )
        kubelet = self.kubelet
        await kubelet.until(
            lambda: kubelet.connected(RESOURCE) and kubelet.allocatable(RESOURCE) > 0,
            15.0,
            what="devices listed",
        )

    async def stop(self) -> None:
        """The daemon ends; where it listened nobody does."""
        await self._daemon.aclose()

    @property
    def addresses(self) -> tuple[str, ...]:
        """PCI addresses of the node's GPUs."""
        return self.node.addresses


@asynccontextmanager
async def stage(
    folder: Path, shape: str, *options: str, prepare: Callable[[SimulatedNode], None] = lambda _node: None
) -> AsyncIterator[Stage]:
    """A daemon on a node of that shape, which `prepare` has changed before anybody looked."""
    node = SimulatedNode.create(folder / "node", shape)
    prepare(node)
    port = free_port()
    given = (
        *("--sysfs-root", str(node.root), "--state-dir", str(folder / "state")),
        *("--device-plugins-dir", str(folder / "p"), "--pod-resources-dir", str(folder / "r")),
        *("--http-address", f"127.0.0.1:{port}", "--health-recovery-hold", "0"),
        *(options or ("--health-interval", "1")),
    )
    async with SimulatedKubelet(str(folder / "p"), pod_resources=str(folder / "r")) as kubelet:
        made = Stage(node, kubelet, folder, f"http://127.0.0.1:{port}/", given)
        try:
            await made.start()
            yield made
        finally:
            await made.stop()
            node.close()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser with nothing of anybody's in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(slots=True)
class Seen:
    """A page, and all that a browser could complain of while it is looked at."""

    page: Page
    complaints: list[str]
    requested: list[str]


async def look(context: BrowserContext, url: str) -> Seen:
    """The page at `url`. Violations of the policy are errors of the console."""
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    seen = Seen(page, [], [])
    page.on(
        "console",
        lambda said: seen.complaints.append(said.text) if said.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requested.append(request.url))
    await page.goto(url)
    return seen


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder with a path short enough for sockets."""
    return tempfile.TemporaryDirectory(prefix="pg-", dir="/dev/shm")
