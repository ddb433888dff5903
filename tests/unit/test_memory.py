"""The working memory of a chat: what fits, what is written, and what is not believed."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from restate import ObjectContext

from app.turns import memory as memory_module
from app.turns.compaction.fitting import estimate_tokens
from app.turns.compaction.summary import Summary
from app.turns.memory import MEMORY_KEY, SUMMARY_KEY, Memory, Remembered, load_memory, memory_of, save_memory
from app.turns.protocol import Context, Limits, MemoryRef
from app.turns.transcript import AssistantItem, Item, ToolCall, ToolItem, UserItem

BUDGET = 400  # tokens
LIMITS = Limits(
    max_iterations=1,
    tool_concurrency=1,
    max_tool_result_chars=1,
    llm_attempts=1,
    context_tokens=BUDGET,
    context_turns=10,
)
SUMMING = LIMITS.changed(summary_share=0.5)


class FakeState:
    """The state of an object: bytes by key. `written` counts the bytes that were set."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.written = 0

    async def get(self, key: str, **_: Any) -> bytes | None:
        return self.keys.get(key)

    def set(self, key: str, value: bytes, **_: Any) -> None:
        self.keys[key] = value
        self.written += len(value)

    def clear(self, key: str) -> None:
        del self.keys[key]

    @property
    def ctx(self) -> ObjectContext:
        return cast(ObjectContext, self)


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> FakeState:
    monkeypatch.setattr(memory_module, "wait_for", lambda read: read)  # no durable loop runs here
    return FakeState()


def items(turn_id: int, chars: int = 40) -> tuple[Item, ...]:
    return UserItem(message_id=f"m{turn_id}", content="x" * chars), AssistantItem(content=f"answer {turn_id}")


def turn(turn_id: int, chars: int = 40) -> Remembered:
    return Remembered(turn_id=turn_id, items=items(turn_id, chars), interrupted=True)


async def remember(state: FakeState, turn_id: int, chars: int = 40, without: tuple[int, ...] = ()) -> Memory:
    """Do what a run does: load, leave out, add a turn, save."""
    stored = await load_memory(state.ctx)
    known = stored.as_expected(MemoryRef(last=stored.ref.last or 1, without=without))
    memory = known.with_turn(turn(turn_id, chars), "inv_1", LIMITS)
    save_memory(state.ctx, memory, stored)
    return memory


async def test_nothing_is_remembered_at_first(state: FakeState) -> None:
    """Without a stored memory there is no history, and a chat that has nothing to remember wants no more."""
    memory = await load_memory(state.ctx)
    assert (memory.history(), memory.ref) == ((), MemoryRef())
    assert MemoryRef().is_met_by(memory.ref)
    assert not MemoryRef(last=1).is_met_by(memory.ref)


async def test_what_was_saved_is_loaded(state: FakeState) -> None:
    """Turns come back in their order, under the name that was reported before they were written."""
    for turn_id in (1, 2, 3):
        saved = await remember(state, turn_id)
    loaded = await load_memory(state.ctx)
    assert loaded.history() == tuple(items(n) for n in (1, 2, 3))
    assert loaded.ref == saved.ref
    assert MemoryRef(last=3, digest=saved.digest).is_met_by(loaded.ref)
    assert MemoryRef(last=3).is_met_by(loaded.ref)  # of a turn that was still stopping when its successor was sent


@pytest.mark.parametrize(
    "change",
    [
        lambda keys: keys.pop(MEMORY_KEY),
        lambda keys: keys.update({MEMORY_KEY: b"no JSON"}),
        lambda keys: keys.update({MEMORY_KEY: keys[MEMORY_KEY].replace(b'"version":1', b'"version":2')}),
        lambda keys: keys.update({MEMORY_KEY: keys[MEMORY_KEY].replace(b"answer", b"ANSWER")}),
        lambda keys: keys.update({f"{MEMORY_KEY}/1": keys[f"{MEMORY_KEY}/1"].replace(b"answer", b"ANSWER")}),
        lambda keys: keys.pop(f"{MEMORY_KEY}/1"),
        lambda keys: keys.update({f"{MEMORY_KEY}/1": b"[]"}),
        lambda keys: keys.update({MEMORY_KEY: b""}),
        lambda keys: keys.update({MEMORY_KEY: b"\xff\xfe\x00"}),
        lambda keys: keys.update({MEMORY_KEY: b'{"turns":' + b"[" * 5000 + b"]" * 5000 + b"}"}),
        lambda keys: keys.update({MEMORY_KEY: keys[MEMORY_KEY].replace(b'"parts":[1]', b'"parts":[1,1]')}),
        lambda keys: keys.update({MEMORY_KEY: keys[MEMORY_KEY].replace(b'"parts":[1]', b'"parts":[1,2]')}),
    ],
    ids=[
        *("gone", "broken", "newer", "edited", "part edited", "part gone", "part broken"),
        *("empty", "no text", "deep", "part twice", "part that never was"),
    ],
)
async def test_memory_that_somebody_changed_is_not_believed(state: FakeState, change: Any) -> None:
    """Whatever is missing, edited or of another version is not what the chat expects: the run then asks the chat."""
    await remember(state, 1, chars=BUDGET * 2)
    saved = await remember(state, 2)
    assert set(state.keys) == {MEMORY_KEY, f"{MEMORY_KEY}/1"}
    expected = MemoryRef(last=2, digest=saved.digest)
    assert expected.is_met_by((await load_memory(state.ctx)).ref)

    change(state.keys)

    assert not expected.is_met_by((await load_memory(state.ctx)).ref)


