"""Makes the pictures in docs/images/: `python -m tests.browser.screenshots [FOLDER]`, where Chromium is.

The same nodes each time; only times and this machine's fonts differ. pngquant, where it is, makes them small.
"""

import asyncio
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser

from amdgpu_plugin.commands.look import inventory_of
from amdgpu_plugin.config import default_config
from amdgpu_plugin.exposition.picture.drawing import svg_file
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.browser.stage import RESOURCE, Stage, chromium, look, scratch, stage

IMAGES = Path(__file__).parents[2] / "docs" / "images"
ROUNDS = ("--health-interval", "2")
BUSY = ((62, 88, 612, 151), (64, 91, 655, 149), (58, 79, 540, 120), (61, 83, 590, 133), (49, 12, 240, 38))
IDLE = (41, 0, 138, 0)
"""Degrees, percent busy, watts, GiB in use."""


def at_work(node: SimulatedNode, boards: int = len(BUSY)) -> None:
    """The first of them are, as their pods would have it."""
    for number, address in enumerate(node.addresses):
        celsius, busy, watts, used = BUSY[number] if number < boards else IDLE
        node.heat(address, "junction", celsius)
        node.use_memory(address, used * 2**30 + 283_000_000)
        folder = Path(node.path_of(address))
        (folder / "gpu_busy_percent").write_text(f"{busy}\n")
        for file in folder.glob("hwmon/hwmon*/power1_*"):
            if file.name in {"power1_average", "power1_input"}:
                file.write_text(f"{watts * 1_000_000}\n")


async def hold(shown: Stage, *pods: tuple[str, int]) -> None:
    for pod, size in pods:
        await shown.kubelet.allocate(RESOURCE, size, pod=pod, container="trainer")


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture of the page, taken once its headline says `waits`; `scale` is in pixels of the screen."""

    name: str
    waits: str
    size: tuple[int, int]
    scheme: Literal["light", "dark"] = "light"
    scale: float = 1


HEALTHY = Shot("status-page-healthy", "All 8 devices healthy", (1360, 930))
FAILING = (
    Shot("status-page", "1 of 8 devices unhealthy", (1360, 1010)),
    Shot("status-page-dark", "1 of 8 devices unhealthy", (1360, 1010), "dark"),
    Shot("status-page-phone", "1 of 8 devices unhealthy", (375, 812), scale=2),
)
PARTITIONS = Shot("status-page-64", "8 of 64 devices unhealthy", (1360, 1530))


async def take(browser: Browser, url: str, shot: Shot, folder: Path) -> None:
    context = await browser.new_context(
        viewport={"width": shot.size[0], "height": shot.size[1]},
        color_scheme=shot.scheme,
        reduced_motion="reduce",
        device_scale_factor=shot.scale,
    )
    page = (await look(context, url)).page
    await page.get_by_role("heading", level=1).get_by_text(shot.waits).wait_for()
    await page.locator("#live").wait_for()
    path = folder / f"{shot.name}.png"
    await page.screenshot(path=path)
    await context.close()


async def photograph(folder: Path) -> None:
    async with chromium() as browser:
        with scratch() as made:
            async with stage(Path(made), "mi300x", *ROUNDS, prepare=at_work) as shown:
                await hold(shown, ("llm-train-0", 4), ("notebook-anna", 1))
                await take(browser, shown.url, HEALTHY, folder)
                shown.node.heat(shown.addresses[3], "junction", 107)
                for shot in FAILING:
                    await take(browser, shown.url, shot, folder)
        with scratch() as made:
            prepare = partial(at_work, boards=2)
            async with stage(Path(made), "mi300x-cpx", *ROUNDS, prepare=prepare) as shown:
                await hold(shown, ("llm-train-0", 8), ("notebook-anna", 1), ("batch-17", 4))
                shown.node.unbind(shown.addresses[5])
                await take(browser, shown.url, PARTITIONS, folder)


def draw(folder: Path) -> None:
    for shape in ("mi300x", "mi210"):
        inventory = inventory_of(replace(default_config(), simulate=shape))
        (folder / f"topology-{shape}.svg").write_bytes(svg_file(inventory))


if __name__ == "__main__":
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    images.mkdir(parents=True, exist_ok=True)
    draw(images)
    asyncio.run(photograph(images))
    if (pngquant := shutil.which("pngquant")) is not None:
        made = [str(images / f"{shot.name}.png") for shot in (HEALTHY, *FAILING, PARTITIONS)]
        subprocess.run([pngquant, "--force", "--ext", ".png", "--speed", "1", "64", *made], check=True)
