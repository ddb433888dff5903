"""The rules of a chat, as values: what messages do to its turns."""

import pytest

from app.turns.control import Cancel, RingDoorbell, RingRun, Start
from app.turns.modes import Decision, Mode
from app.turns.protocol import MemoryRef, TakeInput
from app.turns.transcript import TurnStatus
from tests.support.fake_chat import FakeChat, messages, said

BEHIND_1 = MemoryRef(last=1, invocation_id="inv_1")


@pytest.fixture
def chat() -> FakeChat:
    """A chat in which turn 1 runs and has heard m1."""
    chat = FakeChat()
    chat.say()
    return chat


@pytest.mark.parametrize("mode", Mode)
def test_idle_chat_starts_at_once(mode: Mode) -> None:
    """A message to an idle chat starts a running turn that has heard it, and whose run begins with it."""
    chat = FakeChat()

    receipt = chat.say(mode=mode)

    assert (receipt.message_id, receipt.turn_id, receipt.decision) == ("m1", 1, Decision.STARTED)
    assert chat.effects == [Start(1, messages("m1", mode=mode), MemoryRef())]
    assert (chat.status(1), chat.heard(1), chat.pending(1)) == (TurnStatus.RUNNING, ["m1"], [])


def test_reject_changes_nothing(chat: FakeChat) -> None:
    """REJECT while a turn is open names the turn and stores no message."""
    before = dict(chat.turns)

    receipt = chat.say(mode=Mode.REJECT)

    assert (receipt.turn_id, receipt.decision) == (1, Decision.REJECTED)
    assert (chat.turns, chat.open_turns) == (before, [1])


def test_interrupt_cancels_and_opens_a_turn(chat: FakeChat) -> None:
    """INTERRUPT cancels the running turn and sends the next at once; that one runs when the first has ended."""
    assert chat.say().turn_id == 2

    assert chat.effects == [Cancel("inv_1"), Start(2, messages("m2"), BEHIND_1)]
    assert chat.session.open[0].stopping is TurnStatus.INTERRUPTED
    assert (chat.status(2), chat.pending(2)) == (TurnStatus.QUEUED, ["m2"])

    chat.end(1, TurnStatus.INTERRUPTED)
    assert chat.effects == []
    assert (chat.status(2), chat.heard(2)) == (TurnStatus.RUNNING, ["m2"])


@pytest.mark.parametrize("mode", [Mode.INTERRUPT, Mode.ROLLBACK])
def test_interrupt_takes_over_what_waits(chat: FakeChat, mode: Mode) -> None:
    """INTERRUPT moves what waits in the open turn and in queued ones, in order, in front of its message; one turn is
    left for all of it."""
    chat.say(mode=Mode.INCORPORATE)
    chat.say(mode=Mode.QUEUE)
    chat.say(mode=Mode.QUEUE)

    receipt = chat.say(mode=mode)

    assert receipt.turn_id == 2
    assert chat.pending(2) == ["m2", "m3", "m4", "m5"]
    assert chat.effects == [Cancel("inv_1"), Cancel("inv_3")]
    assert (chat.open_turns, chat.status(3)) == ([1, 2], TurnStatus.WITHDRAWN)


def test_second_interrupt_joins_the_first(chat: FakeChat) -> None:
    """A second INTERRUPT before the turn has ended joins the next one, whose run is sent again with both messages."""
    chat.say()

    assert chat.say().turn_id == 2

    assert chat.effects == [Cancel("inv_2"), Start(2, messages("m2", "m3"), BEHIND_1)]
    assert chat.pending(2) == ["m2", "m3"]


def test_rollback_upgrades_an_interrupt(chat: FakeChat) -> None:
    """ROLLBACK while an interrupted turn is still ending makes it end as rolled back, without a second cancel."""
    chat.say()

    chat.say(mode=Mode.ROLLBACK)

    assert chat.session.open[0].stopping is TurnStatus.ROLLED_BACK
    waiting = (*messages("m2"), *messages("m3", mode=Mode.ROLLBACK))
    assert chat.effects == [Cancel("inv_2"), Start(2, waiting, BEHIND_1.changed(without=(1,)))]
    assert chat.end(1, TurnStatus.INTERRUPTED).closed is TurnStatus.ROLLED_BACK


