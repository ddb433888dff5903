"""The application with limits, on a server of its own; a minute of its LLM's limits is eight seconds."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.conftest import SETTINGS
from tests.support import limited_main
from tests.support.chat import Chat
from tests.support.llm_server import LLMServer, echo
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

REQUESTS_PER_MIN = 13
TURN_TOKENS = 40  # a call of the scripted LLM takes 15
DAY_TOKENS = 100
LIMITS = {
    "LLM_REQUESTS_PER_MIN": str(REQUESTS_PER_MIN),
    "LLM_ATTEMPTS": "1",  # a wait that counted as an attempt would fail the turn
    "MAX_TURN_TOKENS": str(TURN_TOKENS),
    "MAX_CHAT_TOKENS_PER_DAY": str(DAY_TOKENS),
    "TOOLS_IN_FLIGHT": "1",
    "TOOL_CONCURRENCY": "8",
    "MAX_ITERATIONS": "20",
}


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def limited_server(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server for the whole folder, once as it is and once where every wait is a replay."""
    folder = tmp_path_factory.mktemp("restate")
    async with RestateServer(restate_binary, folder, always_replay=request.param) as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def limited(
    limited_server: RestateServer, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator["Limited"]:
    """The application, registered at the server."""
    settings = SETTINGS | LIMITS | limited_server.settings | {"OPENAI_BASE_URL": llm_server.url}
    folder = tmp_path_factory.mktemp("service")
    async with limited_server.serving(Limited(folder, **settings)) as service:
        yield service


@pytest_asyncio.fixture
async def crowd(limited_server: RestateServer, limited: "Limited", llm_server: LLMServer) -> AsyncIterator["Crowd"]:
    """Fresh chats of that application; what holds in every test is checked at the end."""
    llm_server.script = echo
    llm_server.faults.clear()
    async with local_http() as http:
        label = uuid.uuid4().hex[:8]

        def chat(name: str) -> Chat:
            return Chat(limited_server, llm_server, http, f"{label}-{name}")

        crowd = Crowd(chat, limited)
        yield crowd
        for each in crowd.all:
            await each.close()


class Limited(Service):
    """The application with its ledger."""

    def __init__(self, folder: Path, /, **env: str) -> None:
        super().__init__(folder, Path(limited_main.__file__), **env)
        self._ledger = folder / "ledger"

    def ledger(self) -> list[str]:
        """Return what its tool has done, in order."""
        return self._ledger.read_text().splitlines() if self._ledger.exists() else []


class Crowd:
    """Chats of one application."""

    def __init__(self, chat: Callable[[str], Chat], service: Limited) -> None:
        self._chat = chat
        self.service = service
        self.all: list[Chat] = []

    def chats(self, count: int) -> list[Chat]:
        """Return chats that nothing was said in yet."""
        new = [self._chat(str(len(self.all) + number)) for number in range(count)]
        self.all += new
        return new

    async def spend_the_minute(self) -> None:
        """Make as many LLM calls as a minute may have, in other chats."""
        others = self.chats(REQUESTS_PER_MIN)
        await asyncio.gather(*(chat.say("hello") for chat in others))
        await others[0].asked(REQUESTS_PER_MIN, timeout_s=30)
