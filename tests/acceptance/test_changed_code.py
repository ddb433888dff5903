"""The service is restarted with changed code, at the same address, while turns are open (DESIGN 4.5)."""

import asyncio
import shlex
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.hosting.stack import ROOT
from tests.support.chat import Chat, replies
from tests.support.eventually import eventually
from tests.support.llm_server import FOR_EVER, Call, LLMRequest, LLMServer, Plan, echo
from tests.support.process import Process, bare_environment, free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

ANSWERED_WITHIN_S = 20  # 2 s are usual; the rest is for busy machines
MODES = ["INTERRUPT", "ROLLBACK", "INCORPORATE", "STEER", "QUEUE"]
TOOL = "app/tools/execute_task.py"
LLM_CALL = ("app/turns/calls/attempts.py", 'step("LLM call"', 'step("another name"')
TOOL_STEP = (TOOL, 'step("execute_task"', 'step("another name"')
ENDS_EARLIER = (
    "app/agent_session.py",
    "        if not await self._begin():",
    "        return TurnStatus.FAILED\n        if False:",
)
DOCSTRING = (TOOL, "Carry out a task", "Do a task")

Edit = tuple[str, str, str]


class Deployment:
    """The application from a copy of its code that a test may edit."""

    def __init__(self, folder: Path, server: RestateServer, **env: str) -> None:
        shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
        self._code = folder
        self._server = server
        where = {"RESTATE_ADMIN_URL": server.admin_url, "RESTATE_INGRESS_URL": server.ingress_url}
        self.service = Service(folder, folder / "app" / "main.py", **where | env)

    async def start(self) -> None:
        await self.service.start()
        await self._server.register(self.service.url)

    async def replace(self, *edits: Edit) -> None:
        """Kill the service, change its code, and start it at the same address."""
        self.service.kill9()
        for file, before, after in edits:
            path = self._code / file
            source = path.read_text()
            assert before in source, f"{file} holds no {before!r}: change this test"
            path.write_text(source.replace(before, after))
        await self.start()


@pytest.fixture
def llm() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest.fixture
def http_server() -> str:
    return "hypercorn"


@pytest_asyncio.fixture
async def deployment(
    restate_server: RestateServer, llm: LLMServer, http_server: str, tmp_path: Path
) -> AsyncIterator[Deployment]:
    settings = {"OPENAI_BASE_URL": llm.url, "OPENAI_API_KEY": "test-key", "TASK_DURATION_S": "3"}
    deployment = Deployment(tmp_path, restate_server, SERVER=http_server, **settings)
    try:
        await deployment.start()
        yield deployment
    finally:
        deployment.service.kill9()


@pytest_asyncio.fixture
async def chat(
    request: pytest.FixtureRequest,
    restate_server: RestateServer,
    llm: LLMServer,
    deployment: Deployment,  # noqa: ARG001 - must run
) -> AsyncIterator[Chat]:
    async with local_http() as http:
        yield Chat(restate_server, llm, http, f"changed-{abs(hash(request.node.name))}")


async def in_llm_call(chat: Chat) -> None:
    """Open a turn that has called a tool, has reported it, and waits for the LLM."""
    chat.script(Plan(calls=[Call()], finish_reason="tool_calls"), Plan(delay_s=FOR_EVER))
    await chat.say("first")
    await chat.asked(2)

    async def reported() -> bool:
        return len((await chat.turn(1))["items"]) == 3

    await eventually(reported)


async def in_tool(chat: Chat) -> None:
    """Open a turn that waits for a tool."""
    chat.script(Plan(calls=[Call()], finish_reason="tool_calls"))
    await chat.say("first")
    await chat.tools_started(1)


def held(request: LLMRequest) -> Plan:
    """Hold the LLM call, or the tool, of each turn that "next" has not reached."""
    if "next" in str(request.user_texts) or request.iterations:
        return echo(request)
    if "tool" in str(request.user_texts):
        return Plan(calls=[Call()], finish_reason="tool_calls")
    return Plan(delay_s=FOR_EVER)


async def test_next_message_is_answered(chat: Chat, llm: LLMServer, deployment: Deployment) -> None:
    """After a restart with code that the journals of open turns do not fit, the next message of any mode is answered
    within seconds."""
    llm.script = held
    async with local_http() as http:
        chats = {
            (where, mode): Chat(chat.server, llm, http, f"{chat.key}-{where}-{mode}")
            for where in ("llm", "tool")
            for mode in MODES
        }
        for number, ((where, _), each) in enumerate(chats.items(), 1):  # each makes one request until the restart
            await each.say(f"first: {where}")
            await (each.tools_started(1) if where == "tool" else each.asked(number))
        await deployment.replace(LLM_CALL, TOOL_STEP)
        started = time.monotonic()

        async def is_answered(mode: str, each: Chat) -> None:
            await each.say("next", mode)
            lines = await each.idle(timeout_s=ANSWERED_WITHIN_S)
            assert [content[:5] for role, content, _ in lines if role == "user"] == ["first", "next"]
            assert lines[-1][::2] == ("assistant", "completed")

        await asyncio.gather(*(is_answered(mode, each) for (_, mode), each in chats.items()))
        assert time.monotonic() - started < ANSWERED_WITHIN_S


