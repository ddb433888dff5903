"""Which tools the LLM is offered: our own, and those that settings add."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.agents import AGENTS
from app.background.declare import registry
from app.background.declare.definition import definition_of
from app.chat_agents.offered import Offered
from app.errors import NotFound, UsageError
from app.settings import get_settings
from app.tools import TOOLS, by_name
from app.tools.context import ToolContext
from app.tools.pay import pay
from app.tools.trip import TRIP_TOOLS

FOUR = {"start_agent", "send_agent_event", "ask_agent", "stop_agent"}


@pytest.fixture(autouse=True)
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CHAT_AGENTS", "EXAMPLE"):
        monkeypatch.delenv(name, raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_by_itself_nothing_is_added() -> None:
    """Without settings the LLM is offered what `app/tools/__init__.py` names: a call of any other is of no tool."""
    offered = Offered(TOOLS)
    assert dict(offered) == dict(TOOLS)
    assert offered.get("start_agent") is None
    assert offered.get("pay") is None


def test_the_example_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """EXAMPLE=trip adds its tools, and the LLM may not choose what to start."""
    monkeypatch.setenv("EXAMPLE", "trip")
    assert set(Offered(TOOLS)) == {*TOOLS, *(tool.name for tool in TRIP_TOOLS)}
    assert "start_agent" not in Offered(TOOLS)


def test_agents_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """CHAT_AGENTS adds four tools; the first says which agents there are, also of one that is served elsewhere."""
    for each in AGENTS:
        registry.add_agent(definition_of(each))
    monkeypatch.setenv("CHAT_AGENTS", "ChatReminder, Elsewhere")
    offered = Offered(TOOLS)
    assert set(offered) == {*TOOLS, *FOUR}
    about = offered["start_agent"].spec.description
    assert "- ChatReminder: Says one text at its time, in the chat that has started it." in about
    assert '"in_seconds"' in about
    assert "events: snooze" in about
    assert about.endswith("- Elsewhere")


def test_own_tools_win_and_none_is_there_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool of the user's is not replaced by one of the same name; both settings together are no error."""
    monkeypatch.setenv("EXAMPLE", "trip")
    monkeypatch.setenv("CHAT_AGENTS", "ChatReminder")
    own = by_name(pay)
    assert Offered(own)["pay"] is pay
    assert set(Offered(own)) >= FOUR


async def test_outside_of_a_chat_a_tool_has_no_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is called without a chat is told so."""
    monkeypatch.setenv("CHAT_AGENTS", "ChatReminder")
    with pytest.raises(UsageError, match="There is no chat here"):
        await Offered(TOOLS)["stop_agent"].call('{"agent_id": "a"}')


class FakeAgents:
    """The agents of a chat that notes what a tool asks of it, and knows no agent "gone"."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def start(self, call_id: str, name: str, given: object = None, *, chosen: bool = False) -> str:
        self.asked.append((call_id, name, given, chosen))
        return f"{name}-1"

    async def send(self, agent_id: str, event: str, given: object = None) -> int:
        if agent_id == "gone":
            raise NotFound("no such agent")
        self.asked.append((agent_id, event, given))
        return 4

    async def state(self, agent_id: str, name: str, given: object = None) -> Any:
        return {"of": agent_id, "name": name, "given": given}

    async def describe(self, agent_id: str) -> dict[str, Any]:
        return {"agent_id": agent_id}

    async def running(self) -> list[dict[str, Any]]:
        return []

    async def stop(self, agent_id: str) -> None:
        self.asked.append(agent_id)


@pytest.mark.parametrize(
    ("tool", "arguments", "says", "asked"),
    [
        (
            "start_agent",
            '{"agent": "P", "input": {"a": 1}}',
            "The agent has started. Its agent_id is P-1",
            ("c", "P", {"a": 1}, True),
        ),
        ("send_agent_event", '{"agent_id": "P-1", "event": "e"}', "Event 'e' was accepted as number 4", None),
        ("ask_agent", "{}", "[]", None),
        ("ask_agent", '{"agent_id": "P-1"}', '{"agent_id":"P-1"}', None),
        ("ask_agent", '{"agent_id": "P-1", "state": "s"}', '{"of":"P-1","name":"s","given":null}', None),
        ("stop_agent", '{"agent_id": "P-1"}', "The agent P-1 was asked to end", "P-1"),
        (
            "remind",
            '{"text": "x", "in_seconds": 2}',
            "The reminder is set; its agent_id is ChatReminder-1",
            ("c", "ChatReminder", {"text": "x", "in_seconds": 2.0}, False),
        ),
    ],
)
async def test_tools_ask_for_the_agents_of_their_chat(
    monkeypatch: pytest.MonkeyPatch, tool: str, arguments: str, says: str, asked: object
) -> None:
    """Each tool asks its chat, and says in words or JSON what came of it; only the LLM's choice is marked as chosen."""
    monkeypatch.setenv("EXAMPLE", "trip")
    monkeypatch.setenv("CHAT_AGENTS", "P")
    agents = FakeAgents()
    assert await Offered(TOOLS)[tool].call(arguments, ToolContext(call_id="c", chat_agents=agents)) == says
    assert asked is None or agents.asked == [asked]
