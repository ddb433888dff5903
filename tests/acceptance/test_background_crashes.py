"""kill -9 of service and server while an agent handles events: each is handled once, in order (invariant 10)."""

import asyncio
import contextlib
import itertools
import os
import random
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.hosting.stack import ROOT
from tests.support.process import Process, bare_environment, free_port, local_http
from tests.support.restate_server import RestateServer

pytestmark = pytest.mark.invariant

SEED = int(os.environ.get("CRASH_SEED", "20261121"))
EVENTS = 130  # at least
ENOUGH = {"service": 4, "server": 2}  # crashes


async def crash_now_and_then(
    choices: random.Random, service: Process, url: str, server: RestateServer, crashed: list[str]
) -> None:
    """Kill the service about every second, and every third time the server instead; note each in `crashed`."""
    for number in itertools.count(1):
        await asyncio.sleep(choices.uniform(0.5, 2.0))
        if number % 3:
            service.kill9()
            crashed.append("service")
            service.start()
            await service.answers(f"{url}/health")
        else:
            server.kill9()
            crashed.append("server")
            await server.start()


async def ask(http: httpx.AsyncClient, handler: str, **body: Any) -> Any:
    """Call a handler as often as it needs to get through an outage; its key makes it take effect once."""
    headers = {"idempotency-key": uuid.uuid4().hex}
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = await http.post(f"/BackgroundAgents/{handler}", json=body, headers=headers)
            if answer.is_success:
                return answer.json() if answer.content else None
            # A Restate server that has just started does not know its services for a moment.
            starting = answer.headers.get("x-restate-error-source") == "ingress"
            assert answer.is_server_error or starting, answer.text
        await asyncio.sleep(0.1)


async def read_often(http: httpx.AsyncClient, seen: list[list[int]]) -> None:
    """Ask the agent again and again what it has seen in this run; an outage is no answer."""
    while True:
        seen.append(await ask(http, "get_agent_state", agent_id="ledger", state_name="entries"))
        await asyncio.sleep(0.1)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_every_event_exactly_once(own_restate_server: RestateServer, tmp_path: Path) -> None:
    """130 events and more with a step each, across at least three continue-as-new, until both have died often enough:
    all entered once, in order, and whoever reads meanwhile never sees anything else."""
    actions = tmp_path / "actions.log"
    actions.touch()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    service = Process(
        [sys.executable, "-m", "tests.acceptance.background_ledger", str(port)],
        env=bare_environment(ACTIONS_LOG=str(actions), RESTATE_ADMIN_URL=own_restate_server.admin_url),
        cwd=ROOT,
        log=tmp_path / "ledger.log",
    )
    service.start()
    await service.answers(f"{url}/health")
    await own_restate_server.register(url)
    crashed: list[str] = []
    seen: list[list[int]] = []
    crashing = asyncio.create_task(crash_now_and_then(random.Random(SEED), service, url, own_restate_server, crashed))
    try:
        async with local_http() as http, asyncio.timeout(240):
            http.base_url = httpx.URL(own_restate_server.ingress_url)
            beginning = {"entered": [], "seen": [], "end": False}
            await ask(http, "schedule_agent", agent_name="Ledger", agent_id="ledger", agent_input=beginning)
            reading = asyncio.create_task(read_often(http, seen))
            sent = 0
            while sent < EVENTS or Counter(ENOUGH) - Counter(crashed):
                await ask(http, "send_agent_event", agent_id="ledger", event_name="enter", event_input=sent)
                sent += 1
            await stopped(reading)
            await ask(http, "send_agent_event", agent_id="ledger", event_name="finish")
            result = await ask(http, "get_agent_result", agent_id="ledger")
    finally:
        await stopped(crashing)
        service.kill9()

    assert result["entered"] == list(range(sent))
    assert result["runs"] > 3
    # A function runs again only if the process died before its result was recorded.
    again = [n for n, times in Counter(actions.read_text().split()).items() if times > 1]
    assert len(again) <= len(crashed), again
    assert seen
    assert [numbers for numbers in seen if numbers != list(range(len(numbers)))] == []
