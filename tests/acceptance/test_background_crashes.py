"""kill -9 of the service while an agent handles events: each is handled exactly once, in order (invariant 10)."""

import asyncio
import contextlib
import os
import random
import sys
from collections import Counter
from pathlib import Path

from app.background import Restack
from app.stack import ROOT
from tests.support.process import Process, bare_environment, free_port
from tests.support.restate_server import RestateServer

SEED = int(os.environ.get("CRASH_SEED", "20261121"))
EVENTS = 200


async def crash_now_and_then(choices: random.Random, service: Process, url: str, crashes: list[float]) -> None:
    while True:
        await asyncio.sleep(choices.uniform(0.5, 2.0))
        service.kill9()
        crashes.append(asyncio.get_running_loop().time())
        service.start()
        await service.answers(f"{url}/health")


async def test_every_event_exactly_once(own_restate_server: RestateServer, tmp_path: Path) -> None:
    """200 events with a step each, across at least three continue-as-new: all entered once, in order."""
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
    crashes: list[float] = []
    crashing = asyncio.create_task(crash_now_and_then(random.Random(SEED), service, url, crashes))
    try:
        async with Restack(ingress_url=own_restate_server.ingress_url) as client, asyncio.timeout(120):
            await client.schedule_agent("Ledger", "ledger", {"entered": [], "seen": [], "end": False})
            for n in range(EVENTS):
                await client.send_agent_event("enter", "ledger", event_input=n)
            await client.send_agent_event("finish", "ledger")
            result = await client.get_agent_result("ledger")
    finally:
        crashing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await crashing
        service.kill9()

    assert result["entered"] == list(range(EVENTS))
    assert result["runs"] > 3
    assert len(crashes) > 3, "it was over before it was killed often enough"
    # A function runs again only if the process died before its result was recorded.
    again = [n for n, times in Counter(actions.read_text().split()).items() if times > 1]
    assert len(again) <= len(crashes), again
