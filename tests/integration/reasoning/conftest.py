"""A restate-server, a scripted LLM, and a service for each API of it: chats whose model thinks."""

import uuid
from collections.abc import AsyncIterator, Iterator

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


@pytest.fixture(scope="package", params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    """What `OPENAI_API` may be: a test that takes it holds for each."""
    name: str = request.param
    return name


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def thinking(
    thinking_server: RestateServer, thinking_llm: LLMServer, api: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The application, registered at the server."""
    env = SETTINGS | thinking_server.settings | {"OPENAI_BASE_URL": thinking_llm.url, "OPENAI_API": api}
    async with thinking_server.serving(Service(tmp_path_factory.mktemp("service"), **env)) as service:
        yield service


@pytest_asyncio.fixture
async def thinker(
    thinking_server: RestateServer,
    thinking_llm: LLMServer,
    thinking: Service,  # noqa: ARG001 - must run
) -> AsyncIterator[Chat]:
    """A fresh chat of that application; what holds in every test is checked at the end."""
    thinking_llm.script = echo
    thinking_llm.faults.clear()
    async with local_http() as http:
        chat = Chat(thinking_server, thinking_llm, http, f"thinks-{uuid.uuid4().hex[:12]}")
        yield chat
        await chat.close()
