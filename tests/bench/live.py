"""Benchmarks of watching: from the LLM's token to the watcher, many watchers, and what streaming costs a turn."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.live.events import CallEnded, CallStarted, TextAdded, TextId
from app.live.hub import LocalHub
from tests.bench.chat import Bench
from tests.bench.figures import Figure, median_ms
from tests.bench.ours import passed_on
from tests.bench.usage import cpu_seconds, memory_mib
from tests.support.llm_server import LLMServer, Plan
from tests.support.restate_server import RestateServer
from tests.support.service import Service
from tests.support.watching import WATCHED_MAIN, stamped

TOKENS = 200
GAP_S = 0.02
WATCHERS = 200


@asynccontextmanager
async def running(binary: str, folder: Path) -> AsyncIterator[Bench]:
    """Run the application with a path for watchers, and an LLM that answers with the times of its tokens."""
    restate = RestateServer(binary, folder)
    with LLMServer(lambda _: Plan(body=stamped(TOKENS), gap_s=GAP_S)) as llm:
        settings = {"OPENAI_BASE_URL": llm.url, "LOG_LEVEL": "WARNING", **restate.settings, **passed_on()}
        service = Service(folder, WATCHED_MAIN, **settings)
        try:
            await restate.start()
            await service.start()
            await restate.register(service.url)
            async with httpx.AsyncClient(base_url=restate.ingress_url, timeout=60, trust_env=False) as http:
                yield Bench(http, restate, service, llm)
        finally:
            service.kill9()
            restate.kill9()


async def one_watcher(bench: Bench) -> list[Figure]:
    """Measure from the LLM server to one watcher of a chat, with 50 tokens a second."""
    return [median_ms("token → watcher", (await _turn(bench, bench.new_key(), 1)).delays, at_most=100)]


async def many_watchers(bench: Bench) -> list[Figure]:
    """Measure 200 watchers of one chat: the delay, and the memory and CPU that each takes."""
    key = bench.new_key()
    await bench.send(key, "first")
    await bench.ended(key)
    turn = await _turn(bench, key, WATCHERS)
    return [
        median_ms(f"token → watcher, {WATCHERS} watchers of a chat", turn.delays, at_most=200),
        Figure("memory of a watcher", 1024 * turn.grown_mib / WATCHERS, "KiB", at_most=200),
        Figure("CPU of a token for each of them, the turn included", 1e6 * turn.cpu_s / WATCHERS / TOKENS, "µs"),
    ]


async def cost_of_a_token() -> list[Figure]:
    """Measure what it costs to tell of a token that nobody hears, and one that a watcher hears."""
    return [
        Figure("telling of a token without a watcher", await _per_token_us(watched=False), "µs", at_most=10),
        Figure("telling of a token with a watcher", await _per_token_us(watched=True), "µs"),
    ]


async def _per_token_us(*, watched: bool, rounds: int = 20, tokens: int = 1000) -> float:
    hub = LocalHub(max_chars=200_000)
    costs = []

    async def watch() -> None:
        async with hub.subscribe("key") as stream:
            while True:
                await stream.next()

    watcher = asyncio.create_task(watch()) if watched else None
    for n in range(rounds):
        text_id = TextId(1, n, "a")
        hub.publish("key", CallStarted(text_id))
        spent = 0.0
        for batch in range(tokens // 5):
            began = time.thread_time()
            for offset in range(5 * batch, 5 * batch + 5):
                hub.publish("key", TextAdded(text_id, 5 * offset, " word"))
            spent += time.thread_time() - began
            await asyncio.sleep(0)
        hub.publish("key", CallEnded(text_id))
        costs.append(spent / tokens)
    if watcher is not None:
        watcher.cancel()
    return 1e6 * statistics.median(costs)


@dataclass(frozen=True)
class _Turn:
    """What a watched turn took: the delay of each token at each watcher, and the service's CPU and memory."""

    delays: list[float]
    cpu_s: float
    grown_mib: float


async def _turn(bench: Bench, key: str, count: int) -> _Turn:
    """Run a turn that `count` watchers see."""
    pid = bench.service.process.pid
    memory = memory_mib(pid)
    joined = [asyncio.Event() for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(_watch(bench.service.port, key, each)) for each in joined]
        for each in joined:
            await each.wait()
        grown, cpu = memory_mib(pid) - memory, cpu_seconds(pid)
        await bench.send(key, "hello")
    return _Turn([delay for each in watchers for delay in each.result()], cpu_seconds(pid) - cpu, grown)


async def _watch(port: int, key: str, joined: asyncio.Event) -> list[float]:
    """Watch to the end of the next call, and return the delay of each of its tokens. 200 do this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /watch/{key} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    lines: list[tuple[float, bytes]] = []
    while b'"CallEnded"' not in (line := await reader.readline()):
        if b'"StatusSeen"' in line:
            joined.set()
        elif b'"TextAdded"' in line:
            lines.append((time.monotonic(), line))
    writer.close()
    return [at - float(sent_at) for at, line in lines for sent_at in json.loads(line)["event"]["text"].split()]


async def live(bench: Bench) -> list[Figure]:
    """Measure all of it."""
    return [*await one_watcher(bench), *await many_watchers(bench), *await cost_of_a_token()]


PARTS: dict[str, Callable[[Any], Awaitable[list[Figure]]]] = {"live": live}
