"""The code of today on what an earlier version left behind: its chats and agents, and all that it had begun.

`tests/data/README.md` says which version, and how to leave things behind with a later one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from app.background import AgentFailed, Restack
from app.engine.unfit import CODE_CHANGED
from app.hosting.stack import ROOT
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.installation import Installation, misfits
from tests.support.llm_server import LLMServer, check_well_formed
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.written_before import DUE, FAR, unpack

ENDS_WITHIN_S = DUE.total_seconds() + 20  # the wait that is left, if the archive has just been made

RECEIPTS = {
    "finished-1": (1, "started"),
    "finished-2": (2, "started"),
    "finished-3": (3, "started"),
    "finished-4": (4, "rolled_back"),
    "finished-5": (5, "started"),
    "in-tools-1": (1, "started"),
    "asking-1": (1, "started"),
    "asking-2": (1, "incorporated"),
    "asking-3": (2, "queued"),
    "interrupted-1": (1, "started"),
    "interrupted-2": (2, "interrupted"),
    "waiting-1": (1, "started"),
    "away-1": (1, "started"),
}
TEXTS = {
    "finished": ["hello", "use tools", "unwanted", "wanted", "be refused"],
    "in-tools": ["first"],
    "asking": ["first", "also", "then"],
    "interrupted": ["first", "instead"],
    "waiting": ["first"],
    "away": ["sent while nothing served"],
}
FINISHED = [
    ("user", "finished: hello", "completed"),
    ("assistant", "answer to: finished: hello", "completed"),
    ("user", "finished: use tools", "completed"),
    ("assistant", "Hello there.", "completed"),
    ("tool", "The task is done: first", "completed"),
    ("assistant", "answer to: finished: hello; finished: use tools", "completed"),
    ("user", "finished: unwanted", "rolled_back"),
    ("user", "finished: wanted", "completed"),
    ("assistant", "answer to: finished: hello; finished: use tools; finished: wanted", "completed"),
    ("user", "finished: be refused", "failed"),
    ("system", "The turn failed: The LLM server refused the request (400): no such model.", "failed"),
]
# Runs of that version have another doorbell: their journals do not fit.
CHANGED = ("system", CODE_CHANGED, "failed")
IN_TOOLS = [
    ("user", "in-tools: first", "failed"),
    ("assistant", "Hello there.", "failed"),
    ("tool", "The task is done: first", "failed"),
    CHANGED,
]
INTERRUPTED = [
    ("user", "interrupted: first", "interrupted"),
    ("assistant", "Half of", "interrupted"),
    ("user", "interrupted: instead", "failed"),
    CHANGED,
]
RESULTS = {
    "open": ["open: title", "open: one", "open: two", "open: three"],
    "pondering": ["pondering: title", "pondering: one", "pondering: deeply"],
    "parent": {"lines of the child": ["child: begun by a parent", "child: one", "child: two"]},
    "walker": ["there", "back"],
    "due": ["due: sleeps", "due: wakes"],
}


@pytest.fixture
def llm() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest.fixture
def origin(tmp_path: Path) -> dict[str, str]:
    """What an earlier version left behind, unpacked into the folder of the test."""
    return unpack(tmp_path)


@pytest_asyncio.fixture
async def installation(
    restate_binary: str,
    tmp_path: Path,
    origin: dict[str, str],  # noqa: ARG001 - must be there
    llm: LLMServer,
) -> AsyncIterator[Installation]:
    """The code of today, started on that; the LLM echoes, and what took for ever takes no time."""
    server = RestateServer(restate_binary, tmp_path)
    settings = {"OPENAI_BASE_URL": llm.url, "OPENAI_API_KEY": "key", "TASK_DURATION_S": "0", "PONDER_S": "0"}
    installation = Installation(server, tmp_path, ROOT, host="127.0.0.1", **settings)
    try:
        await installation.start()
        await installation.take_over()
        yield installation
    finally:
        installation.kill9()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with local_http() as http:
        yield http


@pytest_asyncio.fixture
async def client(installation: Installation) -> AsyncIterator[Restack]:
    async with Restack(ingress_url=installation.server.ingress_url) as client:
        yield client


@pytest.fixture
def chats(installation: Installation, llm: LLMServer, http: httpx.AsyncClient) -> dict[str, Chat]:
    return {key: Chat(installation.server, llm, http, key) for key in TEXTS}


# What is stored: it stays readable, whatever becomes of what had begun


async def test_chats_are_there(chats: dict[str, Chat]) -> None:
    """A chat that an earlier version stored is complete and in order, keeps its mode and its receipts, and goes on,
    whatever became of its open turns."""
    assert await chats["finished"].lines() == FINISHED
    assert (await chats["interrupted"].lines())[:2] == INTERRUPTED[:2]
    assert [line[:2] for line in (await chats["in-tools"].lines())[:3]] == [line[:2] for line in IN_TOOLS[:3]]
    assert (await chats["finished"].status())["mode"] == "QUEUE"
    for message_id, receipt in RECEIPTS.items():
        key, _, number = message_id.rpartition("-")
        again = await chats[key].say(f"{key}: {TEXTS[key][int(number) - 1]}", message_id=message_id)
        assert (again["message_id"], again["turn_id"], again["decision"]) == (message_id, *receipt)

    async def goes_on(key: str, chat: Chat) -> None:
        await chat.idle(timeout_s=ENDS_WITHIN_S)
        await chat.say(f"{key}: next")
        lines = await chat.idle()
        texts = [content for role, content, _ in lines if role == "user"]
        assert texts == [f"{key}: {text}" for text in (*TEXTS[key], "next")]
        assert lines[-1][::2] == ("assistant", "completed")

    await asyncio.gather(*(goes_on(key, chat) for key, chat in chats.items()))


async def test_agents_are_there(client: Restack) -> None:
    """What an earlier version stored of agents and schedules can be read: results, failures, families, times."""
    assert await client.get_agent_result("ended") == ["ended: title", "ended: one"]
    with pytest.raises(AgentFailed, match="nothing to ring with"):
        await client.get_agent_result("broken")
    described = {found.agent_id: found for found in await client.list_agents()}
    assert described.keys() >= {"ended", "broken", "open", "pondering", "due", "far", "parent", "child", "walker"}
    assert (described["ended"].status, described["broken"].status) == ("completed", "failed")
    assert (described["ended"].events, described["walker"].run_number >= 2) == (2, True)
    assert ((await client.describe_agent("child")).parent_id, described["child"].agent_name) == ("parent", "Notebook")
    never, soon = sorted(await client.list_schedules(), key=lambda schedule: schedule.schedule_id)
    assert (never.schedule_id, never.started, never.spec.intervals[0].every) == ("never", 0, FAR)
    assert (soon.schedule_id, soon.start.agent_name, soon.start.input) == ("soon", "Alarm", "rings")
    assert never.next_at is not None
    await client.purge_agent("ended")
    await client.delete_schedule("never")
    assert [schedule.schedule_id for schedule in await client.list_schedules()] == ["soon"]


# What had begun: its journals fit, and it goes on where it was


async def test_turns_end_with_a_sentence(chats: dict[str, Chat], llm: LLMServer) -> None:
    """A turn that runs when its version goes ends with a sentence and keeps what it had; what waited is answered."""
    for chat in chats.values():  # also what one version sends to itself later is taken by the next
        await chat.nothing_runs(timeout_s=ENDS_WITHIN_S)
    lines = {key: await chat.lines() for key, chat in chats.items()}

    assert lines["in-tools"] == IN_TOOLS
    assert lines["interrupted"] == INTERRUPTED
    assert lines["waiting"] == [("user", "waiting: first", "failed"), CHANGED]
    assert lines["asking"][0] == ("user", "asking: first", "failed")
    assert lines["asking"][1][0::2] == ("system", "failed")
    assert [line for line in lines["asking"] if line[0] == "user"][1:] == [
        ("user", "asking: also", "completed"),
        ("user", "asking: then", "completed"),
    ]
    assert lines["away"][-1][::2] == lines["asking"][-1][::2] == ("assistant", "completed")
    said = [text for request in llm.requests for text in request.user_texts[-1].split("\n\n")]
    assert {"asking: also", "asking: then", "away: sent while nothing served"} <= set(said)
    for key, chat in chats.items():
        await chat.say(f"{key}: now")
        assert (await chat.idle())[-1][::2] == ("assistant", "completed")
    for request in llm.requests:
        check_well_formed(request.messages)
    for chat in chats.values():
        await chat.close()


async def test_agents_go_on(installation: Installation, client: Restack, origin: dict[str, str]) -> None:
    """An agent that an earlier version began goes on with its events, queries, children, runs and times, and no step
    that had ended is taken again."""
    assert await client.get_agent_state("open", "written") == ["open: title", "open: one", "open: two"]
    assert await tell(client, "open", "add", "three") == 4
    assert await tell(client, "child", "add", "two") == 3
    assert await client.event_answer(origin["event_id"]) == 3
    await tell(client, "walker", "go", "back")
    await eventually_described(client, "walker", run_number=3)
    await client.cancel_agent("far")
    await eventually_described(client, "far", status="cancelled")
    for agent_id in ("open", "child", "pondering"):
        await tell(client, agent_id, "close")
    await tell(client, "walker", "arrive")

    results = {each: await client.get_agent_result(each) for each in ("open", "pondering", "parent", "walker", "due")}
    assert results == RESULTS

    async def rung() -> str | None:
        return (await client.describe_schedule("soon")).last_agent_id

    alarm = await eventually(rung, timeout_s=ENDS_WITHIN_S) or ""
    assert await client.get_agent_result(alarm) == f"{alarm}: rings"
    soon = await client.describe_schedule("soon")
    assert (soon.started, soon.missed, soon.next_at) == (1, 0, None)
    actions = Counter(installation.actions.read_text().splitlines())
    assert actions.pop("pondering: deeply, perhaps") == 2  # once before, and once more: it had not ended
    assert {f"{alarm}: rings", "far: cancelled", *results["open"], *results["due"]} <= actions.keys()
    assert [line for line, count in actions.items() if count > 1] == []
    assert misfits(installation.agents.log()) == []


async def tell(client: Restack, agent_id: str, event: str, value: str | None = None) -> object:
    """Send an event and return what its handler returns."""
    return await client.send_agent_event(event, agent_id, event_input=value, wait_for_completion=True)


async def eventually_described(client: Restack, agent_id: str, **fields: object) -> None:
    """Wait until the agent is described so."""

    async def is_so() -> bool:
        described = await client.describe_agent(agent_id)
        assert {name: getattr(described, name) for name in fields} == fields
        return True

    await eventually(is_so)