def test_interrupt_leaves_a_rollback(chat: FakeChat) -> None:
    """INTERRUPT while a turn is being rolled back does not make less of it."""
    chat.say(mode=Mode.ROLLBACK)
    chat.say(mode=Mode.INTERRUPT)

    assert chat.end(1, TurnStatus.INTERRUPTED).closed is TurnStatus.ROLLED_BACK


def test_completion_wins(chat: FakeChat) -> None:
    """A turn that had completed before the cancel reached it closes as completed."""
    chat.say(mode=Mode.ROLLBACK)

    assert chat.end(1, TurnStatus.COMPLETED, may_go_on=True).closed is TurnStatus.COMPLETED
    assert chat.open_turns == [2]


def test_memory_of_the_next_turn(chat: FakeChat) -> None:
    """A turn is told which memory it finds: that of the last turn that said so, without those that were rolled back."""
    chat.end(1, digest="d1")
    chat.say()
    assert chat.effects == [Start(2, messages("m2"), MemoryRef(last=1, digest="d1"))]

    chat.say(mode=Mode.ROLLBACK)
    chat.end(2, TurnStatus.INTERRUPTED, digest="d2")
    assert chat.session.memory == MemoryRef(last=2, digest="d2", without=(2,))
    chat.end(3, digest="")
    chat.say()
    assert chat.effects == [Start(4, messages("m4"), None)]


def test_memory_after_a_death(chat: FakeChat) -> None:
    """A run that died leaves a memory that nobody can name: the next one asks the chat."""
    chat.end(1, digest="d1")
    chat.say()
    chat.change(lambda c: c.settle(chat.ref(2)))
    chat.say()
    assert chat.effects == [Start(3, messages("m3"), None)]


def test_withdrawn_turn_leaves_the_memory_alone(chat: FakeChat) -> None:
    """A queued turn that never ran changes nothing of what is remembered."""
    chat.say(mode=Mode.QUEUE)
    chat.change(lambda c: c.stop(2))
    chat.end(1, digest="d1")
    chat.say()
    assert chat.effects == [Start(3, messages("m3"), MemoryRef(last=1, digest="d1"))]


def test_failure_while_stopping_is_failed(chat: FakeChat) -> None:
    """A turn that fails while it is being stopped closes as failed, with its reason."""
    chat.say()
    chat.end(1, TurnStatus.FAILED, error="no LLM")

    assert (chat.status(1), chat.turns[1].error) == (TurnStatus.FAILED, "no LLM")


@pytest.mark.parametrize("mode", [Mode.INCORPORATE, Mode.STEER])
def test_handed_in_message_rings(chat: FakeChat, mode: Mode) -> None:
    """INCORPORATE and STEER wait in the running turn and ring its run, each with a number and what it was."""
    receipt = chat.say(mode=mode)

    assert receipt.turn_id == 1
    assert chat.effects == [RingRun("inv_1", 1, steer=mode is Mode.STEER, content="m2")]
    chat.say(mode=mode)
    assert chat.effects == [RingRun("inv_1", 2, steer=mode is Mode.STEER, content="m3")]
    assert chat.pending(1) == ["m2", "m3"]


def test_ring_carries_the_beginning(chat: FakeChat) -> None:
    """A ring carries at most 200 characters of the message."""
    chat.say("x" * 500, Mode.STEER)

    assert chat.effects == [RingRun("inv_1", 1, steer=True, content="x" * 200)]


def test_answers_say_which_rings_are_done_with(chat: FakeChat) -> None:
    """With the messages a run hears how many rings were for them; a later ring is for a later message."""
    chat.say(mode=Mode.INCORPORATE)
    chat.say(mode=Mode.INCORPORATE)
    assert chat.change(lambda c: c.take(TakeInput(**dict(chat.ref(1))))).rings == 2

    chat.say(mode=Mode.STEER)
    assert chat.effects == [RingRun("inv_1", 3, steer=True, content="m4")]
    assert chat.end(1, may_go_on=True).rings == 3


