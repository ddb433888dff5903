"""Turns that call tools of MCP servers, end to end: answered, interrupted, killed in the middle, replayed."""

import json
import uuid
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from tests.integration.mcp.conftest import Bench
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, Gate, LLMServer, Plan
from tests.support.mcp_servers import all_gone, hostile, noted, settings_file, started
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service


def calling(*tools: str) -> Plan:
    """A reply that calls these tools of the server `bad`."""
    calls = [Call(f"bad__{tool}", '{"text": "hi"}', f"call_{n}") for n, tool in enumerate(tools)]
    return Plan(text=(), calls=calls, finish_reason="tool_calls")


async def results(chat: Chat) -> list[tuple[str, str]]:
    return [(entry["outcome"], entry["content"]) for entry in await chat.entries() if entry["role"] == "tool"]


async def test_a_turn_calls_tools_of_a_server(bench: Bench) -> None:
    """The LLM is offered the server's tools with their schemas, calls them side by side, and sees what they gave."""
    bench.chat.script(calling("echo", "fail", "nope"), Plan(text=["Done."]))
    await bench.chat.say("work")
    assert (await bench.chat.idle())[-1] == ("assistant", "Done.", "completed")

    request, after = bench.chat.requests
    assert request.tool_names[0] == "execute_task"
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in request.body["tools"]}
    assert schemas["bad__echo"] == {"type": "object", "properties": {"text": {"type": "string"}}}
    (ok, echoed), (failed, disk), (unknown, nope) = await results(bench.chat)
    assert (ok, echoed) == ("ok", "echo says hi")
    assert (failed, disk) == ("failed", "the disk is full")
    assert (unknown, nope[:31]) == ("failed", "There is no tool 'bad__nope'. T")
    assert [message["content"] for message in after.messages if message["role"] == "tool"] == [echoed, disk, nope]
    assert sorted(noted(bench.folder, "calls")) == ["echo", "fail"]


async def test_calls_that_wait_for_others_are_made_once(bench: Bench) -> None:
    """Calls beyond the limit of one iteration, and those of later ones, are no repetitions, whatever is replayed."""
    bench.chat.script(calling(*["echo"] * 5), calling("echo", "echo", "echo"), Plan(text=["Done."]))
    await bench.chat.say("work")
    assert (await bench.chat.idle())[-1] == ("assistant", "Done.", "completed")
    assert await results(bench.chat) == [("ok", "echo says hi")] * 8
    assert noted(bench.folder, "calls") == ["echo"] * 8


async def test_interrupt_ends_a_running_call(bench: Bench) -> None:
    """INTERRUPT ends a call at once, tells the server, and says in the transcript that it may have run."""
    await bench.chat.begin(calling("hang"), content="first")
    await eventually(lambda: noted(bench.folder, "hanging"))
    await bench.chat.say("second")  # which also ends a call whose turn nothing reaches while it runs
    await eventually(lambda: noted(bench.folder, "cancelled") == noted(bench.folder, "hanging"))
    assert (await bench.chat.idle())[-1][2] == "completed"
    ((outcome, said),) = await results(bench.chat)
    assert outcome == "unknown"
    assert "may have run" in said


async def test_a_message_that_steers_lets_a_call_end(bench: Bench) -> None:
    """STEER ends no call that runs: its result is kept, and the turn goes on with the message behind it."""
    await bench.chat.begin(calling("note"), Plan(text=["Done."]), content="first")
    await eventually(lambda: noted(bench.folder, "calls-note"))
    await bench.chat.say("this way", "STEER")
    assert noted(bench.folder, "cancelled") == []
    (bench.folder / "go").touch()
    lines = await bench.chat.idle()
    assert [role for role, _, _ in lines] == ["user", "assistant", "tool", "user", "assistant"]
    assert await results(bench.chat) == [("ok", "noted")]


async def test_kill_in_the_middle_of_a_call(bench: Bench) -> None:
    """After kill -9 of the service, a call is repeated only where that does no harm; the turn goes on by itself."""
    await bench.chat.begin(calling("note"), calling("look"), Plan(text=["Done."]))
    await eventually(lambda: noted(bench.folder, "calls-note"))
    await bench.service.restart()
    await eventually(lambda: noted(bench.folder, "calls-look"))
    await bench.service.restart()
    (bench.folder / "go").touch()
    assert (await bench.chat.idle())[-1] == ("assistant", "Done.", "completed")

    (note, lost), (look, repeated) = await results(bench.chat)
    assert note == "unknown"
    assert "restarted in the middle of this call. The call may have run" in lost
    assert (look, repeated) == ("ok", "noted")
    assert len(noted(bench.folder, "calls-note")) == 1
    assert len(noted(bench.folder, "calls-look")) == 2
    assert len(bench.chat.requests) == 3


async def test_a_replay_does_not_depend_on_the_servers(bench: Bench) -> None:
    """A turn whose calls are recorded goes on after a restart, also when its server is not in the file any more."""
    gate = Gate()
    await bench.chat.begin(calling("echo", "look"), Plan(text=["Done."], gate=gate))
    (bench.folder / "go").touch()
    await bench.chat.asked(2)
    bench.service.kill9()
    bench.settings.write_text('{"mcpServers": {}}')
    await bench.service.start()
    gate.open()
    assert (await bench.chat.idle())[-1][2] == "completed"
    assert await results(bench.chat) == [("ok", "echo says hi"), ("ok", "noted")]
    assert sorted(noted(bench.folder, "calls")) == ["echo", "look"]


async def test_servers_end_with_the_service(bench: Bench) -> None:
    """SIGTERM ends the servers of the service with it, within the 4 s that it has."""
    bench.chat.script(calling("echo"), Plan(text=["Done."]))
    await bench.chat.say("work")
    await bench.chat.idle()
    pids = await started(bench.folder)
    assert await bench.service.process.end(timeout_s=5) == 0
    await all_gone(pids, timeout_s=1)
    await bench.service.start()


async def test_the_offline_model_calls_a_tool_by_its_name(
    restate: RestateServer, tmp_path: Path, llm: LLMServer
) -> None:
    """A newcomer needs no LLM: a message that names a tool of a server, with its arguments, has it called."""
    settings = settings_file(tmp_path, my_files=hostile(tmp_path / "bad"))
    env = restate.settings | {"MCP_SERVERS": str(settings), "OFFLINE_PACE_S": "0"}
    async with restate.serving(Service(tmp_path, **env)), local_http() as http:
        chat = Chat(restate, llm, http, f"mcp-{uuid.uuid4().hex[:12]}")
        await chat.say('my_files__echo {"text": "hi"}')
        lines = await chat.idle()
        await chat.close()
    assert lines[-1][1].endswith("my_files__echo said: echo says hi")


async def test_a_wrong_file_keeps_the_service_from_starting(tmp_path: Path) -> None:
    """A file that cannot be used is refused at the start, with the place and the cure."""
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"bad": {"command": "x", "tool": ["y"]}}}))
    service = Service(tmp_path, MCP_SERVERS=str(path))
    service.process.start()
    assert await service.process.exited() == 1
    assert "mcpServers.bad.tool: Extra inputs are not permitted" in service.process.log()
