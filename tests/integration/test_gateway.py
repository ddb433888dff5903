"""The gateway against a real Restate server: chats, replies, lists, repeats, and what it leaves in journals."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from app.hosting.stack import ROOT
from app.web.listing import _runs_of
from tests.integration.conftest import SETTINGS
from tests.support.eventually import eventually
from tests.support.gateway import ALICE, BOB, TOKENS, bearer
from tests.support.llm_server import Gate, LLMServer, Plan, echo
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service
from tests.support.streaming_main import WORDS


class Web:
    """A gateway as one of its users sees it. Keys of the tests begin with the user and a label of the test."""

    def __init__(self, url: str, service: Service, restate: RestateServer, llm: LLMServer) -> None:
        self.url = url
        self.service = service
        self.restate = restate
        self.llm = llm
        self.label = uuid.uuid4().hex[:8]

    def key(self, name: str = "", user: str = "alice") -> str:
        return f"{user}:{self.label}{name}"

    async def get(self, path: str, token: str = ALICE) -> httpx.Response:
        async with local_http() as http:
            return await http.get(f"{self.url}{path}", headers=bearer(token))

    async def post(self, path: str, token: str = ALICE, /, **body: Any) -> httpx.Response:
        async with local_http() as http:
            return await http.post(f"{self.url}{path}", json=body, headers=bearer(token))

    async def say(self, key: str, content: str, query: str = "", token: str = ALICE, **fields: Any) -> dict[str, Any]:
        """Send a message that is accepted; return the answer."""
        path = f"/chats/{quote(key, safe='')}/messages{query}"
        answer = await self.post(path, token, content=content, **fields)
        assert answer.is_success, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def running(
    request: pytest.FixtureRequest, restate_binary: str, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Web]:
    """A service with a gateway, on a server of its own: that of the other tests has its chats elsewhere."""
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    async with RestateServer(restate_binary, folder, always_replay=request.param) as restate:
        settings = SETTINGS | restate.settings | {"OPENAI_BASE_URL": llm_server.url}
        settings |= {"WEB_PORT": str(port), "WEB_TOKENS": TOKENS, "WEB_OPERATORS": "bob", "LOG_LEVEL": "DEBUG"}
        service = Service(folder, ROOT / "tests" / "support" / "streaming_main.py", **settings)
        async with restate.serving(service):
            yield Web(f"http://127.0.0.1:{port}", service, restate, llm_server)


@pytest_asyncio.fixture
async def web(running: Web, llm_server: LLMServer) -> Web:
    """The gateway, with a fresh label for the test and an LLM that echoes."""
    llm_server.script = echo
    return Web(running.url, running.service, running.restate, llm_server)


async def test_a_message_is_answered(web: Web) -> None:
    """With `?wait` the receipt comes with the reply; the history and the status show the same chat."""
    key = web.key("/é ü%")
    receipt = await web.say(key, "hello", "?wait=20")
    path = f"/chats/{quote(key, safe='')}"

    assert [entry["content"] for entry in receipt["reply"]] == ["answer to: hello"]
    assert receipt["decision"] == "started"
    entries = (await web.get(path)).json()["entries"]
    assert [entry["role"] for entry in entries] == ["user", "assistant"]
    assert (await web.get(f"{path}/status")).json()["busy"] is False
    assert (await web.post(f"{path}/forget")).json() == {}


async def test_who_waits_too_short_gets_no_reply(web: Web) -> None:
    """When the time is over the answer is the receipt with `"reply": null`, and the turn goes on."""
    gate = Gate()
    web.llm.script = lambda _request: Plan(text=["late"], gate=gate)
    key = web.key()

    receipt = await web.say(key, "hello", "?wait=1")

    assert receipt["reply"] is None
    status = (await web.get(f"/chats/{quote(key)}/status")).json()
    assert status["busy"] is True
    gate.open()

    async def answered() -> bool:
        return bool((await web.get(f"/chats/{quote(key)}")).json()["entries"][-1]["content"] == "late")

    await eventually(answered)


async def test_the_reply_is_that_of_the_turn_that_took_the_message(web: Web) -> None:
    """Who queues behind another turn, or interrupts one, gets the reply to their own message."""
    gate = Gate()
    web.llm.script = lambda request: Plan(text=["one"], gate=gate) if request.user_texts == ["first"] else echo(request)
    key = web.key()
    first = asyncio.create_task(web.say(key, "first", "?wait=30"))
    await eventually(lambda: bool(web.llm.requests) and web.llm.requests[-1].user_texts == ["first"])
    second = asyncio.create_task(web.say(key, "second", "?wait=30", mode="QUEUE"))

    async def queued() -> bool:
        return len((await web.get(f"/chats/{quote(key)}/status")).json()["open_turns"]) == 2

    await eventually(queued)
    gate.open()

    assert [entry["content"] for entry in (await first)["reply"]] == ["one"]
    reply = (await second)["reply"]
    assert [entry["content"] for entry in reply][-1].startswith("answer to: ")
    assert {entry["turn_id"] for entry in reply} == {2}


async def test_a_message_that_is_withdrawn_has_an_empty_reply(web: Web) -> None:
    """Who waits for a message that is taken back is answered."""
    gate = Gate()
    web.llm.script = lambda _request: Plan(text=["one"], gate=gate)
    key = web.key()
    await web.say(key, "first")
    waiting = asyncio.create_task(web.say(key, "second", "?wait=30", mode="QUEUE", message_id="m2"))

    async def withdrawn() -> bool:
        answer = await web.post(f"/chats/{quote(key)}/withdraw_queued_message", message_id="m2")
        return answer.is_success and bool(answer.json()["result"] == "applied")

    await eventually(withdrawn)
    gate.open()
    assert (await waiting)["reply"] == []


async def test_a_message_twice_is_one(web: Web) -> None:
    """The same message_id gives the same receipt; with another text it is the handler's 409."""
    key = web.key()
    one = await web.say(key, "hello", message_id="m1")
    assert await web.say(key, "hello", message_id="m1") == one
    other = await web.post(f"/chats/{quote(key)}/messages", content="else", message_id="m1")
    assert other.status_code == 409
    assert "was used for another text" in other.json()["error"]["message"]


