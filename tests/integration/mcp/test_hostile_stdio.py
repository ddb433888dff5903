"""Servers that are child processes and do what bad ones do: every end is a sentence for the LLM, and nobody is left."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from app.mcp import servers as servers_module
from app.mcp.answer import Reply
from app.mcp.servers import McpServers
from tests.support.eventually import eventually
from tests.support.mcp_server import DEEP, FORM
from tests.support.mcp_servers import all_gone, call, connected, hostile, noted, settings_file, started

ERAS = pytest.mark.parametrize("era", ["--handshake", "--modern"])


@pytest_asyncio.fixture(params=["--handshake", "--modern"])
async def servers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[McpServers]:
    """A hostile server `bad` of each era, whose calls time out after 2 s; its notes are in `tmp_path`."""
    path = settings_file(tmp_path, bad=hostile(tmp_path, request.param))
    async with connected(path, timeout_s=2) as servers:
        yield servers


async def test_tools_are_offered(servers: McpServers, caplog: pytest.LogCaptureFixture) -> None:
    """What fits is offered, sorted by name; what does not is left out, with its reason in the log."""
    names = [spec.name for spec in await servers.offered()]
    assert names == sorted(names)
    assert {"bad__echo", "bad__look"} <= set(names)
    assert not {"bad__deep", "bad__wide"} & set(names)
    (odd,) = [name for name in names if name.startswith("bad__with_spaces_and_more_")]
    assert (await call(servers, odd, text="hi")).content == "with spaces/and more says hi"
    assert [record.getMessage() for record in caplog.records if "left out" in record.getMessage()] == [
        "MCP server bad: a tool is left out: 'echo' is listed twice",
        "MCP server bad: a tool is left out: the schema of 'deep' is nested deeper than 24",
        "MCP server bad: a tool is left out: the schema of 'wide' has 100028 bytes, 32000 are allowed",
    ]


@pytest.mark.parametrize(
    ("tool", "sentence", "failed", "may_have_run"),
    [
        ("echo", "echo says hi", False, False),
        ("fail", "the disk is full", True, False),
        ("large", "[cut off: 1000000 characters]", False, False),
        ("huge", "bytes is larger than the 4194304 bytes that are allowed", True, True),
        ("garbage", "after the garbage", False, False),
        ("wrong", "answered what is no result of a tool. The call may have run", True, True),
        ("hang", "gave no answer within 2 s. The call may have run", True, True),
        ("die", "broke: it ended", True, True),
        ("surrogate", "\ufffd", False, False),
        ("nope", "There is no tool 'bad__nope'. The tools of bad are: bad__ask, bad__die", True, False),
    ],
)
async def test_every_end_of_a_call_is_defined(
    servers: McpServers, tool: str, sentence: str, failed: bool, may_have_run: bool
) -> None:
    """Whatever the server does with a call, the LLM gets a sentence, and the next call works."""
    answer = await call(servers, f"bad__{tool}", text="hi")
    assert sentence in answer.content
    assert (answer.failed, answer.may_have_run) == (failed, may_have_run)
    assert len(answer.content) <= 20_000
    assert (await call(servers, "bad__echo", text="again")).content == "echo says again"


async def test_input_is_asked_for(tmp_path: Path) -> None:
    """A server of 2026 that asks by a form is no failure: what it asks is told, and the call goes on with an answer."""
    async with connected(settings_file(tmp_path, bad=hostile(tmp_path, "--modern"))) as servers:
        answer = await call(servers, "bad__ask")
        assert answer.needed is not None
        [question] = answer.needed.questions
        assert (question.name, question.message, answer.needed.state) == ("card", "Which <b>card</b>?", "1")
        replies = {"card": {"action": "accept", "content": {"card": "visa"}}}
        reply = Reply(answers=replies, state=answer.needed.state)
        went_on = await servers.call("bad__ask", {}, again=False, progress=lambda _: None, reply=reply)
        assert json.loads(went_on.content.removeprefix("round 1: ")) == replies["card"]
        lost = await servers.call("bad__ask", {}, again=True, progress=lambda _: None, reply=reply)
        assert lost.may_have_run
    assert len(noted(tmp_path, "asked")) == 2
    assert json.loads(noted(tmp_path, "declared")[0]) == {"elicitation": {"form": {}}}


async def test_a_server_of_before_is_refused_input(tmp_path: Path) -> None:
    """A server of before asks on a connection that does not outlive a wait: it is told at once that it gets nothing."""
    async with connected(settings_file(tmp_path, bad=hostile(tmp_path))) as servers:
        answer = await call(servers, "bad__ask")
    assert answer.failed
    assert "Elicitation not supported" in answer.content


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"method": "sampling/createMessage", "form": {"messages": [], "maxTokens": 1}}, "sampling/createMessage"),
        ({"form": FORM | {"mode": "url", "url": "http://evil.example", "elicitationId": "1"}}, "open a page"),
        ({"form": FORM | {"requestedSchema": {"type": "object", "properties": {"a": {"type": "object"}}}}}, "plain"),
        (
            {
                "form": FORM
                | {
                    "requestedSchema": {
                        "type": "object",
                        "properties": {"a": {"type": "string", "title": "x" * 40_000}},
                    }
                }
            },
            "32000 are allowed",
        ),
        ({"form": FORM | {"requestedSchema": DEEP}}, "nested deeper"),
    ],
)
async def test_what_no_person_can_be_asked_is_refused(tmp_path: Path, arguments: dict[str, Any], why: str) -> None:
    """What is no form of plain fields is refused at once, with the reason, and the next call works."""
    async with connected(settings_file(tmp_path, bad=hostile(tmp_path, "--modern"))) as servers:
        answer = await call(servers, "bad__ask", **arguments)
        assert answer.failed
        assert answer.needed is None
        assert why in answer.content
        assert (await call(servers, "bad__echo", text="hi")).content == "echo says hi"


async def test_a_cancelled_call_is_cancelled_at_the_server(servers: McpServers, tmp_path: Path) -> None:
    """When a call is cancelled, as INTERRUPT does, the server is told at once; other calls go on."""
    await call(servers, "bad__echo")
    hanging = asyncio.create_task(call(servers, "bad__hang"))
    (request_id,) = await eventually(lambda: noted(tmp_path, "hanging"))
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert await eventually(lambda: noted(tmp_path, "cancelled")) == [request_id]
    assert (await call(servers, "bad__echo", text="hi")).content == "echo says hi"


async def test_calls_run_side_by_side(servers: McpServers) -> None:
    """A call that hangs holds up no other one."""
    hanging = asyncio.create_task(call(servers, "bad__hang"))
    for n in range(20):
        assert (await call(servers, "bad__echo", text=n)).content == f"echo says {n}"
    assert (await hanging).may_have_run


async def test_an_interrupted_call_is_not_repeated(servers: McpServers, tmp_path: Path) -> None:
    """A call that a crash cut off is made again only if its tool says that a repetition does no harm."""
    (tmp_path / "go").touch()
    lost = await call(servers, "bad__note", again=True)
    assert "restarted in the middle of this call. The call may have run" in lost.content
    assert lost.may_have_run
    assert (await call(servers, "bad__look", again=True)).content == "noted"
    assert noted(tmp_path, "calls") == ["look"]


async def test_a_changed_list_is_fetched_again(servers: McpServers) -> None:
    """When a server says that its list has changed, the LLM gets the new one; the old ones go on working."""
    before = {spec.name for spec in await servers.offered()}
    assert "bad__grown" not in before
    await call(servers, "bad__grow")

    async def grown() -> bool:
        return "bad__grown" in {spec.name for spec in await servers.offered()}

    assert await call(servers, "bad__grown", text="hi")
    if "--handshake" in str(servers._servers["bad"].args):  # the modern one was never asked to tell of changes
        await eventually(grown)


async def test_a_dead_server_is_started_again(servers: McpServers, tmp_path: Path) -> None:
    """A server that was killed in the middle of a call is started again for the next one; its tools stay offered."""
    await servers.offered()
    hanging = asyncio.create_task(call(servers, "bad__hang"))
    await eventually(lambda: noted(tmp_path, "hanging"))
    (pid,) = await started(tmp_path)
    os.kill(pid, signal.SIGKILL)
    answer = await hanging
    assert answer.may_have_run
    assert "connection" in answer.content.lower()
    assert "bad__echo" in {spec.name for spec in await servers.offered()}
    assert (await call(servers, "bad__echo", text="hi")).content == "echo says hi"
    assert len(await started(tmp_path, 2)) == 2


@ERAS
async def test_secrets_stay_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, era: str
) -> None:
    """A secret that the server writes into its answer or its log is hidden in both."""
    caplog.set_level("DEBUG")
    monkeypatch.setenv("SECRET", 'se"same')
    path = settings_file(tmp_path, bad=hostile(tmp_path, era, env={"TOKEN": "${SECRET}"}))
    async with connected(path) as servers:
        answer = await call(servers, "bad__env")
        await eventually(lambda: "the token is •••" in caplog.text)
    assert '"TOKEN": "•••"' in answer.content
    assert "same" not in answer.content.replace("handshake", "")
    assert "same" not in caplog.text


@pytest.mark.parametrize("option", ["--deaf", "--refuse", "--endless", "--lie"])
async def test_a_server_that_never_connects(tmp_path: Path, option: str, caplog: pytest.LogCaptureFixture) -> None:
    """A server that does not answer, ends, or writes without end costs an LLM call its wait once, and nothing else."""
    fine = hostile(tmp_path / "fine")
    path = settings_file(tmp_path, bad=hostile(tmp_path / "bad", option), fine=fine)
    async with connected(path, timeout_s=0.5) as servers:
        servers._start_s = 0.3
        names = [spec.name for spec in await servers.offered()]
        assert not [name for name in names if name.startswith("bad")]
        await eventually(lambda: noted(tmp_path / "bad", "pids"))
        began = time.monotonic()
        await servers.offered()
        assert time.monotonic() - began < 0.2

        answer = await call(servers, "bad__echo")
        assert answer.failed
        assert not answer.may_have_run
        if option == "--refuse":
            assert "its last words: no license" in caplog.text + answer.content
        assert (await call(servers, "fine__echo", text="hi")).content == "echo says hi"
        pids = await started(tmp_path / "bad")
    await all_gone(pids)


async def test_attempts_at_a_dead_server_get_rarer(tmp_path: Path) -> None:
    """A server that ends at once is started again at once, then after growing waits; the LLM is told meanwhile."""
    path = settings_file(tmp_path, bad=hostile(tmp_path, "--refuse"))
    async with connected(path, timeout_s=5) as servers:
        told = [(await call(servers, "bad__echo")).content for _ in range(10)]
    assert len(noted(tmp_path, "pids")) <= 3
    assert "it is tried again in " in told[-1]
    assert "Nothing was called." in told[-1]


async def test_a_missing_command_is_named(tmp_path: Path) -> None:
    """A command that is not there is a sentence, and no process."""
    path = settings_file(tmp_path, bad={"command": "no-such-command"})
    async with connected(path) as servers:
        assert await servers.offered() == []
        assert "there is no command 'no-such-command'" in (await call(servers, "bad__echo")).content


async def test_an_unknown_server_is_named(tmp_path: Path) -> None:
    """A call for a server that the file does not name tells which there are."""
    async with connected(settings_file(tmp_path, bad=hostile(tmp_path))) as servers:
        assert (await call(servers, "other__echo")).content.endswith("The MCP servers are: bad.")
    assert noted(tmp_path, "pids") == []


async def test_stubborn_servers_end_with_us(tmp_path: Path) -> None:
    """A server that ignores SIGTERM and the end of its stdin, and the process it has started, end with the service."""
    path = settings_file(tmp_path, bad=hostile(tmp_path, "--stubborn"))
    async with connected(path) as servers:
        assert (await call(servers, "bad__echo", text="hi")).content == "echo says hi"
        pids = await started(tmp_path, 2)
        began = time.monotonic()
    assert time.monotonic() - began < servers_module.CLOSE_S + 0.5
    await all_gone(pids)


OWNER = """
import asyncio, sys
from pathlib import Path
from tests.support.mcp_servers import call, connected

async def main():
    async with connected(Path(sys.argv[1])) as servers:
        await call(servers, "bad__echo")
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_no_orphans_after_kill_9(tmp_path: Path) -> None:
    """After kill -9 of the service its servers end too, the stubborn ones and what they have started included."""
    path = settings_file(tmp_path, bad=hostile(tmp_path, "--stubborn"))
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, str(path), cwd=Path.cwd())
    try:
        pids = await started(tmp_path, 2)
        await eventually(lambda: noted(tmp_path, "calls"))
    finally:
        owner.kill()
        await owner.wait()
    await all_gone(pids)
