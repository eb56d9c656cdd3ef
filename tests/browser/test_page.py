"""The status page in a real browser: the real daemon on a simulated node, played with while somebody looks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from amdgpu_plugin.simulation.node import SimulatedNode
from tests.browser.stage import CHROMIUM, PATIENCE_MS, RESOURCE, Seen, chromium, look, stage

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; Debian's package is chromium"),
]
PHONE = {"width": 360, "height": 740}
SELDOM = ("--health-interval", "30")
"""Where nothing happens: rounds cost the machine's time."""
AXE = files("axe_playwright_python").joinpath("axe.min.js")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    async with chromium() as made:
        yield made


@asynccontextmanager
async def looking(browser: Browser, url: str, **options: object) -> AsyncIterator[Seen]:
    """A page that must end without a complaint, and ask for nothing but the daemon's own."""
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    try:
        seen = await look(context, url)
        yield seen
        assert seen.complaints == []
        assert [asked for asked in seen.requested if not asked.startswith(url.partition("#")[0])] == []
    finally:
        await context.close()


async def violations(page: Page) -> list[str]:
    """What axe has to say."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    return [
        f"{rule['id']}: {node['html']}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


async def overflows(page: Page) -> bool:
    """Whether the page is wider than the window, or a table or card wider than its place."""
    wide: bool = await page.evaluate(
        """document.documentElement.scrollWidth > innerWidth
        || [...document.querySelectorAll(".devices, .card > *")].some(
            (each) => each.getBoundingClientRect().right > each.parentElement.getBoundingClientRect().right + 0.5)"""
    )
    return wide


async def test_a_fault_appears_and_goes_while_somebody_looks(browser: Browser, scratch: Path) -> None:
    async with stage(scratch, "mi300x") as node, looking(browser, node.url) as seen:
        page, (victim, *_) = seen.page, node.addresses
        await node.kubelet.allocate(RESOURCE, 8, pod="train", container="main")
        await expect(page.get_by_role("heading", level=1)).to_have_text("All 8 devices healthy")
        await expect(page.locator("td.held", has_text="default/train main")).to_have_count(8)
        await page.evaluate("window.same = document.querySelector('h1')")

        # Unfolded by keyboard, it stays so, and the focus where it was, whatever is redrawn.
        summary = page.locator("summary", has_text=node.addresses[2])
        await summary.focus()
        await page.evaluate(
            "window.left = 0; document.addEventListener('focusout', () => { window.left += 1; })"
        )
        await page.keyboard.press("Enter")
        unfolded = page.get_by_role("region", name=f"Devices of {node.addresses[2]}")
        await expect(unfolded).to_be_visible()

        node.node.unbind(victim)
        await expect(page.get_by_role("heading", level=1)).to_have_text("1 of 8 devices unhealthy")
        wrong = page.get_by_role("region", name="What is wrong").get_by_role("listitem")
        await expect(wrong).to_contain_text(f"DriverUnbound {victim}")
        await expect(wrong).to_contain_text("bound to no driver")
        await expect(wrong).to_contain_text("Held by: default/train")
        await expect(wrong).to_contain_text("What to do: Somebody unbound it")
        await expect(wrong.locator(".ago")).to_contain_text(" s ago)")
        await expect(page).to_have_title("1 of 8 devices unhealthy · gpu-node-07 · amdgpu-plugin")
        drawn = page.locator(f'svg [data-gpu="{victim}"]')
        await expect(drawn).to_contain_text("DriverUnbound")
        assert await violations(page) == []
        await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert await violations(page) == []

        node.node.bind(victim)
        await expect(page.get_by_role("heading", level=1)).to_have_text("All 8 devices healthy")
        await expect(page.get_by_role("region", name="What is wrong")).to_have_count(0)
        await expect(unfolded).to_be_visible()
        await expect(summary).to_be_focused()
        assert await page.evaluate("[window.same === document.querySelector('h1'), window.left]") == [True, 0]

        # A click on the picture unfolds as well.
        await drawn.click()
        await expect(page.get_by_role("region", name=f"Devices of {victim}")).to_be_visible()


async def test_a_daemon_that_is_gone_is_said_and_heard_again(browser: Browser, scratch: Path) -> None:
    async with stage(scratch, "mi300x:2") as node:
        context = await browser.new_context()
        page = (await look(context, node.url)).page
        await expect(page.locator("#live")).to_be_visible()
        await node.stop()
        lost = page.get_by_role("status").filter(has_text="The daemon does not answer")
        await expect(lost).to_be_visible()
        await expect(page.locator("#silent")).to_contain_text("last heard")
        await expect(page.get_by_role("heading", level=1)).to_have_text("All 2 devices healthy")
        await node.start()
        await expect(lost).to_have_count(0)
        await expect(page.locator("#live")).to_be_visible()
        await context.close()


async def test_markup_in_a_product_name_stays_text(browser: Browser, scratch: Path) -> None:
    name = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&amp;"

    def prepare(node: SimulatedNode) -> None:
        Path(node.path_of(node.addresses[0]), "product_name").write_text(f"{name}\n")

    async with (
        stage(scratch, "mi300x:2", *SELDOM, prepare=prepare) as node,
        looking(browser, node.url) as seen,
    ):
        await expect(seen.page.locator("h2", has_text="Devices")).to_contain_text(f"1 × {name}")
        await expect(seen.page.locator("main img, main script")).to_have_count(0)


async def test_64_partitions_are_grouped_and_fit_a_phone(browser: Browser, scratch: Path) -> None:
    async with stage(scratch, "mi300x-cpx", *SELDOM) as node:
        await node.kubelet.allocate(RESOURCE, 9, pod="x" * 200, container="main")
        async with looking(browser, node.url, viewport=PHONE, color_scheme="dark") as seen:
            page = seen.page
            await expect(page.get_by_role("heading", level=1)).to_have_text("All 64 devices healthy")
            await expect(page.locator(".parts")).to_have_count(8)
            await expect(page.locator(".parts li")).to_have_count(64)
            await expect(page.locator("svg .part")).to_have_count(64)
            await page.locator("summary").nth(1).click()
            assert not await overflows(page)
            assert await violations(page) == []
            for width in (700, 800, 1280, 1312, 1920):
                await page.set_viewport_size({"width": width, "height": 900})
                assert not await overflows(page), width
        async with looking(browser, node.url, java_script_enabled=False) as plain:
            page = plain.page
            await expect(page.get_by_role("heading", level=1)).to_have_text("All 64 devices healthy")
            await expect(page.get_by_text("As of when it was loaded: reload it for news")).to_be_visible()
            await page.locator("summary").first.click()
            await expect(page.get_by_role("cell", name="renderD128")).to_be_visible()
            await page.get_by_role("link", name="/readyz").click()
            await expect(page.get_by_text("ready")).to_be_visible()


async def test_it_is_live_below_a_proxys_path(browser: Browser, scratch: Path) -> None:
    base = "http://127.0.0.1:9/api/v1/namespaces/gpus/pods/p:9400/proxy/"
    async with stage(scratch, "apu", *SELDOM) as node:

        async def through(route: Route) -> None:
            answer = await route.fetch(url=node.url + route.request.url.removeprefix(base))
            await route.fulfill(response=answer)

        context = await browser.new_context()
        await context.route(f"{base}**", through)
        seen = await look(context, base)
        await expect(seen.page.locator("#live")).to_be_visible()
        await expect(seen.page.get_by_role("heading", level=1)).to_have_text("The one device is healthy")
        assert not await overflows(seen.page)
        assert (seen.complaints, [url for url in seen.requested if not url.startswith(base)]) == ([], [])
        await context.close()