@pytest.mark.parametrize(
    ("edit", "http_server"),
    [(LLM_CALL, "hypercorn"), (ENDS_EARLIER, "hypercorn"), (LLM_CALL, "granian")],
    ids=["other-step", "ends-earlier", "granian"],
)
async def test_turn_fails_with_a_sentence(chat: Chat, deployment: Deployment, edit: Edit) -> None:
    """Without a message too, the open turn ends as failed: its work is kept, the chat says why, the log in one line."""
    await in_llm_call(chat)
    await deployment.replace(edit)

    async def closed() -> bool:
        turn = await chat.turn(1)
        assert turn["status"] == "failed", turn
        return True

    await eventually(closed, timeout_s=ANSWERED_WITHIN_S)
    lines = await chat.lines()
    assert [role for role, _, _ in lines] == ["user", "assistant", "tool", "system"]
    assert "code of the agent was changed" in lines[-1][1]
    log = deployment.service.log_lines()
    assert len([line for line in log if "does not fit the changed code" in line]) == 1
    assert not [line for line in log if "Traceback" in line or "Bug in" in line]


async def test_turn_that_fits_goes_on(chat: Chat, deployment: Deployment) -> None:
    """A turn goes on after a restart with changed code if its journal still fits."""
    await in_tool(chat)
    await deployment.replace(DOCSTRING)

    lines = await chat.idle(timeout_s=ANSWERED_WITHIN_S)
    assert [(role, status) for role, _, status in lines] == [
        ("user", "completed"),
        ("assistant", "completed"),
        ("tool", "completed"),
        ("assistant", "completed"),
    ]


@pytest.mark.parametrize("handler", ["stop", "forget"])
async def test_ways_out(chat: Chat, deployment: Deployment, handler: str) -> None:
    """`stop` and `forget` end a turn whose journal does not fit, and nothing of it goes on."""
    await in_llm_call(chat)
    await deployment.replace(LLM_CALL)

    await chat.call(handler)

    lines = await chat.idle(timeout_s=ANSWERED_WITHIN_S)
    assert lines == [] if handler == "forget" else lines[0][2] in ("interrupted", "failed")
    await chat.nothing_runs()


async def test_handler_of_the_chat_itself(chat: Chat, deployment: Deployment) -> None:
    """A handler of ChatService whose journal does not fit is ended too: it would hold the key of the chat."""
    read = "    session = await load_session(ctx)\n    put("
    await deployment.replace(
        ("app/chat.py", read, read.replace("put(", "await asyncio.sleep(60)\n    put(")),
        ("app/chat.py", "from collections.abc", "import asyncio\nfrom collections.abc"),
    )
    setting = asyncio.create_task(chat.post("set_mode", {"mode": "QUEUE"}))

    async def has_read_the_state() -> bool:
        ids = [row["id"] for row in await chat.invocations() if row["target"].endswith("set_mode")]
        return bool(ids) and await chat.journals_of(ids) >= 2

    await eventually(has_read_the_state)
    await deployment.replace(
        ("app/chat.py", "    session = await load_session(ctx)\n    await", "    await ctx.get('other')\n    await")
    )

    await chat.say("next")

    assert (await chat.idle(timeout_s=ANSWERED_WITHIN_S))[-1][::2] == ("assistant", "completed")
    assert not (await setting).is_success


async def test_says_what_to_do_without_the_admin_api(
    restate_server: RestateServer, llm: LLMServer, tmp_path: Path
) -> None:
    """A service that cannot reach the admin API says once how to end such a run, with a command that does it."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    (tmp_path / ".restate").symlink_to(ROOT / ".restate")  # what is installed, for the copy of the code
    deployment = Deployment(tmp_path, restate_server, OPENAI_BASE_URL=llm.url, RESTATE_ADMIN_URL=nowhere)
    try:
        await deployment.start()
        async with local_http() as http:
            chat = Chat(restate_server, llm, http, f"changed-{deployment.service.port}")
            llm.script = replies(Plan(delay_s=FOR_EVER))
            await chat.say("first")
            await chat.asked(1)
            invocation_id = await chat.running_invocation()
            await deployment.replace(LLM_CALL)

            def said() -> list[str]:
                return [line for line in deployment.service.log_lines() if "restate invocations kill" in line]

            await eventually(said)
            assert invocation_id in said()[0]
            assert nowhere in said()[0]
            advice = shlex.split(said()[0].partition("end it yourself: ")[2])
            command = Process(
                advice,
                env=bare_environment(RESTATE_ADMIN_URL=restate_server.admin_url),
                cwd=tmp_path,
                log=tmp_path / "advice.log",
            )
            command.start()
            assert await command.exited() == 0, command.log()
            await chat.say("next")
            await chat.idle(timeout_s=ANSWERED_WITHIN_S)
            assert len(said()) == 1
    finally:
        deployment.service.kill9()