async def test_another_last_turn_is_not_believed(state: FakeState) -> None:
    """A memory that ends with an earlier or a later turn is not what the chat expects, digest or not."""
    await remember(state, 1)
    found = (await remember(state, 2)).ref
    assert not MemoryRef(last=1).is_met_by(found)
    assert not MemoryRef(last=3).is_met_by(found)
    assert not MemoryRef(last=2, digest="another").is_met_by(found)
    assert MemoryRef(last=2, invocation_id="inv_1").is_met_by(found)
    assert not MemoryRef(last=2, invocation_id="inv_2").is_met_by(found)  # of the same turn, by a run that was replaced


@pytest.mark.parametrize("chars", [40, BUDGET * 2], ids=["newest", "part"])
async def test_left_out_turns_are_forgotten(state: FakeState, chars: int) -> None:
    """A turn that must not be seen is neither shown nor written again, wherever it stands."""
    for turn_id in (1, 2):
        await remember(state, turn_id, chars)
    memory = await remember(state, 3, without=(2,))
    assert memory.history() == (items(1, chars), items(3))
    assert (await load_memory(state.ctx)).history() == memory.history()
    assert not any(b"answer 2" in value for value in state.keys.values())


async def test_a_forgotten_chat_begins_anew(state: FakeState) -> None:
    """Where the chat has nothing to remember, what is stored is replaced."""
    await remember(state, 7, chars=BUDGET * 2)
    stored = await load_memory(state.ctx)
    memory = stored.as_expected(MemoryRef()).with_turn(turn(1), "inv_1", LIMITS)
    save_memory(state.ctx, memory, stored)
    assert (await load_memory(state.ctx)).history() == (items(1),)
    assert set(state.keys) == {MEMORY_KEY}


async def test_a_long_chat_writes_little(state: FakeState) -> None:
    """A turn writes its own items and the newest ones, not the whole context; what no run will see is cleared."""
    per_turn = []
    for turn_id in range(1, 201):
        before = state.written
        await remember(state, turn_id)
        per_turn.append(state.written - before)
    stored = sum(map(len, state.keys.values()))
    assert sum(per_turn[100:]) / 100 < 0.4 * stored
    assert len(state.keys) < 12
    memory = await load_memory(state.ctx)
    assert memory.history()[-1] == items(200)
    assert len(memory.history()) >= LIMITS.context_turns - 3


def test_answer_of_the_chat_becomes_memory() -> None:
    """What the chat has answered is remembered with the ids of its turns."""
    memory = memory_of(Context(history=(items(3), items(5)), turn_ids=(3, 5), current=()))
    assert memory.ref == MemoryRef(last=5)
    assert memory.history() == (items(3), items(5))


async def test_a_summary_is_remembered(state: FakeState) -> None:
    """A summary that the chat has handed out is written once, comes back, and names the memory as its turns do."""
    summary = Summary(covers=3, text="notes", made_at=1.5)
    memory = memory_of(Context(history=(items(4),), turn_ids=(4,), current=(), summary=summary))
    assert memory.ref == MemoryRef(last=4, summary=3)
    save_memory(state.ctx, saved := memory.with_turn(turn(5), "inv_1", LIMITS), Memory())
    loaded = await load_memory(state.ctx)
    assert (loaded.summary, loaded.history()) == (summary, (items(4), items(5)))
    assert loaded.ref == saved.ref == MemoryRef(last=5, invocation_id="inv_1", digest=saved.digest, summary=3)
    expected = MemoryRef(last=5, digest=saved.digest, summary=3)
    assert expected.is_met_by(loaded.ref)
    assert not expected.changed(summary=4).is_met_by(loaded.ref)
    assert loaded.as_expected(expected).summary == summary

    before = state.keys[SUMMARY_KEY]
    del state.keys[SUMMARY_KEY]
    assert not expected.is_met_by((await load_memory(state.ctx)).ref)
    state.keys[SUMMARY_KEY] = before.replace(b"notes", b"NOTES")
    assert not expected.is_met_by((await load_memory(state.ctx)).ref)
    state.keys[SUMMARY_KEY] = before

    save_memory(state.ctx, Memory().with_turn(turn(1), "inv_2", LIMITS), loaded)
    assert set(state.keys) == {MEMORY_KEY}


