"""The application and the Probe service as subprocesses on the shared servers, and a fresh chat for every test."""

import sys
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from app.hosting.stack import ROOT
from tests.support.chat import Chat
from tests.support.llm_server import Gate, LLMServer, Plan, echo
from tests.support.probe import Probe
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

# Small enough that a test sees the end of each, large enough for a gate to be held in between on a busy machine.
MAX_REPLY_CHARS = 20_000
SETTINGS = {
    "OPENAI_API_KEY": "test-key",
    "TASK_DURATION_S": "0.5",
    "LLM_ATTEMPTS": "2",
    "LLM_TIMEOUT_S": "3",
    "MAX_ITERATIONS": "5",
    "MAX_PENDING": "6",
    "MAX_MESSAGE_CHARS": "1000",
    "MAX_REPLY_CHARS": str(MAX_REPLY_CHARS),
    "TOOL_CONCURRENCY": "2",
    "INSTRUCTIONS": "You are under test.",
}


@pytest.fixture(scope="session")
def llm_server() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def application(
    restate_server: RestateServer, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The application, registered at the server; the suite's second server decides itself when to suspend."""
    settings = SETTINGS | restate_server.settings | {"OPENAI_BASE_URL": llm_server.url}
    async with restate_server.serving(Service(tmp_path_factory.mktemp("service"), **settings)) as service:
        yield service


@pytest_asyncio.fixture
async def chat(restate_server: RestateServer, application: Service, llm_server: LLMServer) -> AsyncIterator[Chat]:
    """A fresh chat whose LLM echoes until told otherwise; what holds in every test is checked at the end."""
    await restate_server.keep_newest(application.url)
    llm_server.script = echo
    llm_server.faults.clear()
    async with local_http() as http:
        chat = Chat(restate_server, llm_server, http, f"test-{uuid.uuid4().hex[:12]}")
        yield chat
        await chat.close()


@pytest.fixture
async def gate(chat: Chat) -> Gate:
    """Turn 1 of the chat runs with the message "first"; its LLM call ends, with "answer 1", when this is opened."""
    gate = Gate()
    await chat.begin(Plan(text=["answer 1"], gate=gate))
    return gate


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def probe_service(
    restate_server: RestateServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Probe]:
    """The Probe service, registered at the server."""
    probe = Probe(restate_server, tmp_path_factory.mktemp("probe"), python=sys.executable, root=ROOT)
    async with restate_server.serving(probe):
        yield probe


@pytest_asyncio.fixture
async def probe(probe_service: Probe) -> Probe:
    """The Probe service, running, with a fresh label for the test."""
    await probe_service.renew()
    return probe_service
