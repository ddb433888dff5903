"""What people do to a chat beside talking: stop, edit, withdraw, promote, forget."""

import pytest

from app.turns.control import Cancel, RingDoorbell, RingRun, Start
from app.turns.modes import Mode
from app.turns.transcript import TurnStatus
from tests.support.fake_chat import FakeChat


@pytest.fixture
def chat() -> FakeChat:
    """A chat in which turn 1 runs, m2 waits for it, and turns 2 and 3 are queued with m3 and m4."""
    chat = FakeChat()
    chat.say()
    chat.say(mode=Mode.INCORPORATE)
    chat.say(mode=Mode.QUEUE)
    chat.say(mode=Mode.QUEUE)
    return chat


def stop(chat: FakeChat, turn_id: int | None = None) -> tuple[int | None, list[str]]:
    answer = chat.change(lambda c: c.stop(turn_id))
    assert answer.stopped is (answer.turn_id is not None)
    return answer.turn_id, list(answer.withdrawn)


def edit(chat: FakeChat, message_id: str, content: str | None) -> bool:
    return chat.change(lambda c: c.edit(message_id, content))


def promote(chat: FakeChat, message_id: str) -> bool:
    return chat.change(lambda c: c.promote(message_id))


@pytest.mark.parametrize("turn_id", [None, 1])
def test_stop_ends_everything(chat: FakeChat, turn_id: int | None) -> None:
    """`stop` cancels the running turn, has it settled, withdraws the queued ones and names the messages."""
    assert stop(chat, turn_id) == (1, ["m2", "m3", "m4"])

    assert chat.effects == [Cancel("inv_1"), Cancel("inv_2"), Cancel("inv_3")]
    assert chat.session.open[0].watched
    assert chat.open_turns == [1]
    assert (chat.status(2), chat.status(3)) == (TurnStatus.WITHDRAWN, TurnStatus.WITHDRAWN)
    assert chat.end(1, TurnStatus.INTERRUPTED).closed is TurnStatus.INTERRUPTED
    assert chat.session.open == ()


def test_stop_of_a_queued_turn_leaves_the_others(chat: FakeChat) -> None:
    """`stop` of a queued turn withdraws that one only."""
    assert stop(chat, 2) == (2, ["m3"])

    assert chat.effects == [Cancel("inv_2")]
    assert (chat.open_turns, chat.pending(1), chat.pending(3)) == ([1, 3], ["m2"], ["m4"])


def test_stop_of_another_turn_does_nothing(chat: FakeChat) -> None:
    """`stop` of a turn that is not open does nothing."""
    chat.change(lambda c: c.heal())
    before = (chat.session, dict(chat.turns))

    assert stop(chat, 7) == (None, [])

    assert (chat.session, chat.turns, chat.effects) == (*before, [])


def test_stop_of_an_idle_chat_does_nothing() -> None:
    """`stop` of an idle chat does nothing."""
    chat = FakeChat()

    assert stop(chat) == (None, [])
    assert chat.effects == []


def test_second_stop_does_nothing(chat: FakeChat) -> None:
    """`stop` of a turn that is stopping already does nothing."""
    stop(chat)

    assert stop(chat) == (None, [])
    assert stop(chat, 1) == (None, [])
    assert chat.effects == []


@pytest.mark.parametrize("turn_id", [None, 1])
def test_second_stop_can_roll_back(chat: FakeChat, turn_id: int | None) -> None:
    """`stop` with `rollback` has a turn undone that was stopped without and still ends; a third changes nothing."""
    stop(chat)

    assert chat.change(lambda c: c.stop(turn_id, rollback=True)).turn_id == 1
    assert chat.session.open[0].stopping is TurnStatus.ROLLED_BACK
    assert chat.effects == []
    assert chat.change(lambda c: c.stop(turn_id, rollback=True)).stopped is False
    assert chat.change(lambda c: c.stop(7, rollback=True)).stopped is False


def test_settled_turn_closes_as_it_was_stopped(chat: FakeChat) -> None:
    """The settlement closes a stopped turn whose run did not live to say so."""
    stop(chat)

    chat.change(lambda c: c.settle(chat.ref(1)))

    assert (chat.status(1), chat.open_turns) == (TurnStatus.INTERRUPTED, [])


@pytest.mark.parametrize("message_id", ["m2", "m4"])
def test_edit_replaces_the_text_in_place(chat: FakeChat, message_id: str) -> None:
    """`edit` changes the text of a message that waits, and nothing of its place."""
    assert edit(chat, message_id, "better")

    texts = [m.content for turn in chat.session.open for m in chat.turns[turn.turn_id].pending]
    assert texts == ["better" if m == message_id else m for m in ("m2", "m3", "m4")]


