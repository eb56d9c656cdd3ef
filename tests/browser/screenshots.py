"""Makes the pictures in docs/images/: `python -m tests.browser.screenshots [FOLDER]`, on a machine with Chromium.

The same node each time; only times and the fonts of the machine differ. pngquant makes them small where it is.
"""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.async_api import Browser

from amdgpu_plugin.simulation.node import SimulatedNode
from tests.browser.stage import Stage, chromium, look, scratch, stage

IMAGES = Path(__file__).parents[2] / "docs" / "images"
GPU = "amd.com/gpu"
DESKTOP, PHONE = (1280, 980), (375, 900)
WORK = (
    (62, 88, 612, 151),
    (64, 91, 655, 149),
    (58, 79, 540, 120),
    (61, 83, 590, 133),
    (41, 0, 138, 0),
    (44, 3, 160, 2),
)
"""Degrees, percent busy, watts, GiB in use."""


def at_work(node: SimulatedNode) -> None:
    for number, address in enumerate(node.addresses):
        celsius, busy, watts, used = WORK[number % len(WORK)]
        node.heat(address, "junction", celsius)
        node.use_memory(address, used * 2**30 + 283_000_000)
        folder = Path(node.path_of(address))
        (folder / "gpu_busy_percent").write_text(f"{busy}\n")
        for file in folder.glob("hwmon/hwmon*/power1_*"):
            if file.name in {"power1_average", "power1_input"}:
                file.write_text(f"{watts * 1_000_000}\n")


async def pods(shown: Stage, resource: str, sizes: tuple[tuple[str, int], ...]) -> None:
    for pod, size in sizes:
        await shown.kubelet.allocate(resource, size, pod=pod, container="trainer")


async def take(
    browser: Browser,
    url: str,
    path: Path,
    *,
    size: tuple[int, int],
    dark: bool = False,
    waits: str,
    full: bool = False,
) -> None:
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        device_scale_factor=2 if size == PHONE else 1,
    )
    seen = await look(context, url)
    await seen.page.get_by_text(waits).first.wait_for()
    await seen.page.locator("#live").wait_for()
    await seen.page.screenshot(path=path, full_page=full)
    await context.close()


def small(path: Path) -> None:
    if (pngquant := shutil.which("pngquant")) is not None:
        subprocess.run([pngquant, "--force", "--ext", ".png", "--speed", "1", "128", str(path)], check=True)


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    async with chromium() as browser:
        with scratch() as made:
            async with stage(Path(made), "mi300x", prepare=at_work) as shown:
                await pods(shown, GPU, (("llm-train-0", 4), ("notebook-anna", 1)))
                await take(
                    browser, shown.url, folder / "healthy.png", size=DESKTOP, waits="All 8 devices healthy"
                )
                shown.node.heat(shown.addresses[3], "junction", 107)
                for name, size, dark, full in (
                    ("status-page", DESKTOP, False, False),
                    ("status-page-dark", DESKTOP, True, False),
                    ("status-page-phone", PHONE, False, False),
                    ("whole", DESKTOP, False, True),
                    ("phone-whole", PHONE, False, True),
                ):
                    await take(
                        browser,
                        shown.url,
                        folder / f"{name}.png",
                        size=size,
                        dark=dark,
                        full=full,
                        waits="1 of 8 devices unhealthy",
                    )
        with scratch() as made:
            async with stage(Path(made), "mi300x-cpx", prepare=at_work) as shown:
                await pods(shown, "amd.com/gpu", (("llm-train-0", 8), ("notebook-anna", 1), ("batch-17", 4)))
                shown.node.unbind(shown.addresses[5])
                await take(
                    browser,
                    shown.url,
                    folder / "status-page-64.png",
                    size=(1280, 1400),
                    waits="8 of 64 devices unhealthy",
                )
    for path in folder.glob("*.png"):
        small(path)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES))
