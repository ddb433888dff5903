"""The rules of a chat, as values: what runs report, and what becomes of runs that died."""

from datetime import UTC, datetime

import pytest

from app.turns.control import Start
from app.turns.modes import Mode
from app.turns.protocol import TakeInput, TakenInput
from app.turns.transcript import TurnStatus, Usage, Wait
from tests.support.fake_chat import FakeChat, messages, said

BUSY_MODES = [mode for mode in Mode if mode is not Mode.REJECT]


@pytest.fixture
def chat() -> FakeChat:
    """A chat in which turn 1 runs and has heard m1."""
    chat = FakeChat()
    chat.say()
    return chat


# Fencing


def test_other_run_changes_nothing(chat: FakeChat) -> None:
    """What a run says with another invocation id, or of a closed turn, changes nothing."""
    chat.say(mode=Mode.INCORPORATE)
    before = (chat.session, dict(chat.turns))
    foreign = chat.ref(1).model_copy(update={"invocation_id": "inv_other"})

    assert not chat.change(lambda c: c.begin(foreign))
    chat.change(lambda c: c.arm(foreign, "bell", steer_only=False))
    assert chat.change(lambda c: c.take(TakeInput(**dict(foreign), doorbell="bell"))) == TakenInput()
    assert chat.end(1, ref=foreign, may_go_on=True, items=(said("late"),)).closed is TurnStatus.WITHDRAWN
    chat.change(lambda c: c.settle(foreign))

    assert (chat.session, chat.turns) == before


def test_late_report_of_a_closed_turn_changes_nothing(chat: FakeChat) -> None:
    """A report, an end or a settlement of a turn that has closed changes nothing."""
    chat.end(1, items=(said("done"),), may_go_on=True)
    closed = chat.turns[1]

    chat.record(1, said("late"), offset=1)
    assert chat.end(1, TurnStatus.FAILED, error="late").closed is TurnStatus.WITHDRAWN
    chat.change(lambda c: c.settle(chat.ref(1)))

    assert chat.turns[1] == closed


def test_report_twice_is_stored_once(chat: FakeChat) -> None:
    """The same report twice is stored once, its usage too; of an overlapping one only what is new."""
    usage = {"calls": 1, "prompt_tokens": 10, "completion_tokens": 5}
    chat.record(1, said("a"), said("b"), usage=usage, started_at=1.0, ended_at=2.0)
    chat.record(1, said("a"), said("b"), usage=usage, started_at=1.0, ended_at=2.0)
    chat.record(1, said("b"), said("c"), offset=1, ended_at=3.0)

    turn = chat.turns[1]
    assert [item.content for item in turn.items] == ["m1", "a", "b", "c"]
    assert (turn.usage.calls, turn.usage.prompt_tokens, turn.usage.completion_tokens) == (1, 10, 5)
    assert chat.session.usage == turn.usage
    assert (turn.started_at, turn.ended_at) == (1.0, 3.0)


def test_a_wait_ends_with_the_next_report(chat: FakeChat) -> None:
    """What a run says that it waits for is kept until it reports again, and changes nothing else."""
    wait = Wait(reason="busy", until=datetime(2026, 1, 1, tzinfo=UTC))
    chat.record(1, said("one"), usage=Usage(calls=1))
    before = chat.turns[1]
    chat.record(1, offset=1, waiting_for=wait)
    assert chat.turns[1] == before.model_copy(update={"waiting_for": wait})
    chat.record(1, offset=1)
    assert chat.turns[1] == before
    chat.record(1, offset=1, waiting_for=wait)
    chat.end(1, TurnStatus.FAILED, offset=1)
    assert chat.turns[1].waiting_for is None


def test_begin_of_a_withdrawn_turn_is_refused(chat: FakeChat) -> None:
    """The run of a turn that was withdrawn is told to end; the chat stays as it was."""
    chat.say(mode=Mode.QUEUE)
    withdrawn = chat.ref(2)
    chat.change(lambda c: c.stop(2))
    before = (chat.session, dict(chat.turns))

    assert not chat.change(lambda c: c.begin(withdrawn))
    assert (chat.session, chat.turns) == before


def test_begin_hands_over_what_waited(chat: FakeChat) -> None:
    """A queued turn that begins is running and has heard its messages."""
    chat.say(mode=Mode.QUEUE)
    chat.end(1, may_go_on=True)

    assert chat.begin(2)

    assert (chat.status(2), chat.heard(2), chat.pending(2)) == (TurnStatus.RUNNING, ["m2"], [])


# The dead


def test_begin_buries_the_dead(chat: FakeChat) -> None:
    """A turn that begins while an earlier one is open proves that one dead: it failed, and its messages move on."""
    chat.say(mode=Mode.INCORPORATE)
    chat.say(mode=Mode.QUEUE)

    assert chat.begin(2)

    assert (chat.status(1), chat.open_turns) == (TurnStatus.FAILED, [2])
    assert "ended from outside" in (chat.turns[1].error or "")
    assert chat.heard(2) == ["m2", "m3"]


def test_buried_interrupted_turn_is_interrupted(chat: FakeChat) -> None:
    """A dead turn that was being stopped ends as it was meant to, without an error."""
    chat.say(mode=Mode.ROLLBACK)

    chat.begin(2)

    assert (chat.status(1), chat.turns[1].error) == (TurnStatus.ROLLED_BACK, None)


def test_burial_moves_messages_to_a_turn_of_their_own(chat: FakeChat) -> None:
    """The messages that a dead turn had not been given start a new turn."""
    chat.say(mode=Mode.INCORPORATE)

    chat.change(lambda c: c.settle(chat.ref(1)))

    assert chat.effects == [Start(2, messages("m2", mode=Mode.INCORPORATE), None)]
    assert (chat.open_turns, chat.heard(2)) == ([2], ["m2"])


@pytest.mark.parametrize("mode", BUSY_MODES)
def test_open_turns_are_watched_once_somebody_counts_on_them(chat: FakeChat, mode: Mode) -> None:
    """The first message that finds a turn open has it settled when its run is over; a run that it sends waits for the
    next one who counts on it."""
    chat.say(mode=mode)
    assert chat.watched == [1]

    sent = {turn.turn_id: turn.invocation_id for turn in chat.session.open[1:]}
    chat.say(mode=mode)
    same = [turn_id for turn_id, run in sent.items() if chat.turns[turn_id].invocation_id == run]
    assert chat.watched == [turn_id for turn_id in same if turn_id in chat.open_turns]