def test_a_short_chat_writes_nothing_of_summaries() -> None:
    """What a chat without a summary writes is what it was before there were summaries."""
    assert b"summary" not in Memory().with_turn(turn(1), "inv_1", SUMMING).written()


def test_a_full_memory_wants_turns_summed_up() -> None:
    """From the share on, what is older than the newest half of it is to be summed up, one turn always stays."""
    memory, due = Memory(), []
    for turn_id in range(1, 11):
        memory = memory.with_turn(turn(turn_id, chars=160), "inv_1", SUMMING)  # 58 tokens each
        due.append(memory.sum_up)
    assert due == [0, 0, 0, 3, 4, 5, 6, 7, 8, 9]
    huge = memory.with_turn(turn(11, chars=BUDGET * 8), "inv_1", SUMMING)
    assert huge.sum_up == 10
    assert Memory().with_turn(turn(1, chars=BUDGET * 8), "inv_1", SUMMING).sum_up == 0
    assert memory.with_turn(turn(11, chars=BUDGET * 8), "inv_1", LIMITS).sum_up == 0  # a run of the version before


def test_many_short_turns_are_summed_up_too() -> None:
    """The most turns that the LLM sees are a limit as well: what would fall out by it is summed up before."""
    memory, due = Memory(), []
    for turn_id in range(1, 9):
        memory = memory.with_turn(turn(turn_id, chars=1), "inv_1", SUMMING.changed(context_tokens=24_000))
        due.append(memory.sum_up)
    assert due == [0, 0, 0, 0, 0, 3, 4, 5]


def test_a_turn_that_outgrew_the_window_is_remembered_shortened() -> None:
    """Megabytes of tool results are in the chat's record; the memory keeps what a run can show."""
    call = ToolCall(call_id="c", name="work", arguments="{}")
    step = (AssistantItem(tool_calls=(call,)), ToolItem(call_id="c", name="work", content="x" * 20_000))
    long = Remembered(turn_id=1, items=(*items(1), *step * 100))
    memory = Memory().with_turn(long, "inv_1", SUMMING.changed(context_tokens=8000))
    assert estimate_tokens(memory.history()[0]) <= 8000
    assert memory.history()[0][:1] == items(1)[:1]


def test_completed_turn_is_not_left_out() -> None:
    """A turn that had completed before its rollback reached it is kept, as the chat keeps it."""
    memory = Memory().with_turn(turn(1).changed(interrupted=False), "inv_1", LIMITS)
    assert memory.as_expected(MemoryRef(last=1, without=(1,))).history() == (items(1),)


@given(st.lists(st.tuples(st.integers(0, 4 * BUDGET), st.booleans()), min_size=1, max_size=40))
def test_memory_holds_what_a_run_can_see(turns: list[tuple[int, bool]]) -> None:
    """Whatever the sizes: the newest turns are there without a gap, with all that fits the budget of a run."""
    memory = Memory()
    kept: list[int] = []
    for turn_id, (chars, rolled_back) in enumerate(turns, start=1):
        left_out = (turn_id - 1,) if rolled_back else ()
        kept = [n for n in kept if n not in left_out]
        memory = memory.as_expected(MemoryRef(last=1, without=left_out))
        memory = memory.with_turn(turn(turn_id, chars), "inv_1", LIMITS)
        kept.append(turn_id)
        found = [int(seen[0].message_id[1:]) for seen in memory.history() if isinstance(seen[0], UserItem)]
        assert found == kept[len(kept) - len(found) :]
        sizes = [estimate_tokens(items(n, turns[n - 1][0])) for n in kept[::-1][: LIMITS.context_turns]]
        fitting = sum(sum(sizes[: i + 1]) <= BUDGET for i in range(len(sizes)))
        assert len(found) >= fitting
        kept = kept[len(kept) - len(found) :]
