"""What pages cost at 64 partitions on 8 boards, and whether clients that idle or half-send hold others up."""

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

from amdgpu_plugin.exposition.http import HttpServer
from amdgpu_plugin.exposition.listening import bind
from amdgpu_plugin.exposition.rendering import Renderer, exposed, node_metrics
from amdgpu_plugin.exposition.site import Site
from amdgpu_plugin.exposition.snapshot import Snapshot
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.lanes import Lane
from benchmarks.nodes import memory_mib
from benchmarks.report import Row, percentile, spread
from tests.exposition.states import CPX, largest

RUNS = 30
RENDER_GOAL_MS = 25
IDLE, HALF_SENDING, SCRAPES = 200, 50, 100
SHORT_INTERVAL_SECONDS = 0.0005
LAG_SECONDS = 3.0


async def measure() -> list[Row]:
    return [*_rendering(), *await _storm(), *await _lag()]


def _rendering() -> Iterator[Row]:
    instruments = Instruments()
    instruments.serve(CPX)
    for wanted in ("classic", "openmetrics"):
        times = [_cpu_ms(lambda: exposed(node_metrics(largest_), wanted)) for largest_ in _snapshots()]  # noqa: B023
        met = sorted(times)[len(times) // 2] <= RENDER_GOAL_MS
        yield Row(
            f"64 partitions on 8 boards, {wanted}: CPU of rendering a changed node",
            spread(times, "ms"),
            f"≤ {RENDER_GOAL_MS} ms",
            met,
        )
    own = [_cpu_ms(lambda: exposed(instruments, "classic")) for _ in range(RUNS)]
    yield Row("the same unchanged: CPU of the daemon's own counters, all that is rendered", spread(own, "ms"))
    page = exposed(node_metrics(largest()), "classic") + exposed(instruments, "classic")
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    yield Row("the page", f"{series} series, {len(page)} bytes")


def _snapshots() -> Iterator[Snapshot]:
    return (largest() for _ in range(RUNS))


def _cpu_ms(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return (time.thread_time() - began) * 1000


async def _storm() -> list[Row]:
    async with _server() as (port, pid):
        rows = [Row("the server alone, one page rendered: resident memory", f"{memory_mib(pid):.1f} MiB")]
        for crowd in (0, IDLE + HALF_SENDING):
            writers = [await _silent(port, half=number >= IDLE) for number in range(crowd)]
            for path in ("/metrics", "/readyz"):
                times = [await _get_ms(port, path) for _ in range(SCRAPES)]
                answered = [taken for taken in times if taken is not None]
                others = f"{IDLE} idle and {HALF_SENDING} half-sending clients" if crowd else "alone"
                rows.append(
                    Row(
                        f"{SCRAPES} × {path}, {others}: answered, p99",
                        f"{len(answered)}, {percentile(answered, 99):.1f} ms",
                        f"all {SCRAPES}",
                        len(answered) == SCRAPES,
                    )
                )
            if crowd:
                rows.append(Row(f"resident memory with {crowd} connections", f"{memory_mib(pid):.1f} MiB"))
            for writer in writers:
                writer.transport.abort()
    return rows


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[tuple[int, int]]:
    """A server in a process of its own, whose node changes with every tenth of a second; its port and pid."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.exposition"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        await _get_ms(port, "/metrics")
        yield port, process.pid
    finally:
        process.terminate()
        await process.wait()


async def _silent(port: int, *, half: bool) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    if half:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: ")
    return writer


async def _get_ms(port: int, path: str) -> float | None:
    """How long the whole answer took on a new connection; None when there was none."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError):
        return None
    return (time.perf_counter() - began) * 1000 if answer.startswith(b"HTTP/1.1 200") else None


async def _lag() -> list[Row]:
    """How late the loop is while pages are rendered in their lane, ten times a second."""
    before = sys.getswitchinterval()
    rows = []
    for interval in (before, SHORT_INTERVAL_SECONDS):
        sys.setswitchinterval(interval)
        try:
            late = await _lateness_ms()
        finally:
            sys.setswitchinterval(before)
        rows.append(
            Row(
                "how late the loop is while a changed node is rendered 10 times a second, "
                f"switch interval {interval * 1000:g} ms: p50, p99",
                f"{percentile(late, 50):.2f} ms, {percentile(late, 99):.2f} ms",
            )
        )
    return rows


async def _lateness_ms() -> list[float]:
    changing = itertools.cycle([largest(), largest()])
    made = Renderer(lambda: next(changing), Instruments(), Lane("bench render"))

    async def scrape() -> None:
        while True:
            await made.metrics("classic")
            await asyncio.sleep(0.1)

    scraping = asyncio.create_task(scrape())
    late = []
    end = time.perf_counter() + LAG_SECONDS
    while (began := time.perf_counter()) < end:
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - began - 0.001) * 1000)
    scraping.cancel()
    await asyncio.wait([scraping])
    return late


async def _serve() -> None:
    instruments, current = Instruments(), largest()

    def now() -> Snapshot:
        tenth = int(time.monotonic() * 10)
        nonlocal current
        if current.state.revision != tenth:
            current = replace(current, state=replace(current.state, revision=tenth))
        return current

    sockets = bind("127.0.0.1", 0)
    site = Site(now, Renderer(now, instruments, Lane("render")), status_page=False)
    print(sockets[0].getsockname()[1], flush=True)
    await HttpServer(sockets, site.answer).run()


if __name__ == "__main__":
    asyncio.run(_serve())
