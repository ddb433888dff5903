"""Our own tools and those of MCP servers, found by name."""

import pytest

from app.errors import UsageError
from app.mcp.tools import AllTools, ForeignTool
from app.tools import TOOLS


def test_every_possible_name_is_a_tool() -> None:
    """A name that a tool of a server can have is a tool, whatever is connected; no other unknown name is one."""
    tools = AllTools(TOOLS)
    assert tools.get("execute_task") is TOOLS["execute_task"]
    assert isinstance(tools.get("server__any-tool"), ForeignTool)
    assert tools["server__any-tool"].name == "server__any-tool"
    assert [tools.get(name) for name in ("nope", "__x", "a__", "a__b c", "ä__b")] == [None] * 5


def test_only_our_own_are_counted() -> None:
    """The sentence for an unknown tool names our own: those of servers may differ in a replay."""
    assert list(AllTools(TOOLS)) == list(TOOLS)
    assert len(AllTools(TOOLS)) == len(TOOLS)


async def test_without_servers_our_own_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file names servers, the LLM is told of our own tools."""
    monkeypatch.delenv("MCP_SERVERS", raising=False)
    assert await AllTools(TOOLS).specs() == [tool.spec for tool in TOOLS.values()]


@pytest.mark.parametrize("arguments", ["{", "[]", '"text"', '{"a": NaN}', "{" * 100_000, '{"a": "\\ud800"}'])
async def test_arguments_must_be_an_object(arguments: str) -> None:
    """What is no JSON object is told to the LLM, shortened, and nothing is called."""
    with pytest.raises(UsageError) as refused:
        await AllTools({})["server__tool"].call(arguments)
    assert refused.value.message.startswith("Wrong arguments for server__tool")
    assert refused.value.message.endswith("send a JSON object.")
    assert len(refused.value.message) < 500