# A run of the version before has a doorbell


def bells(chat: FakeChat) -> list[RingDoorbell]:
    return [effect for effect in chat.effects if isinstance(effect, RingDoorbell)]


@pytest.mark.parametrize("mode", [Mode.INCORPORATE, Mode.STEER])
def test_doorbell_rings_once(chat: FakeChat, mode: Mode) -> None:
    """A doorbell rings for the first message that is handed in, and says which of the modes it was."""
    chat.arm(1, "bell")

    chat.say(mode=mode)

    assert bells(chat) == [RingDoorbell("bell", steer=mode is Mode.STEER, content="m2")]
    assert chat.session.doorbell is None
    chat.say(mode=mode)
    assert bells(chat) == []


def test_message_before_the_doorbell_rings_it_at_once(chat: FakeChat) -> None:
    """A doorbell that is registered when messages wait rings at once, and says STEER if one of them does."""
    chat.say(mode=Mode.INCORPORATE)
    chat.arm(1, "bell")
    assert chat.effects == [RingDoorbell("bell", steer=False, content="m2")]

    chat.say(mode=Mode.STEER)
    chat.arm(1, "bell")
    assert chat.effects == [RingDoorbell("bell", steer=True, content="m3")]


def test_steer_only_doorbell_rings_for_steer_only(chat: FakeChat) -> None:
    """A steer-only doorbell stays silent for INCORPORATE and rings for STEER."""
    chat.say(mode=Mode.INCORPORATE)
    chat.arm(1, "bell", steer_only=True)
    chat.say(mode=Mode.INCORPORATE)
    assert bells(chat) == []

    chat.say(mode=Mode.STEER)
    assert bells(chat) == [RingDoorbell("bell", steer=True, content="m4")]


def test_taken_exactly_once(chat: FakeChat) -> None:
    """What waits is handed over in order, once; the next doorbell is registered with it."""
    chat.say(mode=Mode.INCORPORATE)
    chat.say(mode=Mode.INCORPORATE)

    assert chat.take(1, "second bell") == ["m2", "m3"]
    assert chat.take(1, "third bell") == []

    assert chat.heard(1) == ["m1", "m2", "m3"]
    chat.say(mode=Mode.STEER)
    assert bells(chat) == [RingDoorbell("third bell", steer=True, content="m4")]


def test_stopping_turn_takes_nothing(chat: FakeChat) -> None:
    """A turn that is being stopped is given no messages and registers no doorbell."""
    chat.say(mode=Mode.INTERRUPT)

    chat.arm(1, "bell")
    assert chat.take(1, "bell") == []

    assert chat.session.doorbell is None
    assert chat.pending(2) == ["m2"]


def test_queue_has_turns_of_their_own(chat: FakeChat) -> None:
    """Each QUEUE message is a turn of its own, behind the open ones."""
    assert [chat.say(mode=Mode.QUEUE).turn_id for _ in range(3)] == [2, 3, 4]
    assert (chat.pending(2), chat.pending(3), chat.pending(4)) == (["m2"], ["m3"], ["m4"])


@pytest.mark.parametrize("mode", [Mode.INCORPORATE, Mode.STEER])
def test_queued_message_is_never_overtaken(chat: FakeChat, mode: Mode) -> None:
    """A message for the running turn takes the queued ones before it along, and their turns are withdrawn."""
    chat.say(mode=Mode.QUEUE)
    chat.say(mode=Mode.QUEUE)

    assert chat.say(mode=mode).turn_id == 1

    assert chat.pending(1) == ["m2", "m3", "m4"]
    assert chat.open_turns == [1]
    assert chat.effects[:2] == [Cancel("inv_2"), Cancel("inv_3")]
    assert chat.effects[2:] == [RingRun("inv_1", 1, steer=mode is Mode.STEER, content="m4")]


