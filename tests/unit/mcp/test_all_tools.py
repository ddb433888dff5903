"""Our own tools and those of MCP servers, found by name."""

import json
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from app.errors import UsageError
from app.llm import Reply
from app.mcp.config import read_servers
from app.mcp.names import name_of
from app.mcp.servers import McpServers
from app.mcp.tools import AllTools, ForeignTool
from app.tools import TOOLS
from app.turns.transcript import AssistantItem, ToolCall, Usage


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


def reply(*calls: tuple[str, str]) -> Reply:
    made = tuple(ToolCall(call_id=f"c{n}", name=name, arguments=given) for n, (name, given) in enumerate(calls))
    return Reply(item=AssistantItem(tool_calls=made), usage=Usage(), started_at=0.0, ended_at=1.0)


def ruled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, approval: list[str], *calls: tuple[str, str]) -> Reply:
    """Return a reply as it is recorded where the file has these rules for the server `bad`."""
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"bad": {"command": "no-such", "approval": approval}}}))
    servers = McpServers(read_servers(path), start_s=0, timeout_s=1, max_result_chars=100)
    monkeypatch.setattr("app.mcp.tools.get_mcp", lambda: servers)
    return AllTools(TOOLS).ruled(reply(*calls))


def test_rules_go_with_the_reply(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Places of calls that a rule fits are recorded; other servers, our own tools and wrong arguments need nobody."""
    calls = [("bad__write_file", "{}"), ("bad__read", "{}"), ("other__write_file", "{}"), ("execute_task", "{}")]
    found = ruled(monkeypatch, tmp_path, ["write_*"], *calls, ("bad__write_it", "[]"), ("bad__write_it", '{"a": 1}'))
    assert found.to_approve == (0, 5)
    assert Reply.model_validate_json(found.model_dump_json()) == found


def test_what_may_be_another_name_is_asked_about(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tool that is not listed now, and is called by a name that may have been made of another, needs a person."""
    name = name_of("bad", "delete everything!")
    assert ruled(monkeypatch, tmp_path, ["delete *"], (name, "{}")).to_approve == (0,)
    assert ruled(monkeypatch, tmp_path, [], (name, "{}")).to_approve == ()


def test_without_rules_replies_are_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nobody must be asked the journal has no word of it, and earlier versions read it."""
    found = ruled(monkeypatch, tmp_path, [], ("bad__write_file", "{}"))
    assert "to_approve" not in found.model_dump(mode="json")
    assert Reply.model_validate(found.model_dump(mode="json")).to_approve == ()
