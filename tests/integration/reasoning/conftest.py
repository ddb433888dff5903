"""A restate-server and a scripted LLM for chats whose model thinks; each test has a service of its own."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.conftest import SETTINGS
from tests.support.chat import Chat
from tests.support.llm_server import LLMServer, echo
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service


@pytest.fixture(scope="package")
def thinking_llm() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def thinking_server(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server apart from that of the other tests, whose application has other settings."""
    async with RestateServer(restate_binary, tmp_path_factory.mktemp("thinks"), always_replay=request.param) as server:
        yield server


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    """What `OPENAI_API` may be: a test that takes it holds for each."""
    name: str = request.param
    return name


@pytest_asyncio.fixture
async def thinker(
    thinking_server: RestateServer, thinking_llm: LLMServer, api: str, tmp_path: Path
) -> AsyncIterator[Chat]:
    """A fresh chat of a fresh service, which has learnt nothing of its LLM server yet."""
    env = SETTINGS | thinking_server.settings | {"OPENAI_BASE_URL": thinking_llm.url, "OPENAI_API": api}
    thinking_llm.script = echo
    thinking_llm.faults.clear()
    async with thinking_server.serving(Service(tmp_path, **env)), local_http() as http:
        chat = Chat(thinking_server, thinking_llm, http, f"thinks-{uuid.uuid4().hex[:12]}")
        yield chat
        await chat.close()
