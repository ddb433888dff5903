"""First LLM calls with a head start: taken only by a run that asks for the same, and never left running."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace

import pytest

from app.llm import Reply
from app.settings import Settings
from app.turns.calls import head_start
from app.turns.calls.head_start import HeadStarts
from app.turns.compaction.view import Listener, View
from app.turns.memory import Memory, Remembered
from app.turns.protocol import Limits, MemoryRef, TurnStart
from app.turns.transcript import AssistantItem, Item, Usage, UserItem
from tests.support.eventually import eventually

LIMITS = Limits(max_iterations=1, tool_concurrency=1, max_tool_result_chars=1, llm_attempts=1)
KEY = "ellie"


class FakeLLM:
    """An LLM that says "one ", and "two" once `go` is set. `asked` are its calls, `aborted` those that were aborted."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.aborted = 0
        self.go = asyncio.Event()
        self.fails = False

    async def __call__(self, view: View, items: Sequence[Item], tell: Listener) -> Reply:
        self.asked.append([item.content for item in view.seen(items, budget_tokens=1000)])
        tell.thought("well, ")
        tell("one ")
        if self.fails:
            raise ConnectionError("no LLM here")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.aborted += 1
            return reply("one ")
        tell("two")
        return reply("one two")


class Heard:
    """What a listener was told, thoughts in brackets."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, text: str) -> None:
        self.said.append(text)

    def thought(self, text: str) -> None:
        self.said.append(f"({text})")


def reply(text: str) -> Reply:
    return Reply(item=AssistantItem(content=text), usage=Usage(), started_at=0, ended_at=0)


def start(turn_id: int = 1, text: str = "first", memory: MemoryRef | None = MemoryRef()) -> TurnStart:  # noqa: B008
    return TurnStart(turn_id=turn_id, limits=LIMITS, messages=(UserItem(message_id="m", content=text),), memory=memory)


def remembered(turn_id: int = 1, invocation_id: str = "inv_1", *, interrupted: bool = False) -> Memory:
    items = (UserItem(message_id="m", content="first"), AssistantItem(content="answer"))
    return Memory().with_turn(Remembered(turn_id=turn_id, items=items, interrupted=interrupted), invocation_id, LIMITS)


def items(*texts: str) -> tuple[Item, ...]:
    return tuple(UserItem(message_id="m", content=text) for text in texts)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings without the environment of who runs the tests."""
    monkeypatch.setattr(head_start, "get_settings", lambda: Settings(_env_file=None, head_starts=True, workers=1))


@pytest.fixture
async def llm() -> FakeLLM:
    return FakeLLM()


@pytest.fixture
async def starts(llm: FakeLLM) -> AsyncIterator[HeadStarts]:
    """Head starts whose calls are all ended with the test."""
    starts = HeadStarts()
    starts.serve(llm)
    yield starts
    starts.drop(KEY)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1, "a call was left running"


async def asked(llm: FakeLLM, count: int) -> None:
    await eventually(lambda: len(llm.asked) == count)


async def test_a_run_takes_the_call_that_has_begun(starts: HeadStarts, llm: FakeLLM) -> None:
    """The LLM is asked once, before the run begins, and the run hears all that it said, in order."""
    starts.expect(KEY, start())
    await asked(llm, 1)
    heard = Heard()
    call = asyncio.create_task(starts.reply(KEY, 1, View(), items("first"), heard, llm))
    await eventually(lambda: heard.said == ["(well, )", "one "])
    llm.go.set()
    assert (await call).item.content == "one two"
    assert (heard.said, llm.asked) == (["(well, )", "one ", "two"], [["first"]])


async def test_the_end_of_the_run_before_is_waited_for(starts: HeadStarts, llm: FakeLLM) -> None:
    """A run behind one that is interrupted begins with what that one remembers: its call begins as soon as it does."""
    starts.expect(KEY, start(2, "second", MemoryRef(last=1, invocation_id="inv_1")))
    await asyncio.sleep(0)
    assert llm.asked == []
    starts.remember(KEY, remembered(interrupted=True))
    await asked(llm, 1)
    assert llm.asked == [["first", "answer", "second"]]


async def test_a_turn_that_is_rolled_back_is_not_seen(starts: HeadStarts, llm: FakeLLM) -> None:
    """What the next run must leave out, its early call leaves out."""
    starts.remember(KEY, remembered(interrupted=True))
    starts.expect(KEY, start(2, "second", MemoryRef(last=1, invocation_id="inv_1", without=(1,))))
    await asked(llm, 1)
    assert llm.asked == [["second"]]


@pytest.mark.parametrize(
    "named",
    [
        MemoryRef(last=1, invocation_id="inv_of_another_run"),
        MemoryRef(last=1, invocation_id="inv_1", digest="of another memory"),
        MemoryRef(last=2, invocation_id="inv_1"),
        None,
    ],
)
async def test_no_call_begins_from_another_memory(starts: HeadStarts, llm: FakeLLM, named: MemoryRef | None) -> None:
    """Where it is not known what the run will find, it asks by itself."""
    starts.remember(KEY, remembered())
    starts.expect(KEY, start(3, "third", named))
    await asyncio.sleep(0.01)
    assert llm.asked == []
    llm.go.set()
    assert (await starts.reply(KEY, 3, View(), items("third"), Heard(), llm)).item.content == "one two"