async def test_errors_of_handlers_are_passed_on(web: Web) -> None:
    """Status and sentence are those of the handler."""
    path = f"/chats/{quote(web.key())}"
    too_long = await web.post(f"{path}/messages", content="x" * 1001)
    assert (too_long.status_code, "MAX_MESSAGE_CHARS" in too_long.json()["error"]["message"]) == (413, True)
    assert (await web.post(f"{path}/messages", wrong=1)).status_code == 400
    assert (await web.post(f"{path}/edit_queued_message", message_id="m", content="x")).status_code == 404


async def test_the_list_has_ones_own_chats(web: Web) -> None:
    """Each user sees their own chats with their titles, the newest first, and none of another's."""
    await web.say(web.key("-a"), "buy\n milk", "?wait=20")
    await web.say(web.key("-b"), "x" * 500, "?wait=20")
    await web.say(web.key("", "bob"), "secret of bob", "?wait=20", BOB)

    async def listed() -> bool:
        chats = (await web.get("/chats")).json()["chats"]
        mine = [chat for chat in chats if web.label in chat["key"]]
        assert [chat["key"] for chat in mine] == [web.key("-b"), web.key("-a")]
        assert mine[1] == {"key": web.key("-a"), "last_turn_id": 1, "busy": False, "title": "buy milk"}
        assert len(mine[0]["title"]) == 81
        assert all(chat["key"].startswith("alice") for chat in chats)
        return True

    await eventually(listed)
    assert len((await web.get("/chats?limit=1")).json()["chats"]) == 1


async def test_the_list_knows_when_restate_was_active(web: Web) -> None:
    """Restate's own times of a chat can be asked for: those of a turn that knows none."""
    await web.say(web.key(), "hello", "?wait=20")
    rows = await web.restate.query(_runs_of([web.key()]))
    assert [row["service_key"] for row in rows] == [web.key()]
    assert abs(float(rows[0]["ended_at"]) - time.time()) < 120