@pytest.mark.parametrize("message_id", ["m1", "unknown"])
@pytest.mark.parametrize("content", ["better", None])
def test_edit_of_what_does_not_wait_is_refused(chat: FakeChat, message_id: str, content: str | None) -> None:
    """A message that the agent has, or that never was, is neither edited, withdrawn nor promoted."""
    before = (chat.session, dict(chat.turns))

    assert not edit(chat, message_id, content)
    assert not promote(chat, message_id)

    assert (chat.session, chat.turns) == before


def test_withdrawn_message_takes_its_turn_along(chat: FakeChat) -> None:
    """A queued turn whose only message is withdrawn is withdrawn too; the running turn stays."""
    assert edit(chat, "m3", None)
    assert (chat.effects, chat.status(2)) == ([Cancel("inv_2")], TurnStatus.WITHDRAWN)

    assert edit(chat, "m2", None)
    assert (chat.effects, chat.status(1), chat.pending(1)) == ([], TurnStatus.RUNNING, [])


def test_withdrawn_from_several_leaves_the_others(chat: FakeChat) -> None:
    """Withdrawing one of several messages of a queued turn leaves the turn and the others."""
    chat.say(mode=Mode.INTERRUPT)  # turn 2: m2, m3, m4, m5

    assert edit(chat, "m3", None)

    assert (chat.pending(2), chat.effects) == (["m2", "m4", "m5"], [])


def test_promote_hands_to_the_running_turn(chat: FakeChat) -> None:
    """A promoted message goes to the running turn at once, as STEER does, and rings its steer-only doorbell."""
    chat.arm(1, "bell", steer_only=True)

    assert promote(chat, "m4")

    bell, ring = RingDoorbell("bell", steer=True, content="m4"), RingRun("inv_1", 2, steer=True, content="m4")
    assert chat.effects == [Cancel("inv_3"), bell, ring]
    assert (chat.pending(1), chat.open_turns) == (["m2", "m4"], [1, 2])
    assert chat.turns[1].pending[-1].mode is Mode.STEER


def test_promote_behind_an_interrupt_goes_first(chat: FakeChat) -> None:
    """While the interrupted turn is ending, a promoted message goes first in the turn that waits."""
    chat.say(mode=Mode.INTERRUPT)

    assert promote(chat, "m4")

    assert chat.pending(2) == ["m4", "m2", "m3", "m5"]


def test_promote_of_the_only_message_keeps_it() -> None:
    """A message that waits alone behind a turn that is ending is not lost when it is promoted."""
    chat = FakeChat()
    chat.say()
    chat.say()

    assert promote(chat, "m2")

    assert [chat.pending(turn) for turn in chat.open_turns[1:]] == [["m2"]]


def test_forget_cancels_from_the_last(chat: FakeChat) -> None:
    """`forget` cancels every run, the last one first, so that none begins in between."""
    chat.change(lambda c: c.forget())

    assert chat.effects == [Cancel("inv_3"), Cancel("inv_2"), Cancel("inv_1")]


def test_waiting_counts_all_that_waits(chat: FakeChat) -> None:
    """`waiting` counts the messages that wait in all open turns."""
    assert chat.change(lambda c: c.waiting) == 3


def test_mode_survives_changes(chat: FakeChat) -> None:
    """The mode of the chat stays when turns come and go."""
    chat.session = chat.session.model_copy(update={"mode": Mode.QUEUE})
    chat.say(mode=Mode.INTERRUPT)
    stop(chat)

    assert chat.session.mode is Mode.QUEUE
    assert [effect for effect in chat.effects if isinstance(effect, Start)] == []


@pytest.mark.parametrize("queued", [0, 1, 2])
def test_stop_behind_an_interrupt(queued: int) -> None:
    """`stop` while the interrupted turn is ending cancels the run behind it, and none that was never sent."""
    chat = FakeChat()
    chat.say()
    chat.say()
    for _ in range(queued):
        chat.say(mode=Mode.QUEUE)

    assert stop(chat) == (2, [f"m{n}" for n in range(2, 3 + queued)])

    assert chat.effects == [Cancel("inv_2")]
    assert chat.open_turns == [1]


def test_promote_sends_the_run_behind_an_interrupt_once() -> None:
    """Promoting a queued message while the interrupted turn is ending sends the run behind it again, once."""
    chat = FakeChat()
    chat.say()
    chat.say()
    chat.say(mode=Mode.QUEUE)

    assert promote(chat, "m3")

    assert [type(effect) for effect in chat.effects] == [Cancel, Start]
    assert chat.pending(2) == ["m3", "m2"]