@pytest.mark.parametrize("mode", [Mode.INCORPORATE, Mode.STEER])
def test_handed_in_behind_an_interrupt(chat: FakeChat, mode: Mode) -> None:
    """While the interrupted turn is ending, the turn behind it takes the message; its run is sent again, none rings."""
    chat.arm(1, "bell")
    chat.say()

    assert chat.say(mode=mode).turn_id == 2
    waiting = (*messages("m2"), *messages("m3", mode=mode))
    assert chat.effects == [Cancel("inv_2"), Start(2, waiting, BEHIND_1)]
    assert chat.pending(2) == ["m2", "m3"]


@pytest.mark.parametrize("mode", Mode)
def test_message_behind_a_stopped_turn(chat: FakeChat, mode: Mode) -> None:
    """After `stop`, while the turn is still ending, a message of any mode opens a turn that runs at its end."""
    chat.change(lambda c: c.stop(None))

    receipt = chat.say(mode=mode)

    assert (receipt.turn_id, receipt.decision) == (2, Decision.STARTED)
    assert chat.effects == [Start(2, messages("m2", mode=mode), BEHIND_1)]
    chat.end(1, TurnStatus.INTERRUPTED)
    assert (chat.effects, chat.status(2)) == ([], TurnStatus.RUNNING)


def test_queue_behind_a_stopped_turn(chat: FakeChat) -> None:
    """A turn that queues behind one that waits for a stopping turn is sent when that one runs: it may be sent again."""
    chat.say()
    chat.say(mode=Mode.QUEUE)
    assert chat.effects == []

    chat.end(1, TurnStatus.INTERRUPTED)

    assert chat.effects == [Start(3)]


def test_end_gives_what_came_meanwhile(chat: FakeChat) -> None:
    """A completed turn with messages waiting goes on with them; it closes when none wait."""
    chat.say(mode=Mode.INCORPORATE)

    end = chat.end(1, items=(said("first"),), may_go_on=True)
    assert (end.closed, [m.message_id for m in end.messages]) == (None, ["m2"])
    assert chat.status(1) is TurnStatus.RUNNING

    end = chat.end(1, items=(said("second"),), offset=1, may_go_on=True)
    assert (end.closed, end.messages) == (TurnStatus.COMPLETED, ())
    assert [item.content for item in chat.turns[1].items] == ["m1", "first", "m2", "second"]


def test_end_whose_answer_was_not_heard_is_answered_again(chat: FakeChat) -> None:
    """Messages that were given with an answer that never came are given once more, with those that came since."""
    chat.say(mode=Mode.INCORPORATE)
    chat.end(1, items=(said("first"),), may_go_on=True)
    chat.say(mode=Mode.INCORPORATE)

    end = chat.end(1, items=(said("first"),), may_go_on=True)

    assert (end.closed, [m.message_id for m in end.messages]) == (None, ["m2", "m3"])
    assert [item.content for item in chat.turns[1].items] == ["m1", "first", "m2", "m3"]


@pytest.mark.parametrize("outcome", [TurnStatus.FAILED, TurnStatus.LIMIT_REACHED])
def test_leftover_messages_start_a_turn(chat: FakeChat, outcome: TurnStatus) -> None:
    """Messages that a turn leaves when it ends otherwise than completed start a new turn at once."""
    chat.say(mode=Mode.INCORPORATE)
    chat.say(mode=Mode.INCORPORATE)

    assert chat.end(1, outcome, error="why").closed is outcome

    assert chat.effects == [Start(2, messages("m2", "m3", mode=Mode.INCORPORATE), None)]
    assert (chat.heard(2), chat.status(2)) == (["m2", "m3"], TurnStatus.RUNNING)


def test_leftover_messages_join_the_queue_in_front(chat: FakeChat) -> None:
    """Messages that a failed turn leaves go in front of those of the queued turn."""
    chat.say(mode=Mode.INCORPORATE)
    chat.say(mode=Mode.QUEUE)

    chat.end(1, TurnStatus.FAILED)

    assert chat.pending(2) == ["m2", "m3"]
    assert chat.effects == []
