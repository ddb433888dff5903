"""Benchmarks of background agents: what an event costs, what idle agents cost, and what a long journal adds."""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.background import Restack
from app.hosting.stack import ROOT
from tests.bench.figures import Figure, median_ms
from tests.bench.usage import memory_mib
from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port
from tests.support.restate_server import RestateServer


class Bench:
    """The agents of `background_app.py` on a Restate server of their own."""

    def __init__(self, restate: RestateServer, service: Process, client: Restack) -> None:
        self.restate = restate
        self.service = service
        self.client = client
        self._count = 0

    async def agent(self, name: str = "Tally", agent_input: Any = None) -> str:
        """Start an agent; return its id."""
        self._count += 1
        agent_id = f"{name}-{self._count}"
        await self.client.schedule_agent(name, agent_id, agent_input)
        return agent_id

    async def event(self, agent_id: str) -> float:
        """Send an event and wait for its handler; return the seconds."""
        began = time.perf_counter()
        await self.client.send_agent_event("add", agent_id, event_input=1, wait_for_completion=True)
        return time.perf_counter() - began

    async def suspended(self, agent_id: str) -> None:
        """Wait until the run of an agent is suspended."""
        run_id = (await self.client.describe_agent(agent_id)).run_id
        query = f"SELECT COUNT(*) AS n FROM sys_invocation WHERE id = '{run_id}' AND status = 'suspended'"  # noqa: S608 - our own id
        await self.count(query, 1)

    async def count(self, query: str, at_least: int) -> None:
        """Wait until `query` counts so many."""

        async def reached() -> bool:
            return bool((await self.restate.query(query))[0]["n"] >= at_least)

        await eventually(reached, timeout_s=60, every_s=0.1)


@asynccontextmanager
async def running(binary: str, folder: Path) -> AsyncIterator[Bench]:
    """Run everything these benchmarks need."""
    folder = folder / "background"
    folder.mkdir()
    restate, port = RestateServer(binary, folder), free_port()
    service = Process(
        [sys.executable, "-m", "tests.bench.background_app", str(port)],
        env=bare_environment(RESTATE_ADMIN_URL=restate.admin_url, LOG_LEVEL="WARNING"),
        cwd=ROOT,
        log=folder / "service.log",
    )
    try:
        await restate.start()
        service.start()
        await service.answers(f"http://127.0.0.1:{port}/health")
        await restate.register(f"http://127.0.0.1:{port}")
        async with Restack(ingress_url=restate.ingress_url) as client:
            bench = Bench(restate, service, client)
            for _ in range(20):  # warm up
                await bench.event(await bench.agent())
            yield bench
    finally:
        service.kill9()
        restate.kill9()


async def round_trip(bench: Bench, rounds: int = 200) -> list[Figure]:
    """Measure an event from the client to its handler and back, into an agent that is awake."""
    agent_id = await bench.agent()
    seconds = [await bench.event(agent_id) for _ in range(rounds)]
    return [median_ms("event round trip", seconds, at_most=20)]


async def throughput(bench: Bench, events: int = 1000) -> list[Figure]:
    """Measure events per second, sent side by side, until all are handled."""
    figures = []
    for agents in (1, 100):
        ids = [await bench.agent() for _ in range(agents)]
        began = time.perf_counter()
        await _side_by_side(32, [_send(bench, ids[n % agents]) for n in range(events)])
        await _side_by_side(32, [bench.client.get_agent_state(agent_id, "total") for agent_id in ids])
        rate = events / (time.perf_counter() - began)
        figures.append(Figure(f"events per second into {agents} agents", rate, "/s", samples=events))
    return figures


async def steps(bench: Bench, count: int = 500) -> list[Figure]:
    """Measure steps per second of one agent, one after the other, and 50 side by side."""
    figures = []
    for width in (1, 50):
        agent_id = await bench.agent("Walker", {"count": count, "width": width})
        began = time.perf_counter()
        await bench.client.get_agent_result(agent_id)
        rate = count / (time.perf_counter() - began)
        figures.append(Figure(f"steps per second, {width} at a time", rate, "/s", samples=count))
    return figures


async def idle(bench: Bench, agents: int = 10_000) -> list[Figure]:
    """Measure what idle agents cost in memory, of the service and of the server."""
    service, server = memory_mib(bench.service.pid), memory_mib(bench.restate.process.pid)
    began = time.perf_counter()
    await _side_by_side(64, [bench.agent() for _ in range(agents)])
    rate = agents / (time.perf_counter() - began)
    query = "SELECT COUNT(*) AS n FROM sys_invocation WHERE target_service_name = 'Tally' AND status = 'suspended'"
    await bench.count(query, agents)
    return [
        Figure(f"starts per second, {agents} agents", rate, "/s", samples=agents),
        Figure(f"memory of the service before {agents} idle agents", service, "MiB"),
        Figure(f"memory of the service with {agents} idle agents", memory_mib(bench.service.pid), "MiB"),
        Figure(f"memory of the server before {agents} idle agents", server, "MiB"),
        Figure(f"memory of the server with {agents} idle agents", memory_mib(bench.restate.process.pid), "MiB"),
    ]


async def wake(bench: Bench, lengths: tuple[int, ...] = (100, 500, 1000, 1950), rounds: int = 5) -> list[Figure]:
    """Measure the event that wakes a suspended agent, against the length of its journal."""
    figures = []
    for length in lengths:
        agent_id = await bench.agent()
        while await bench.client.get_agent_state(agent_id, "entries") < length:
            await _side_by_side(16, [bench.event(agent_id) for _ in range(20)])
        seconds = []
        for _ in range(rounds):
            await bench.suspended(agent_id)
            seconds.append(await bench.event(agent_id))
        bar = 250 if length == lengths[-1] else None
        figures.append(median_ms(f"waking an agent with {length} journal entries", seconds, at_most=bar))
    return figures


async def late_events(bench: Bench, events: int = 900) -> list[Figure]:
    """Measure the events of one run that is never suspended: the last hundred against the first."""
    agent_id = await bench.agent()
    seconds = [await bench.event(agent_id) for _ in range(events)]
    ratio = statistics.median(seconds[-100:]) / statistics.median(seconds[:100])
    return [Figure("event late in a run / early", ratio, "×", at_most=1.5, samples=events)]


PARTS: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {
    "event round trip": round_trip,
    "events": throughput,
    "steps": steps,
    "wake": wake,
    "late events": late_events,
    "idle agents": idle,
}


async def _send(bench: Bench, agent_id: str) -> None:
    await bench.client.send_agent_event("add", agent_id, event_input=1)


async def _side_by_side(width: int, work: list[Any]) -> None:
    limit = asyncio.Semaphore(width)

    async def one(awaitable: Any) -> None:
        async with limit:
            await awaitable

    await asyncio.gather(*(one(awaitable) for awaitable in work))
