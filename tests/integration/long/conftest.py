"""The application with a small window and a tool whose results are long, on a server of its own."""

import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.turns.compaction.summary import INSTRUCTIONS, OPENING
from tests.integration.conftest import SETTINGS
from tests.support import reading_main
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, LLMRequest, LLMServer, Plan, echo
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

CONTEXT_TOKENS = 4000
SMALL = {
    "CONTEXT_TOKENS": str(CONTEXT_TOKENS),
    "CONTEXT_SUMMARY_SHARE": "0.5",
    "MAX_ITERATIONS": "40",
    "MAX_PENDING": "6",
    "LLM_ATTEMPTS": "1",
    "TOOL_CONCURRENCY": "8",
}


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def long_server(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server for the whole folder, once as it is and once where every wait is a replay."""
    folder = tmp_path_factory.mktemp("restate")
    async with RestateServer(restate_binary, folder, always_replay=request.param) as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def reading(
    long_server: RestateServer, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The application, registered at the server."""
    settings = SETTINGS | SMALL | long_server.settings | {"OPENAI_BASE_URL": llm_server.url}
    folder = tmp_path_factory.mktemp("service")
    async with long_server.serving(Service(folder, Path(reading_main.__file__), **settings)) as service:
        yield service


@pytest_asyncio.fixture
async def talk(long_server: RestateServer, reading: Service, llm_server: LLMServer) -> AsyncIterator["Talk"]:
    """A fresh chat of that application; what holds in every test is checked at the end."""
    llm_server.script = echo
    llm_server.faults.clear()
    async with local_http() as http:
        chat = Talk(long_server, llm_server, http, f"long-{uuid.uuid4().hex[:12]}")
        chat.service = reading
        chat.summing = notes
        chat.answering = answer
        chat.script_by(chat.plan)
        yield chat
        await chat.close()


def sums_up(request: LLMRequest) -> bool:
    """Return whether a request is for a summary."""
    return bool(request.messages[0]["content"] == INSTRUCTIONS)


def covered(request: LLMRequest) -> int:
    """Return the last turn that a request for a summary has."""
    return int(re.findall(r'^\{"turn": (\d+)', request.user_texts[-1], re.MULTILINE)[-1])


def notes(request: LLMRequest) -> Plan:
    """Answer a request for a summary with notes that name the last turn which it has."""
    return Plan(text=[f"notes up to turn {covered(request)}"])


def answer(request: LLMRequest) -> Plan:  # noqa: ARG001 - as scripts are
    return Plan(text=["answer ", "y" * 200])


def tokens(request: LLMRequest) -> int:
    """Estimate the tokens of the messages of a request, as the application does."""
    return sum(
        len(message["content"] or "") // 4 + sum(len(json.dumps(call)) for call in message.get("tool_calls", ())) // 4
        for message in request.messages[1:]
    )


def page(number: int, chars: int = 3000) -> Call:
    return Call("read", json.dumps({"page": number, "chars": chars}), f"call_{number}")


class Talk(Chat):
    """A chat with a small window. `summing` answers requests for summaries, `answering` all others."""

    service: Service
    summing: Callable[[LLMRequest], Plan]
    answering: Callable[[LLMRequest], Plan]

    def plan(self, request: LLMRequest) -> Plan:
        return self.summing(request) if sums_up(request) else self.answering(request)

    @property
    def asked_for_notes(self) -> list[LLMRequest]:
        return [request for request in self.requests if sums_up(request)]

    @property
    def asked_to_answer(self) -> list[LLMRequest]:
        return [request for request in self.requests if not sums_up(request)]

    async def talk(self, turns: int) -> None:
        """Say so many things, each when the one before is answered."""
        for _ in range(turns):
            receipt = await self.say(f"message {len(self.asked_to_answer) + 1} " + "x" * 150)
            await self.answered(receipt["turn_id"])

    async def answered(self, turn_id: int) -> None:
        """Wait until a turn has closed."""

        async def closed() -> bool:
            status = await self.status()
            return status["last_turn_id"] >= turn_id and not status["busy"]

        await eventually(closed, timeout_s=30)

    async def until_noted(self, count: int = 1) -> LLMRequest:
        """Talk until so many requests for summaries came; return the last of them."""

        def came() -> bool:
            return len(self.asked_for_notes) >= count

        for _ in range(60):
            if came():
                break
            await self.talk(1)
        await eventually(came)
        return self.asked_for_notes[count - 1]

    async def summary(self, up_to: int) -> dict[str, Any]:
        """Wait until the summary is of the turns up to this one, at least; return what the status says of it."""

        async def made() -> dict[str, Any]:
            summary: dict[str, Any] = (await self.status()).get("summary") or {}
            assert summary.get("up_to_turn", 0) >= up_to, summary
            return summary

        return await eventually(made, timeout_s=20)

    async def noted(self) -> dict[str, Any]:
        """Wait until no summary is being made; return what the status says of the one that stands."""

        async def rests() -> dict[str, Any]:
            summary: dict[str, Any] = (await self.status())["summary"]
            assert not summary["in_progress"], summary
            return summary

        return await eventually(rests)

    def seen_notes(self, request: LLMRequest) -> str | None:
        """Return the notes that the LLM sees first, None if it sees none."""
        first = request.messages[1]["content"]
        return first.split("\n")[1].removeprefix("> ") if first.startswith(OPENING) else None
