"""What somebody sees who watches a chat while its turns run."""

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import pytest_asyncio

from app.turns.reading.history import LookRequest
from app.web.watch import IngressReads, RecordUnavailable
from tests.integration.conftest import SETTINGS
from tests.support.chat import Chat
from tests.support.llm_server import Call, Gate, LLMRequest, LLMServer, Plan
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service
from tests.support.watching import WATCHED_MAIN, Watching, delays, stamped, watching


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def application(
    restate_server: RestateServer, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The application, with a path for its watchers."""
    settings = SETTINGS | restate_server.settings | {"OPENAI_BASE_URL": llm_server.url}
    service = Service(tmp_path_factory.mktemp("watched"), WATCHED_MAIN, **settings)
    async with restate_server.serving(service) as service:
        yield service


@pytest_asyncio.fixture
async def watcher(chat: Chat, application: Service) -> AsyncIterator[Watching]:
    """Somebody who watches the chat from before its beginning."""
    async with watching(application.url, chat.key) as watcher:
        await watcher.until(lambda w: w.status)
        yield watcher


def messages(watcher: Watching, turn_id: int) -> list[str]:
    return [entry["message_id"] for entry in watcher.turns[turn_id]["entries"] if entry["role"] == "user"]


async def test_watching_leaves_no_trace(chat: Chat, watcher: Watching) -> None:
    """Who watches a chat that is not there sees nothing, creates nothing, and leaves nothing in the engine."""
    assert watcher.status["last_turn_id"] == 0
    assert watcher.turns == {}
    assert await chat.state() == {}
    assert await chat.kept_invocations() == {}


async def test_a_turn(chat: Chat, watcher: Watching) -> None:
    """A watcher sees the text grow, and that the model has read the message; then the turn with the whole text."""
    gate = Gate()
    chat.script(Plan(text=["Hello", " there", "."], gate=gate))
    receipt = await chat.say("first")
    await watcher.until(lambda w: w.open is not None)
    assert watcher.of("CallStarted")[0]["read"] == [receipt["message_id"]]
    assert watcher.of("CallStarted")[0]["text_id"]["index"] == 1
    gate.open()
    await watcher.idle(1)
    assert list(watcher.texts.values()) == ["Hello there."]
    assert watcher.answers(1) == ["Hello there."]
    kinds = [each.kind for each in watcher.seen]
    assert kinds.index("CallEnded") < max(n for n, kind in enumerate(kinds) if kind == "TurnSeen")


async def test_tokens_come_at_once(chat: Chat, watcher: Watching) -> None:
    """Text is at a watcher within 100 ms of the time at which the LLM server sends it, in the median."""
    chat.script(Plan(body=stamped(60), gap_s=0.02))
    await chat.say("first")
    await watcher.idle(1)
    assert len(delays(watcher)) > 30  # some may come together
    assert statistics.median(delays(watcher)) < 0.1


async def test_joining_in_the_middle(chat: Chat, application: Service) -> None:
    """Who joins in the middle of an answer gets all so far, and then the tail."""
    chat.script(Plan(text=[f"{n} " for n in range(80)], gap_s=0.02))
    await chat.say("first")
    await chat.streaming(1)
    whole = "".join(f"{n} " for n in range(80))
    async with asyncio.TaskGroup() as group:

        async def watch(delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            async with watching(application.url, chat.key) as watcher:
                await watcher.idle(1)
                assert list(watcher.texts.values()) == [whole]
                assert watcher.answers(1) == [whole]

        for n in range(8):
            group.create_task(watch(n * 0.1))


async def test_tools(chat: Chat, application: Service, watcher: Watching) -> None:
    """A watcher sees tools begin and end, with the text that asked for them; who joins meanwhile sees the same."""
    call = Call(arguments='{"task": "dig"}', call_id="c1")
    chat.script(Plan(text=["Let me see."], calls=[call], finish_reason="tool_calls"), Plan(text=["Done."]))
    await chat.say("first")
    await watcher.until(lambda w: w.of("ToolStarted"))
    async with watching(application.url, chat.key) as late:
        await late.until(lambda w: w.of("ToolStarted"))
        for each in (watcher, late):
            assert next(iter(each.texts.values())) == "Let me see."
            started = each.of("ToolStarted")[0]
            assert (started["call_id"], started["name"]) == ("c1", "execute_task")
            assert started["text_id"] == each.of("CallStarted")[0]["text_id"]
            await each.idle(1)
            ended = each.of("ToolEnded")
            assert [(e["call_id"], e["content"], e["outcome"]) for e in ended] == [
                ("c1", "The task is done: dig", "ok")
            ]
            assert len(each.of("ToolStarted")) == 1
            assert each.answers(1) == ["Let me see.", "Done."]


async def test_a_broken_attempt(chat: Chat, watcher: Watching) -> None:
    """Text of an attempt that broke ends; the next attempt begins anew, and nothing is there twice."""
    chat.script(Plan(text=["Half of"], break_after=1), Plan(text=["Half of", " it all."]))
    await chat.say("first")
    await watcher.idle(1)
    assert list(watcher.texts.values()) == ["Half of", "Half of it all."]
    assert len({which[:2] for which in watcher.texts}) == 1
    assert watcher.answers(1) == ["Half of it all."]
    assert len(watcher.of("CallStarted")) == 2


@pytest.mark.parametrize("mode", ["INTERRUPT", "ROLLBACK"])
async def test_interrupting(chat: Chat, watcher: Watching, mode: str) -> None:
    """An interrupted text ends, its turn is shown as interrupted, and the next turn begins."""
    chat.script(Plan(text=["Half", " of"], hang_after=2), Plan(text=["Other."]))
    await chat.say("first")
    await watcher.until(lambda w: w.running_text == "Half of")
    receipt = await chat.say("second", mode)
    await watcher.idle(2)
    status = {"INTERRUPT": "interrupted", "ROLLBACK": "rolled_back"}[mode]
    assert watcher.turns[1]["status"] == status
    assert watcher.answers(1) == ["Half of"]
    assert watcher.answers(2) == ["Other."]
    assert [event["read"] for event in watcher.of("CallStarted")][1] == [receipt["message_id"]]


@pytest.mark.parametrize("mode", ["STEER", "INCORPORATE"])
async def test_a_message_for_the_open_turn(chat: Chat, watcher: Watching, mode: str) -> None:
    """The message is seen to wait; when the model has it, it is read; the texts before and after are two."""
    gate = Gate()
    chat.script(
        Plan(text=["One."], gate=gate) if mode == "INCORPORATE" else Plan(text=["One."], gap_s=0.1, hang_after=1)
    )
    await chat.say("first")
    await watcher.until(lambda w: w.open is not None)
    if mode == "STEER":
        await watcher.until(lambda w: w.running_text == "One.")
    receipt = await chat.say("second", mode)
    if mode == "INCORPORATE":
        await watcher.until(lambda w: any(turn["waiting"] for turn in w.status["open_turns"]))
        gate.open()
    await watcher.idle(1)
    started = watcher.of("CallStarted")
    assert [event["read"] for event in started][-1] == [receipt["message_id"]]
    assert receipt["message_id"] in messages(watcher, 1)
    assert watcher.answers(1)[0] == "One."
    assert len(watcher.answers(1)) == 2


async def test_what_waits(chat: Chat, watcher: Watching, gate: Gate) -> None:
    """A queued message, its new text and its withdrawal are seen within a moment, without a poll of the watcher."""
    receipt = await chat.say("second", "QUEUE")

    def waiting(w: Watching) -> list[str]:
        return [m["content"] for turn in w.status["open_turns"] for m in turn["waiting"]]

    await watcher.until(lambda w: waiting(w) == ["second"])
    times = [time.monotonic()]
    for text in ("other", "third", "fourth"):
        await chat.call("edit_queued_message", message_id=receipt["message_id"], content=text)
        await watcher.until(lambda w, text=text: waiting(w) == [text])  # type: ignore[misc]
        times.append(time.monotonic())
    assert min(after - before for before, after in itertools.pairwise(times)) < 0.3
    await chat.call("withdraw_queued_message", message_id=receipt["message_id"])
    await watcher.until(lambda w: waiting(w) == [])
    gate.open()
    await watcher.until(lambda w: not w.status["busy"])


async def test_a_mode_of_its_own(chat: Chat, watcher: Watching) -> None:
    """A change of the chat's mode is seen."""
    await chat.call("set_mode", mode="QUEUE")
    await watcher.until(lambda w: w.status["mode"] == "QUEUE")


async def test_forgetting(chat: Chat, watcher: Watching, application: Service) -> None:
    """A chat that is forgotten in the middle of an answer is empty for who watches, and for who joins."""
    chat.script(Plan(text=["secret", " text"], gap_s=0.1, hang_after=2))
    await chat.say("first")
    await watcher.until(lambda w: w.running_text and w.status["last_turn_id"] == 1)
    await chat.call("forget")
    await watcher.until(lambda w: w.open is None and w.status["last_turn_id"] == 0)
    async with watching(application.url, chat.key) as late:
        await late.until(lambda w: w.status)
        assert [each.kind for each in late.seen] == ["StatusSeen"]


async def test_looks_leave_nothing(chat: Chat, watcher: Watching) -> None:
    """However long somebody watches, the engine keeps none of the looks."""
    await chat.say("first")
    await watcher.idle(1)
    await chat.nothing_runs()
    assert not [target for target in (await chat.kept_invocations()).values() if target.endswith("/look")]


@pytest.mark.parametrize("key", ["..", "a/b", "Grüße 👋", "%2F", " "])
async def test_chats_of_any_key_are_read(chat: Chat, key: str) -> None:
    """A view reads the very chat that is named, whatever its key."""
    async with local_http() as http:
        url = f"{chat.server.ingress_url}/ChatService/{quote(key, safe='').replace('.', '%2E')}"
        await http.post(f"{url}/set_mode", json={"mode": "QUEUE"})
        reads = IngressReads(chat.server.ingress_url)
        look = await reads.look(key, LookRequest())
        await http.post(f"{url}/forget")
        assert (look.status.mode, look.turns) == ("QUEUE", [])
        await reads.aclose()


async def test_a_chat_that_cannot_be_read(chat: Chat) -> None:
    """What the handler refuses, and a Restate that does not answer, are told in a sentence."""
    reads = IngressReads(chat.server.ingress_url)
    with pytest.raises(RecordUnavailable, match="The key has 300 characters"):
        await reads.look("k" * 300, LookRequest())
    await reads.aclose()
    away = IngressReads(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RecordUnavailable, match="Restate does not answer at http"):
        await away.look("key", LookRequest())
    await away.aclose()


async def test_a_chat_that_is_watched_heals(chat: Chat, watcher: Watching) -> None:
    """A turn whose run was killed from outside is closed for who watches, though nobody asks for anything."""
    chat.script(Plan(text=["Half"], gap_s=0.1, hang_after=1))
    await chat.say("first")
    await watcher.until(lambda w: w.running_text == "Half" and w.status["open_turns"])
    async with local_http() as http:
        run = await chat.running_invocation()
        await http.patch(f"{chat.server.admin_url}/invocations/{run}/kill")
    await watcher.idle(1, timeout_s=40)
    assert watcher.turns[1]["status"] == "failed"
    assert watcher.open is None


async def test_what_a_look_shows(chat: Chat) -> None:
    """A look has the open turns, and of those behind the given one the last closed ones; without one, the newest."""
    for n in range(1, 5):
        await chat.say(f"message {n}")
        await chat.idle()
    gate = Gate()
    chat.script(Plan(text=["late"], gate=gate))
    await chat.say("message 5")
    await chat.say("message 6", "QUEUE")

    async def shown(**request: int) -> list[int]:
        return [turn["turn_id"] for turn in (await chat.call("look", **request))["turns"]]

    assert await shown() == [4, 5, 6]
    assert await shown(after_turn=0) == [1, 2, 3, 4, 5, 6]
    assert await shown(after_turn=2) == [3, 4, 5, 6]
    assert await shown(after_turn=1, limit=2) == [3, 4, 5, 6]
    assert await shown(after_turn=4) == [5, 6]
    assert await shown(after_turn=99) == [5, 6]
    look = await chat.call("look", after_turn=2)
    assert look["status"] == await chat.status()
    assert [entry for turn in look["turns"] for entry in turn["entries"]] == [
        entry for entry in await chat.entries() if entry["turn_id"] > 2
    ]
    gate.open()
    await chat.idle()


MODES = ("INTERRUPT", "ROLLBACK", "STEER", "INCORPORATE", "QUEUE")


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_people_do(chat: Chat, application: Service, watcher: Watching, seed: int) -> None:
    """Messages of every mode, stops, held messages: no text comes twice, nothing goes back, the end is the record's."""
    rng = random.Random(seed)

    def answer(request: LLMRequest) -> Plan:
        words = [f"{request.index}-{n} " for n in range(rng.randint(1, 12))]
        if rng.random() < 0.3 and request.iterations < 3:
            call = Call(arguments='{"task": "dig"}', call_id=f"c{request.index}")
            return Plan(text=words, calls=[call], finish_reason="tool_calls", gap_s=0.01)
        return Plan(text=words, gap_s=0.02, break_after=rng.choice((None, None, None, 2)))

    chat.script_by(answer)
    async with watching(application.url, chat.key) as second:
        for n in range(25):
            if rng.random() < 0.15:
                await chat.call("stop", queue=rng.choice(("hold", "send", "withdraw")))
            elif rng.random() < 0.1:
                await chat.post("resume", {})
            else:
                await chat.post("process_user_message", {"content": f"message {n}", "mode": rng.choice(MODES)})
            await asyncio.sleep(rng.choice((0, 0.02, 0.1, 0.3)))  # as people do
        await chat.call("stop", queue="withdraw")
        await chat.idle()
        entries = await chat.entries()
        last = (await chat.status())["last_turn_id"]
        for each in (watcher, second):
            await each.idle(last)
            assert each.open is None
            for turn_id, turn in each.turns.items():
                shown = [entry for entry in entries if entry["turn_id"] == turn_id and not entry.get("held")]
                assert turn["entries"] == shown, turn_id
        assert set(watcher.turns) >= set(second.turns)
        assert {entry["turn_id"] for entry in entries if not entry.get("held")} <= set(watcher.turns)
