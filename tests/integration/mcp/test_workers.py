"""MCP with `WORKERS=2`: each worker has servers of its own; the death of one loses no question, repeats no call."""

import asyncio
import os
import signal
import sys
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from tests.acceptance.test_workers import workers_of
from tests.integration.mcp.test_asking import VISA, decide, results, waits
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, LLMRequest, LLMServer, Plan
from tests.support.mcp_servers import all_gone, hostile, noted, settings_file, started
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at the processes in /proc")

CHATS = 6


def parent_of(pid: int) -> int:
    """Return the process id of the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def work(request: LLMRequest) -> Plan:
    """Have the tool called that the message names, once."""
    if any(message["role"] == "tool" for message in request.messages):
        return Plan(text=["Done."])
    return Plan(text=(), calls=[Call(f"bad__{request.messages[-1]['content']}", "{}", "c")], finish_reason="tool_calls")


async def test_workers_share_the_work(restate: RestateServer, llm: LLMServer, tmp_path: Path) -> None:
    """Questions that wait outlive kill -9 of a worker; a call that it was in the middle of is not repeated."""
    folder = tmp_path / "bad"
    settings = settings_file(tmp_path, bad=hostile(folder, "--modern"))
    own = {"OPENAI_BASE_URL": llm.url, "OPENAI_API_KEY": "k", "MCP_SERVERS": str(settings), "WORKERS": "2"}
    llm.script = work
    llm.faults.clear()
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(restate.serving(Service(tmp_path, **(restate.settings | own))))
        http = await stack.enter_async_context(local_http())
        chats = [Chat(restate, llm, http, f"workers-{n}-{uuid.uuid4().hex[:8]}") for n in range(CHATS)]
        await asyncio.gather(*(chat.say("ask") for chat in chats))
        asked = await asyncio.gather(*(waits(chat, timeout_s=60) for chat in chats))
        noting = [Chat(restate, llm, http, f"noting-{n}-{uuid.uuid4().hex[:8]}") for n in range(4)]
        await asyncio.gather(*(chat.say("note") for chat in noting))
        await eventually(lambda: noted(folder, "calls-note"))
        killed = parent_of(parent_of((await started(folder))[0]))  # of the server, and of what keeps it
        [other] = [pid for pid in workers_of(service) if pid != killed]

        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: killed not in workers_of(service) and len(workers_of(service)) == 2)
        (folder / "go").touch()
        await asyncio.gather(*(decide(chat, each[0], answer=VISA) for chat, each in zip(chats, asked, strict=True)))
        for chat in [*chats, *noting]:
            assert (await chat.idle(timeout_s=60))[-1] == ("assistant", "Done.", "completed")
        answered = [(await results(chat))[0] for chat in chats]
        # Where every wait is a replay a busy engine may repeat an attempt: the call that it was in is not repeated.
        lost = {"unknown"} if restate.always_replay else set()
        assert {outcome for outcome, _ in answered} - lost == {"ok"}
        assert all(content.startswith("round 1: ") for outcome, content in answered if outcome == "ok")
        outcomes = [(await results(chat))[0][0] for chat in noting]
        assert set(outcomes) <= {"ok", "unknown"}
        assert other in workers_of(service)
        assert outcomes.count("ok") <= len(noted(folder, "calls-note")) <= len(noting)  # none was made twice
        assert len(noted(folder, "asked")) <= 2 * CHATS
        for chat in [*chats, *noting]:
            await chat.close()
        pids = [int(pid) for pid in noted(folder, "pids")]
        assert await service.process.end(timeout_s=8) == 0
    await all_gone(pids)
