"""Fixtures of every folder: a real restate-server, and the application as a subprocess."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from app.errors import UsageError
from app.hosting.stack import find_restate_server
from tests.support.missing import missing
from tests.support.restate_server import RestateServer
from tests.support.service import MAIN, Service


@pytest.fixture(scope="session")
def restate_binary() -> str:
    """The path of restate-server; without one the test is skipped on a laptop and fails in CI."""
    try:
        return find_restate_server(os.environ.get("RESTATE_SERVER"))
    except UsageError as error:
        missing(error.message)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def restate_server(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server for the whole run, once as it is and once where every wait is a replay; use a fresh key per test."""
    async with RestateServer(restate_binary, tmp_path_factory.mktemp("restate"), always_replay=request.param) as server:
        yield server


@pytest_asyncio.fixture
async def own_restate_server(restate_binary: str, tmp_path: Path) -> AsyncIterator[RestateServer]:
    """A server that the test may kill."""
    async with RestateServer(restate_binary, tmp_path) as server:
        yield server


@pytest.fixture(params=["hypercorn", "granian"])
def server(request: pytest.FixtureRequest) -> str:
    """What `SERVER` may be: a test that takes it holds for each."""
    name: str = request.param
    return name


StartService = Callable[..., Awaitable[Service]]


@pytest.fixture
def start_service(tmp_path: Path, request: pytest.FixtureRequest) -> StartService:
    """`await start_service(MODE="QUEUE")`: the application with these settings, ended with the test.

    With a file as its first argument that is run, in place of `app/main.py`.
    """

    async def start(main: Path = MAIN, /, **env: str) -> Service:
        service = Service(tmp_path, main, **env)
        request.addfinalizer(service.kill9)
        await service.start()
        return service

    return start
