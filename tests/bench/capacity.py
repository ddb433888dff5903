"""Benchmarks of capacity: what a turn costs while many chats are open, and how fast people are answered then.

`SERVER` and `WORKERS` in the environment choose what is measured; the CPU is that of the service with its workers.
"""

import asyncio
import itertools
import os
import resource
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench.chat import Bench
from tests.bench.figures import Figure, median_ms
from tests.support.llm_server import FOR_EVER, LLMRequest, LLMServer, Plan, delta
from tests.support.restate_server import RestateServer
from tests.support.service import Service

TOKENS_PER_S = 20
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_TOKEN = b'data: {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": null}]}\n\n'
_BATCH = 25  # chats that are opened at a time


def script(request: LLMRequest) -> Plan:
    """Answer never, word by word without end, or at once, as the last message asks for."""
    text = request.user_texts[-1]
    if "slow" in text:
        return Plan(delay_s=FOR_EVER)
    if "talk" in text:
        return Plan(body=itertools.repeat(_TOKEN), gap_s=1 / TOKENS_PER_S)
    return Plan(raw=[delta(content="Done."), delta(finish_reason="stop")])


@asynccontextmanager
async def running(binary: str, folder: Path) -> AsyncIterator[Bench]:
    """Run the application with a server that lets thousands of turns be open."""
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    env = {name: os.environ[name] for name in ("SERVER", "WORKERS") if name in os.environ}
    own = folder / "c"  # the path of the server's socket has to be short
    own.mkdir()
    restate = RestateServer(binary, own, RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT="10000")
    with LLMServer(script) as llm:
        service = Service(
            own,
            OPENAI_BASE_URL=llm.url,
            LOG_LEVEL="WARNING",
            MAX_REPLY_CHARS="100000000",
            RESTATE_ADMIN_URL=restate.admin_url,
            **env,
        )
        try:
            await restate.start()
            await service.start()
            await restate.register(service.url)
            limits = httpx.Limits(max_connections=200)
            async with httpx.AsyncClient(
                base_url=restate.ingress_url, timeout=120, trust_env=False, limits=limits
            ) as http:
                bench = Bench(http, restate, service, llm)
                for _ in range(20):
                    await bench.turn(bench.new_key())
                yield bench
        finally:
            service.kill9()
            restate.kill9()


async def capacity(bench: Bench) -> list[Figure]:
    """Measure the cost of a short turn beside quiet chats, then interrupts of those, then chats that stream."""
    figures = await _beside_quiet_chats(bench, (0, 500, 1000, 2000))
    return figures + await _beside_streaming_chats(bench, 500)


async def _beside_quiet_chats(bench: Bench, counts: Sequence[int], turns: int = 60) -> list[Figure]:
    figures: list[Figure] = []
    costs: dict[int, float] = {}
    keys: list[str] = []
    for count in counts:
        keys += await _open(bench, count - len(keys), "slow")
        began = cpu_s(bench.service)
        for _ in range(turns):
            await bench.turn(bench.new_key())
        costs[count] = 1000 * (cpu_s(bench.service) - began) / turns
        name = f"CPU of the service for a short turn, {count} quiet chats open"
        figures.append(Figure(name, costs[count], "ms", samples=turns))
    figures.append(Figure("the same at 1000 / at none", costs[1000] / costs[0], "×", at_most=1.5))
    asked, aborted = await _interrupts(bench, keys[:100], "slow")
    figures.append(median_ms(f"message → request aborted, {counts[-1]} quiet chats open", aborted, at_most=50))
    figures.append(median_ms(f"receipt of a message, {counts[-1]} quiet chats open", asked))
    await _close(bench, keys)
    return figures


async def _beside_streaming_chats(bench: Bench, count: int) -> list[Figure]:
    keys = await _open(bench, count, "talk")
    sent, began, cpu = _bytes_sent(bench), time.monotonic(), cpu_s(bench.service)
    receipts, aborted = await _interrupts(bench, keys[:200], "talk", gap_s=0.05)
    seconds = time.monotonic() - began
    tokens = (_bytes_sent(bench) - sent) / len(_TOKEN)
    used = cpu_s(bench.service) - cpu
    ordered = sorted(1000 * value for value in aborted)
    name = f"{count} chats of {TOKENS_PER_S} tokens/s"
    figures = [
        Figure(f"tokens per second, {name}", tokens / seconds, "/s", at_least=0.95 * count * TOKENS_PER_S),
        Figure(f"cores that the service takes, {name}", used / seconds, ""),
        Figure("CPU for a token", 1e6 * used / tokens, "µs", samples=int(tokens)),
        median_ms(f"receipt of a message, {name}", receipts, at_most=100),
        median_ms(f"message → request aborted, {name}", aborted, at_most=100),
        Figure("the same, p99", statistics.quantiles(ordered, n=100)[98], "ms", at_most=500, samples=len(ordered)),
    ]
    await _close(bench, keys)
    return figures


async def _open(bench: Bench, count: int, text: str) -> list[str]:
    """Begin turns that stay open; return the keys of their chats."""
    keys = [bench.new_key() for _ in range(count)]
    for start in range(0, count, _BATCH):
        batch = keys[start : start + _BATCH]
        before = len(bench.llm.requests)
        await asyncio.gather(*(bench.send(key, f"{text} {key}") for key in batch))
        await bench.llm.until(lambda: len(bench.llm.requests) >= before + len(batch), timeout_s=60)  # noqa: B023
    return keys


async def _interrupts(
    bench: Bench, keys: Sequence[str], text: str, gap_s: float = 0.02
) -> tuple[list[float], list[float]]:
    """Interrupt one chat after the other, whose next turn is alike; return the seconds to the receipt and the abort."""
    receipts, aborts = [], []
    newest = {request.user_texts[-1]: request for request in bench.llm.requests}
    for key in keys:
        old = newest[f"{text} {key}"]
        sent = time.monotonic()
        await bench.send(key, f"again, {text} {key}", mode="INTERRUPT")
        receipts.append(time.monotonic() - sent)
        aborts.append(await bench.disconnected(old) - sent)
        await asyncio.sleep(gap_s)  # people do not wait for each other, nor are they one
    return receipts, aborts


async def _close(bench: Bench, keys: Sequence[str]) -> None:
    """Stop the turns of chats."""
    for start in range(0, len(keys), _BATCH):
        await asyncio.gather(*(bench._post(key, "stop", {}) for key in keys[start : start + _BATCH]))


def cpu_s(service: Service) -> float:
    """Return the CPU time that the service and its workers have used."""
    pid = service.process.pid
    workers = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return sum(_cpu_of(each) for each in [pid, *workers])


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _bytes_sent(bench: Bench) -> int:
    return sum(request.bytes_sent for request in bench.llm.requests)


PARTS: dict[str, Callable[[Any], Awaitable[list[Figure]]]] = {"capacity": capacity}
