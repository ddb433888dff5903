"""Makes `tests/data/written_before.tar.xz`: `python -m tests.support.written_before CHECKOUT OUT`.

The data of a restate-server whose chats and agents were all in the middle of something when it was stopped, written by
the code of CHECKOUT. `tests/data/README.md` says when to make it again.
"""

import asyncio
import json
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx

from app.background import Restack, ScheduleIntervalSpec, ScheduleSpec, interval
from app.hosting.stack import ROOT, find_restate_server
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.installation import Installation, misfits
from tests.support.llm_server import FOR_EVER, Call, LLMRequest, LLMServer, Plan, echo
from tests.support.process import local_http
from tests.support.restate_server import RestateServer

ARCHIVE = ROOT / "tests" / "data" / "written_before.tar.xz"
ORIGIN = "origin.json"  # in the archive: by what it was written, and the ids that its reader needs

# An address of this machine where nothing else listens: until the server is told where the services are, it calls it.
HOST = "127.9.70.1"
DUE = timedelta(seconds=40)  # of what waits when the server is stopped; it is over when the archive is read
FAR = timedelta(days=36525)
TWO_CALLS = (Call(arguments='{"task": "second"}', call_id="b"), Call(arguments='{"task": "third"}', call_id="c"))
NO_NEED = ("LOG", "LOCK", "LOG.old.*", "*.sock")  # of what is in the folder of a database


def held(request: LLMRequest) -> Plan:
    """Bring the turns of the chat `finished` to their ends; leave those of the others in the middle."""
    match request.user_texts[-1]:
        case "finished: use tools" | "in-tools: first" if not request.iterations:
            return Plan(calls=[Call(arguments='{"task": "first"}', call_id="a")], finish_reason="tool_calls")
        case "finished: hello" | "finished: use tools" | "finished: wanted":
            return echo(request)
        case "finished: be refused":
            return Plan(status=400, error={"error": {"message": "no such model"}})
        case "interrupted: first":
            return Plan(text=["Half of", " an answer"], hang_after=1)
        case "waiting: first":
            return Plan(status=429, headers={"retry-after": str(DUE.seconds)}, error={"error": {"message": "busy"}})
        case _:
            return Plan(delay_s=FOR_EVER)


def held_in_tools(request: LLMRequest) -> Plan:
    """The same, but that the chat `in-tools` goes on to its second and third task."""
    if request.user_texts[-1].startswith("in-tools") and request.iterations == 1:
        return Plan(calls=TWO_CALLS, finish_reason="tool_calls")
    return held(request)


class ChatsLeftOpen:
    """What is done to the chats."""

    def __init__(self, installation: Installation, llm: LLMServer, http: httpx.AsyncClient) -> None:
        self._installation, self._llm, self._http = installation, llm, http

    def chat(self, key: str) -> Chat:
        return Chat(self._installation.server, self._llm, self._http, key)

    async def finish_turns(self) -> None:
        finished = self.chat("finished")
        await finished.say("finished: hello", message_id="finished-1")
        await finished.idle()
        await finished.say("finished: use tools", message_id="finished-2")
        await finished.idle()
        await finished.say("finished: unwanted", message_id="finished-3")
        await finished.asked(4)
        await finished.say("finished: wanted", "ROLLBACK", message_id="finished-4")
        await finished.idle()
        await finished.say("finished: be refused", message_id="finished-5")
        await finished.idle()
        await finished.call("set_mode", mode="QUEUE")

    async def open_turns(self) -> None:
        await self._open_with_tools()
        await self._open_with_waiting_messages()
        await self._open_after_an_interrupt()
        await self._open_between_two_attempts()

    async def write_while_away(self) -> None:
        """Send a message that nobody takes: the application is down."""
        body = {"content": "away: sent while nothing served", "message_id": "away-1"}
        url = f"{self._installation.server.ingress_url}/ChatService/away/process_user_message/send"
        assert (await self._http.post(url, json=body)).is_success

    async def _open_with_tools(self) -> None:
        chat = self.chat("in-tools")
        await chat.say("in-tools: first", message_id="in-tools-1")
        await chat.asked(2)
        # The first task took no time. The next ones never end.
        await self._installation.restart_chats(TASK_DURATION_S="3600")
        self._llm.script = held_in_tools
        await chat.tools_started(3)

    async def _open_with_waiting_messages(self) -> None:
        chat = self.chat("asking")
        await chat.say("asking: first", message_id="asking-1")
        await chat.asked(1)
        await chat.say("asking: also", "INCORPORATE", message_id="asking-2")
        await chat.say("asking: then", "QUEUE", message_id="asking-3")

    async def _open_after_an_interrupt(self) -> None:
        chat = self.chat("interrupted")
        await chat.say("interrupted: first", message_id="interrupted-1")
        await chat.streaming(1)
        await chat.say("interrupted: instead", "INTERRUPT", message_id="interrupted-2")
        await chat.asked(2)
        assert [status for _, _, status in await chat.lines()] == ["interrupted", "interrupted", "running"]

    async def _open_between_two_attempts(self) -> None:
        chat = self.chat("waiting")
        await chat.say("waiting: first", message_id="waiting-1")

        async def waits() -> bool:
            return "waiting_for" in (await chat.status())["open_turns"][0]

        await eventually(waits)