@pytest.mark.parametrize(
    "trick", ["' OR '1'='1", "'; DROP TABLE state; --", "') UNION SELECT 1,2 --", "%' OR 'a' LIKE '%"]
)
async def test_keys_are_never_sql(web: Web, trick: str) -> None:
    """A key that looks like SQL is a key: it is listed as it is, and shows nobody else's chats."""
    await web.say(web.key("", "bob"), "secret of bob", "?wait=20", BOB)
    await web.say(web.key(trick), "mine", "?wait=20")

    async def listed() -> bool:
        chats = (await web.get("/chats")).json()["chats"]
        assert all(chat["key"].startswith("alice") for chat in chats)
        return web.key(trick) in [chat["key"] for chat in chats]

    await eventually(listed)


async def test_a_foreign_chat_stays_as_it_is(web: Web) -> None:
    """What another user tries leaves a chat untouched, and tells nothing of it."""
    key = web.key()
    await web.say(key, "mine", "?wait=20")
    path = f"/chats/{quote(key)}"
    before = (await web.get(path)).json()

    for handler in ("messages", "stop", "forget", "set_mode", "withdraw_queued_message"):
        assert (await web.post(f"{path}/{handler}", BOB, content="x")).status_code == 403
    assert (await web.get(path, BOB)).text == (await web.get(f"/chats/{quote(web.key('none'))}", BOB)).text

    assert (await web.get(path)).json() == before


async def test_tokens_are_nowhere_in_restate(web: Web) -> None:
    """No token is in state, in journals, among invocations, or in the log of the server or the service."""
    key = web.key()
    await web.say(key, "hello", "?wait=20")
    await web.post(f"/chats/{quote(key)}/stop")
    await web.get("/agents", BOB)

    kept = [
        "SELECT * FROM state",
        "SELECT * FROM sys_invocation",
        "SELECT id, name, entry_json FROM sys_journal",
        "SELECT id, encode(raw, 'hex') AS raw FROM sys_journal",
        "SELECT * FROM sys_inbox",
    ]
    for sql in kept:
        text = str(await web.restate.query(sql))
        assert not is_in("token-0123456789", text)
        assert "sys_journal" not in sql or is_in("hello", text), "the search sees what was sent"
    for log in (web.restate.process.log(), web.service.process.log()):
        assert "token-0123456789" not in log


async def test_what_an_agent_streams_is_seen(web: Web) -> None:
    """A function's stream is seen while it runs, and the list has the agent with its result."""
    agent_id = f"speaker-{web.label}"
    events = f"{web.url}/agents/{agent_id}/events"
    async with local_http() as http, http.stream("GET", events, headers=bearer(BOB)) as stream:
        start = {"agent_name": "Speaker", "agent_id": agent_id}
        started = await http.post(f"{web.restate.ingress_url}/BackgroundAgents/schedule_agent", json=start)
        assert started.is_success, started.text
        pieces = []
        async with asyncio.timeout(20):
            async for line in stream.aiter_lines():
                pieces.append(line.removeprefix("data: "))
                if pieces[-1] == "[DONE]":
                    break
    said = [json.loads(piece)["choices"][0]["delta"]["content"] for piece in pieces if piece.startswith("{")]
    assert said == list(WORDS)

    async def ended() -> bool:
        listed = {each["agent_id"]: each for each in (await web.get("/agents", BOB)).json()["agents"]}
        found = listed[agent_id]
        return (found["status"], found["result"], found["events"]) == ("completed", "Hello there", 0)

    await eventually(ended)


async def test_only_operators_see_background_agents(web: Web) -> None:
    """Background agents are nobody's chats: they are shown to those whom WEB_OPERATORS names."""
    assert (await web.get("/agents")).status_code == 403
    answer = await web.get("/agents", BOB)
    assert answer.status_code == 200
    assert isinstance(answer.json()["agents"], list)


def is_in(word: str, text: str) -> bool:
    """Return whether a word is in what Restate shows, as text, or as bytes in the ways in which it shows them."""
    raw = word.encode()
    return any(written in text for written in (word, raw.hex(), ",".join(map(str, raw))))