async def test_a_run_that_asks_for_something_else_makes_its_own_call(
    starts: HeadStarts, llm: FakeLLM, caplog: pytest.LogCaptureFixture
) -> None:
    """What began ahead is aborted and said in the log; for a while nothing begins ahead."""
    caplog.set_level(logging.INFO)
    starts.expect(KEY, start())
    await asked(llm, 1)
    call = asyncio.create_task(starts.reply(KEY, 1, View(), items("first", "and more"), Heard(), llm))
    await asked(llm, 2)
    assert llm.aborted == 1
    llm.go.set()
    await call
    assert llm.asked == [["first"], ["first", "and more"]]
    assert "begun in vain" in caplog.text
    starts.expect(KEY, start(2))
    await asyncio.sleep(0.01)
    assert len(llm.asked) == 2


async def test_another_turn_takes_nothing(starts: HeadStarts, llm: FakeLLM) -> None:
    """A call belongs to its turn, whatever another one asks."""
    starts.expect(KEY, start(2))
    await asked(llm, 1)
    call = asyncio.create_task(starts.reply(KEY, 1, View(), items("first"), Heard(), llm))
    await asked(llm, 2)
    llm.go.set()
    await call


async def test_a_call_is_taken_once(starts: HeadStarts, llm: FakeLLM) -> None:
    """The second attempt of a run asks again."""
    llm.go.set()
    starts.expect(KEY, start())
    for _ in range(2):
        await starts.reply(KEY, 1, View(), items("first"), Heard(), llm)
    assert len(llm.asked) == 2


async def test_a_call_that_no_run_takes_ends(
    starts: HeadStarts, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that begins in another process costs one call, and then no more."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(head_start, "TAKEN_WITHIN_S", 0.01)
    starts.expect(KEY, start())
    await eventually(lambda: llm.aborted == 1)
    starts.expect("another chat", start())
    await asyncio.sleep(0.02)
    assert len(llm.asked) == 1
    assert "did not begin here within 0.01 s" in caplog.text


async def test_a_run_that_never_comes_and_has_no_call_is_no_reason_to_pause(
    starts: HeadStarts, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a call in vain costs anything."""
    monkeypatch.setattr(head_start, "TAKEN_WITHIN_S", 0.01)
    starts.expect(KEY, start(2, "second", MemoryRef(last=1, invocation_id="inv_1")))
    await asyncio.sleep(0.03)
    starts.remember(KEY, remembered())
    await asyncio.sleep(0.01)
    assert llm.asked == []
    starts.expect(KEY, start())
    await asked(llm, 1)


async def test_a_run_that_is_sent_again_has_the_newest_messages(starts: HeadStarts, llm: FakeLLM) -> None:
    """The call of a run that was replaced is aborted."""
    starts.expect(KEY, start(1, "old"))
    await asked(llm, 1)
    starts.expect(KEY, start(1, "new"))
    await asked(llm, 2)
    await eventually(lambda: llm.aborted == 1)
    assert llm.asked == [["old"], ["new"]]


async def test_forgetting_a_chat_ends_its_call(starts: HeadStarts, llm: FakeLLM) -> None:
    """What was remembered is gone as well."""
    starts.remember(KEY, remembered())
    starts.expect(KEY, start())
    await asked(llm, 1)
    starts.forget(KEY)
    await eventually(lambda: llm.aborted == 1)
    starts.expect(KEY, start(2, "second", MemoryRef(last=1, invocation_id="inv_1")))
    await asyncio.sleep(0.01)
    assert len(llm.asked) == 1


async def test_the_abort_of_a_run_reaches_its_call(starts: HeadStarts, llm: FakeLLM) -> None:
    """Who cancels the run's call gets what had arrived, as without a head start."""
    starts.expect(KEY, start())
    await asked(llm, 1)
    call = asyncio.create_task(starts.reply(KEY, 1, View(), items("first"), Heard(), llm))
    await asyncio.sleep(0)
    call.cancel()
    assert (await call).item.content == "one "
    assert llm.aborted == 1


async def test_a_failure_is_that_of_the_first_attempt(starts: HeadStarts, llm: FakeLLM) -> None:
    """A call that failed before the run began fails in the run, once."""
    llm.fails = True
    starts.expect(KEY, start())
    await asked(llm, 1)
    with pytest.raises(ConnectionError, match="no LLM here"):
        await starts.reply(KEY, 1, View(), items("first"), Heard(), llm)
    assert len(llm.asked) == 1


async def test_several_processes_give_no_head_start(
    starts: HeadStarts, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With WORKERS the run mostly begins in another process."""
    monkeypatch.setattr(head_start, "get_settings", lambda: Settings(_env_file=None, head_starts=True, workers=2))
    starts.expect(KEY, start())
    await asyncio.sleep(0.01)
    assert llm.asked == []


async def test_memories_are_kept_of_the_last_chats_only(
    starts: HeadStarts, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that serves many chats does not grow by them."""
    monkeypatch.setattr(head_start, "MAX_MEMORIES", 2)
    for key in ("a", "b", KEY):
        starts.remember(key, remembered())
    starts.expect("a", start(2, "second", MemoryRef(last=1, invocation_id="inv_1")))
    await asyncio.sleep(0.01)
    assert llm.asked == []
    starts.drop("a")


async def test_no_call_begins_while_others_wait_for_their_turn(
    starts: HeadStarts, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a limit makes calls wait there are no head starts; there are again when none waits."""
    limited = SimpleNamespace(makes_wait=True)
    settings = Settings(_env_file=None, head_starts=True, workers=1, llm_requests_per_min=1)
    monkeypatch.setattr(head_start, "get_settings", lambda: settings)
    monkeypatch.setattr(head_start, "get_llm", lambda: limited)

    starts.expect(KEY, start())
    await asyncio.sleep(0)
    assert llm.asked == []
    limited.makes_wait = False
    starts.expect(KEY, start())
    await eventually(lambda: llm.asked == [["first"]])
