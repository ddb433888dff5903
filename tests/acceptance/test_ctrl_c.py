"""Ctrl-C at any moment, once or more: the end within seconds, and never a traceback."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.test_main import ready, require_nothing_listens, run_main, say, stack
from tests.conftest import StartService
from tests.support.eventually import eventually
from tests.support.process import Process
from tests.support.restate_server import RestateServer
from tests.support.service import Service

__all__ = ["stack"]

ROUNDS = int(os.environ.get("CTRL_C_ROUNDS", "1"))  # of each kind; for hours of it set more
_NOISE = ("Traceback", "Exception", "never awaited", " ERROR:")


async def press(process: Process, *, times: int) -> None:
    """Press Ctrl-C, `times` in a row; the process ends, and its log has nothing that looks like a bug."""
    for _ in range(times):
        if process.exit_code is None:
            os.kill(process.pid, signal.SIGINT)
        await asyncio.sleep(random.uniform(0, 0.3))
    exit_code = await process.exited(timeout_s=20)
    assert exit_code in (0, -signal.SIGINT), process.log()
    assert not [noise for noise in _NOISE if noise in process.log()], process.log()


@pytest.mark.parametrize("times", [1, 3])
async def test_while_the_stack_starts(tmp_path: Path, stack: dict[str, str], times: int) -> None:
    """In the first seconds of `up`: imports, the server's start, the registration."""
    for _ in range(ROUNDS):
        process = run_main(tmp_path, "up", **stack)
        await asyncio.sleep(random.uniform(0.3, 4))  # the moment is what is tested; before, Python itself starts
        await press(process, times=times)
        require_nothing_listens(stack)


@pytest.mark.parametrize("times", [1, 3])
async def test_while_turns_are_open(tmp_path: Path, stack: dict[str, str], server: str, times: int) -> None:
    """In the middle of turns that are interrupted and begun."""
    for _ in range(ROUNDS):
        process = run_main(tmp_path, "up", **stack, OFFLINE_PACE_S="0.1", SERVER=server)
        await ready(process)
        for _ in range(random.randrange(8)):
            await say(stack["RESTATE_INGRESS_URL"], "do something")
        await press(process, times=times)
        require_nothing_listens(stack)


async def test_while_the_service_starts(tmp_path: Path, stack: dict[str, str], server: str) -> None:
    """In the first second of the service alone."""
    for _ in range(4 * ROUNDS):
        process = run_main(tmp_path, **stack, SERVER=server)
        await asyncio.sleep(random.uniform(0.3, 2))
        await press(process, times=1)


async def test_while_the_server_calls(
    start_service: StartService, own_restate_server: RestateServer, server: str
) -> None:
    """With a server that goes on calling while the service ends, and finds it again when it is back."""
    service = await start_service(OFFLINE_PACE_S="0.1", SERVER=server)
    await own_restate_server.register(service.url)
    for _ in range(ROUNDS):
        await say(own_restate_server.ingress_url, "do something")
        await eventually(writes_more_than(service, len(service.log_lines())), timeout_s=30)
        await asyncio.sleep(random.uniform(0, 0.5))
        await press(service.process, times=2)
        await service.start()


def writes_more_than(service: Service, lines: int) -> Callable[[], bool]:
    return lambda: len(service.log_lines()) > lines