class AgentsLeftOpen:
    """What is done to the agents."""

    def __init__(self, client: Restack, installation: Installation) -> None:
        self._client, self._installation = client, installation

    async def write(self) -> str:
        """Bring each agent to where it is left; return the id of an event that waits for its answer."""
        await self._write_notebooks()
        await self._write_of_a_child()
        await self._client.schedule_agent("Sleeper", "due", DUE.total_seconds())
        await self._client.schedule_agent("Sleeper", "far", FAR.total_seconds())
        await self._client.schedule_agent("Walker", "walker", [])
        await self._tell("walker", "go", "there")
        await self._schedule()
        event_id = await self._client.start_agent_event("ponder", "pondering", event_input="deeply")

        async def in_second_run() -> bool:
            return (await self._client.describe_agent("walker")).run_number == 2

        await eventually(in_second_run)
        await eventually(lambda: "pondering: deeply, perhaps" in self._installation.actions.read_text())
        await self._installation.agents_wait("Notebook", "Sleeper", "Parent", "Walker")
        return event_id

    async def check(self) -> None:
        """Assert that nothing has come due meanwhile."""
        assert (await self._client.describe_schedule("soon")).started == 0, "too slow: raise DUE"
        assert (await self._client.describe_agent("due")).status == "running", "too slow: raise DUE"

    async def _write_notebooks(self) -> None:
        for agent_id in ("ended", "open", "pondering"):
            await self._client.schedule_agent("Notebook", agent_id, "title")
            await self._tell(agent_id, "add", "one")
        await self._tell("open", "add", "two")
        assert await self._client.get_agent_state("open", "written") == ["open: title", "open: one", "open: two"]
        await self._tell("ended", "close")
        await self._client.get_agent_result("ended")
        await self._client.schedule_agent("Alarm", "broken", "")

    async def _write_of_a_child(self) -> None:
        await self._client.schedule_agent("Parent", "parent", "child")

        async def born() -> bool:
            return "child" in (await self._client.describe_agent("parent")).children

        await eventually(born)
        await self._tell("child", "add", "one")

    async def _schedule(self) -> None:
        due = (datetime.now(UTC) + DUE).replace(microsecond=0)
        every_second = ScheduleIntervalSpec(timedelta(seconds=1))
        once = ScheduleSpec(intervals=(every_second,), start_at=due, end_at=due)
        await self._client.schedule_agent("Alarm", "soon", "rings", schedule=once)
        await self._client.schedule_agent("Alarm", "never", "rings", schedule=interval(FAR))

    async def _tell(self, agent_id: str, event: str, value: Any = None) -> None:
        await self._client.send_agent_event(event, agent_id, event_input=value, wait_for_completion=True)


async def write(folder: Path, checkout: Path) -> dict[str, str]:
    """Leave the data of a server in `folder`; return what its reader needs to know."""
    binary = find_restate_server(None)
    server = RestateServer(binary, folder)
    with LLMServer(held) as llm:
        settings = {"OPENAI_BASE_URL": llm.url, "OPENAI_API_KEY": "key", "LLM_TIMEOUT_S": "600"}
        durations = {"TASK_DURATION_S": "0", "PONDER_S": "3600"}
        installation = Installation(server, folder, checkout, host=HOST, **settings, **durations)
        try:
            await installation.start()
            await installation.register()
            async with local_http() as http, Restack(ingress_url=server.ingress_url) as client:
                chats, agents = ChatsLeftOpen(installation, llm, http), AgentsLeftOpen(client, installation)
                await chats.finish_turns()
                event_id = await agents.write()
                await chats.open_turns()
                await agents.check()
                await installation.stop_services()
                await chats.write_while_away()
            await server.stop()
            assert not misfits(installation.chats.process.log() + installation.agents.log())
        finally:
            installation.kill9()
    return {
        "commit": _output_of("git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"),
        "restate_server": _output_of(binary, "--version"),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "event_id": event_id,
    }


def pack(folder: Path, origin: dict[str, str], out: Path) -> None:
    """Write what a server needs of its data, the actions of the agents, and `origin` into one archive."""
    (folder / ORIGIN).write_text(json.dumps(origin, indent=1))

    def needed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        is_needed = member.isreg() or member.isdir()
        return member if is_needed and not any(fnmatch(Path(member.name).name, name) for name in NO_NEED) else None

    with tarfile.open(out, "w:xz", preset=9) as archive:
        for name in (ORIGIN, "actions.log", "data"):
            archive.add(folder / name, name, filter=needed)


def unpack(folder: Path) -> dict[str, str]:
    """Unpack the archive into `folder`; return its origin."""
    with tarfile.open(ARCHIVE) as archive:
        # As an attribute: the first 3.11 has no argument for it, and 3.12 warns without.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)  # noqa: S202 - an archive of our own
    origin: dict[str, str] = json.loads((folder / ORIGIN).read_text())
    return origin


def _output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main(checkout: str, out: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        origin = asyncio.run(write(folder, Path(checkout).resolve()))
        pack(folder, origin, Path(out))
    print(f"{out}: {Path(out).stat().st_size} bytes, {origin}")


if __name__ == "__main__":
    main(*sys.argv[1:])
