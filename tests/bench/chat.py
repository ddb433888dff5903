"""Benchmarks of the chat: how fast a message interrupts, what a turn costs, and what a long history adds to it."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench.figures import Figure, median_ms
from tests.bench.ours import passed_on
from tests.bench.usage import memory_mib
from tests.support.llm_server import FOR_EVER, LLMRequest, LLMServer, Plan
from tests.support.restate_server import RestateServer
from tests.support.service import Service

ANSWER = Plan(text=("Done.",))
SLOW = Plan(delay_s=FOR_EVER)


class Bench:
    """The application between a Restate server and an LLM server that answers at once or never."""

    def __init__(self, http: httpx.AsyncClient, restate: RestateServer, service: Service, llm: LLMServer) -> None:
        self._http = http
        self._restate = restate
        self.service = service
        self.llm = llm
        self._keys = itertools.count()
        self._texts = itertools.count()

    def new_key(self) -> str:
        return f"bench-{next(self._keys)}"

    async def send(self, key: str, content: str, **fields: object) -> dict[str, Any]:
        """Send a message; return its receipt."""
        return await self._post(key, "process_user_message", {"content": content, **fields})

    async def status(self, key: str) -> dict[str, Any]:
        return await self._post(key, "get_status", None)

    async def turn(self, key: str) -> tuple[float, float]:
        """Run a whole turn; return the seconds from the message until the LLM request, and until the turn is closed."""
        text = f"message {next(self._texts)} of a chat that goes on and on"
        began = time.monotonic()
        await self.send(key, text, mode="QUEUE")
        request = await self.request_with(text)
        await self.llm.until(lambda: request.finished_at is not None)
        await self.ended(key)
        return request.arrived_at - began, time.monotonic() - began

    async def request_with(self, text: str) -> LLMRequest:
        """Return the newest LLM request whose last user text ends with `text`, once it is there."""

        def find() -> LLMRequest | None:
            newest = reversed(self.llm.requests[-100:])
            return next((request for request in newest if request.user_texts[-1].endswith(text)), None)

        await self.llm.until(lambda: find() is not None)
        found = find()
        assert found is not None
        return found

    async def disconnected(self, request: LLMRequest) -> float:
        """Wait until the client of an LLM request has gone; return when."""
        await self.llm.until(lambda: request.disconnected_at is not None)
        assert request.disconnected_at is not None
        return request.disconnected_at

    async def ended(self, key: str) -> bool:
        """Wait for the end of the turns that are open now; return whether there were any.

        It attaches to their runs: polling would slow down what it waits for.
        """
        turns = (await self.status(key))["open_turns"]
        for turn in turns:
            await self._http.get(f"/restate/invocation/{turn['invocation_id']}/attach")
        return bool(turns)

    async def _post(self, key: str, handler: str, body: object) -> dict[str, Any]:
        answer = await self._http.post(f"/ChatService/{key}/{handler}", json=body)
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result


@asynccontextmanager
async def running(binary: str, folder: Path) -> AsyncIterator[Bench]:
    """Run everything a benchmark needs."""
    restate = RestateServer(binary, folder)
    with LLMServer(lambda request: SLOW if "slow" in request.user_texts[-1] else ANSWER) as llm:
        service = Service(folder, OPENAI_BASE_URL=llm.url, LOG_LEVEL="WARNING", **passed_on())
        try:
            await restate.start()
            await service.start()
            await restate.register(service.url)
            async with httpx.AsyncClient(base_url=restate.ingress_url, timeout=60, trust_env=False) as http:
                bench = Bench(http, restate, service, llm)
                for _ in range(20):  # warm up: imports, connections, caches
                    await bench.turn(bench.new_key())
                yield bench
        finally:
            service.kill9()
            restate.kill9()


async def interrupts(bench: Bench, rounds: int = 60) -> list[Figure]:
    """Measure from the message that interrupts: the old LLM request aborted, the next one there."""
    aborted, asked_again = [], []
    for _ in range(rounds):
        key = bench.new_key()
        await bench.send(key, f"slow {key}")
        old = await bench.request_with(key)
        await asyncio.sleep(0.02)  # as people do: the turn is well under way
        sent = time.monotonic()
        await bench.send(key, f"next {key}", mode="INTERRUPT")
        new = await bench.request_with(f"next {key}")
        aborted.append(await bench.disconnected(old) - sent)
        asked_again.append(new.arrived_at - sent)
    return [
        median_ms("message → LLM request aborted", aborted, at_most=10),
        median_ms("message → next LLM request", asked_again, at_most=20),
    ]


async def turns(bench: Bench, rounds: int = 150) -> list[Figure]:
    """Measure one turn with an LLM that answers at once: until its request, and until the turn is closed."""
    to_request, whole = zip(*[await bench.turn(bench.new_key()) for _ in range(rounds)], strict=True)
    return [
        median_ms("message → LLM request", to_request, at_most=12),
        median_ms("a turn with an instant LLM", whole, at_most=25),
    ]


async def throughput(bench: Bench, chats: int = 32, rounds: int = 12) -> list[Figure]:
    """Measure turns per second with many chats at once, each waiting for its answer before it goes on."""

    async def chat() -> None:
        key = bench.new_key()
        for n in range(rounds):
            await bench.send(key, f"message {n}", mode="QUEUE")
            await bench.ended(key)

    began = time.perf_counter()
    await asyncio.gather(*(chat() for _ in range(chats)))
    seconds = time.perf_counter() - began
    return [Figure("turns per second, 32 chats", chats * rounds / seconds, "/s", at_least=90, samples=chats * rounds)]


async def history(bench: Bench, sizes: tuple[int, ...] = (10, 40, 100, 1000, 5000), rounds: int = 40) -> list[Figure]:
    """Measure a turn at the end of a long chat (a turn is two messages), and what the service's memory does."""
    figures, medians = [], {}
    key = bench.new_key()
    sent = 0
    memory_before = memory_mib(bench.service.process.pid)
    for size in sizes:
        for _ in range(size // 2 - sent - rounds // 2):
            await bench.turn(key)
            sent += 1
        samples = [(await bench.turn(key))[1] for _ in range(rounds)]
        sent += rounds
        medians[size] = statistics.median(samples)
        figures.append(median_ms(f"a turn after {size} messages", samples))
    figures.append(Figure("a turn at 5000 messages / at 40", medians[sizes[-1]] / medians[40], "×", at_most=1.3))
    grown = memory_mib(bench.service.process.pid) - memory_before
    figures.append(Figure("memory of the service, growth", grown, "MiB", at_most=30))
    return figures


async def nothing_lost(bench: Bench, mode: str, messages: int = 300) -> list[Figure]:
    """Send messages with hardly a gap in one mode; count those that the LLM never saw in a request."""
    key = bench.new_key()
    for n in range(messages):
        while True:
            answer = await bench._http.post(
                f"/ChatService/{key}/process_user_message", json={"content": f"<{key}-{n}>", "mode": mode}
            )
            if answer.status_code != 429:
                break
        answer.raise_for_status()
    while await bench.ended(key):
        pass
    seen = "\n".join(text for request in bench.llm.requests for text in request.user_texts)
    lost = sum(f"<{key}-{n}>" not in seen for n in range(messages))
    figures = [Figure(f"messages lost of {messages}, {mode}", lost, "", at_most=0, samples=messages)]
    if mode == "QUEUE":  # each message has a turn of its own, so two in one text means that a reply was not seen
        blind = sum(request.user_texts[-1].count(f"<{key}-") > 1 for request in bench.llm.requests)
        figures.append(Figure("queued messages answered without the reply before", blind, "", at_most=0))
    return figures
