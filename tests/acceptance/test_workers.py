"""`WORKERS=n`: several processes at one address share the work, and the death of one loses nothing."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from tests.acceptance.test_crashes import MODES
from tests.acceptance.test_main import run_main
from tests.conftest import StartService
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import FOR_EVER, LLMServer, Plan
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service
from tests.support.swarm import BusyLLM, Person, check_chat

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at the processes in /proc")

SEED = 20261121
NOISE = ("Traceback", " ERROR:", " CRITICAL:")


def workers_of(service: Service) -> list[int]:
    """Return the process ids of the workers."""
    pid = service.process.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def sockets_of(pid: int) -> int:
    """Return how many sockets a process has open: its connections to Restate and to the LLM server, above all."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += os.readlink(each).startswith("socket:")
    return found


async def test_work_is_shared(own_restate_server: RestateServer, start_service: StartService, server: str) -> None:
    """Of 60 turns that are open at a time each of two workers has at least ten; SIGTERM ends them all within 5 s."""
    with LLMServer(lambda _: Plan(delay_s=FOR_EVER)) as llm:
        service = await start_service(
            OPENAI_BASE_URL=llm.url, WORKERS="2", SERVER=server, RESTATE_ADMIN_URL=own_restate_server.admin_url
        )
        await own_restate_server.register(service.url)
        async with local_http() as http:
            chats = [Chat(own_restate_server, llm, http, f"shared-{n}") for n in range(60)]
            for chat in chats:
                await chat.say("hello")
            await llm.until(lambda: len(llm.requests) == 60, timeout_s=30)
        pids = workers_of(service)

        assert len(pids) == 2
        assert min(sockets_of(pid) for pid in pids) > 10, [sockets_of(pid) for pid in pids]
        async with asyncio.timeout(5):
            assert await service.terminate() == 0
        assert not [noise for noise in NOISE if noise in service.process.log()], service.process.log()
        assert not [pid for pid in pids if is_alive(pid)]
        assert [line for line in service.log_lines() if "Listening on" in line] == [
            line for line in service.log_lines() if line.endswith(f"Listening on {service.url}, with 2 workers")
        ]


async def test_death_of_a_worker_loses_nothing(
    own_restate_server: RestateServer, start_service: StartService, server: str
) -> None:
    """kill -9 of one worker after the other while people talk: each message is answered once, and in order."""
    with LLMServer(BusyLLM(SEED, delay_s=0.2)) as llm:
        service = await start_service(
            OPENAI_BASE_URL=llm.url,
            TASK_DURATION_S="0.1",
            CONTEXT_TOKENS="200000",
            CONTEXT_SUMMARY_SHARE="0",
            LOG_LEVEL="WARNING",
            WORKERS="2",
            SERVER=server,
            RESTATE_ADMIN_URL=own_restate_server.admin_url,
        )
        await own_restate_server.register(service.url)
        people = [
            Person(own_restate_server.ingress_url, f"workers-{n}", MODES, random.Random(f"{SEED} {n}"), gap_s=2.0)
            for n in range(6)
        ]
        talking = asyncio.gather(*(person.talk(8) for person in people))
        killed: set[int] = set()
        while not talking.done():
            await asyncio.wait((talking,), timeout=1.5)
            victim = random.choice(workers_of(service) or [0])
            if victim and not talking.done():
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)
        await talking
        histories = await asyncio.gather(*(person.wait_for_answer(90) for person in people))

        for person, history in zip(people, histories, strict=True):
            check_chat(person, history, llm.requests)
        assert len(killed) >= 2, killed
        await eventually(lambda: len(workers_of(service)) == 2)
        assert not killed & set(workers_of(service))
        for pid in killed:
            assert any(f"Worker {pid} ended by SIGKILL" in line for line in service.log_lines()), service.process.log()


async def test_workers_that_cannot_start_are_given_up(tmp_path: Path) -> None:
    """Workers that end as soon as they are started end the service with a sentence, not in a loop without end."""
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nif 'worker' in sys.argv[1:2]: os._exit(1)\n")
    process = run_main(tmp_path, PORT=str(free_port()), WORKERS="2", PYTHONPATH=str(tmp_path))

    assert await process.exited(timeout_s=60) == 1
    assert "A worker ends with exit code 1 as soon as it is started; its last words are above." in process.log()
    assert "Traceback" not in process.log()
