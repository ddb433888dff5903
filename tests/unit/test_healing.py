"""The rules of healing, as values: which runs are looked after, and what becomes of turns whose runs are dead."""

import pytest

from app.engine.unfit import CODE_CHANGED
from app.turns.control import Cancel
from app.turns.modes import Mode
from app.turns.transcript import TurnStatus
from tests.support.fake_chat import FakeChat, said

BUSY_MODES = [mode for mode in Mode if mode is not Mode.REJECT]


@pytest.fixture
def chat() -> FakeChat:
    """A chat in which turn 1 runs, has heard m1, and is watched since m2 came."""
    chat = FakeChat()
    chat.say()
    chat.say(mode=Mode.INCORPORATE)
    assert chat.watched == [1]
    return chat


@pytest.mark.parametrize("mode", Mode)
def test_watched_run_is_probed(chat: FakeChat, mode: Mode) -> None:
    """A message that finds a turn watched has its run probed, as the settlement may have been killed with it."""
    chat.say(mode=mode)
    assert chat.probed == [1]


def test_first_contact_does_not_probe() -> None:
    """A message that finds a turn not watched sends a settlement; that one looks after the run."""
    chat = FakeChat()
    chat.say()
    chat.say(mode=Mode.QUEUE)
    assert (chat.watched, chat.probed) == ([1], [])


@pytest.mark.parametrize("turn_id", [None, 1, 2, 9])
def test_stop_looks_after_all_runs(chat: FakeChat, turn_id: int | None) -> None:
    """`stop` has every open run looked after, whichever turn it names, and also if it has nothing to stop."""
    chat.say(mode=Mode.QUEUE)
    chat.change(lambda c: c.stop(turn_id))
    assert 1 in chat.probed

    chat.change(lambda c: c.stop(None))
    chat.change(lambda c: c.stop(None))
    assert 1 in chat.probed


def test_message_behind_a_stopping_turn_probes_it(chat: FakeChat) -> None:
    """A message that starts a turn behind one that is stopping looks after that one: its run may be dead."""
    chat.change(lambda c: c.stop(None))
    assert chat.say().turn_id == 2
    assert chat.probed == [1]


def test_idle_chat_is_left_alone() -> None:
    """Without open turns there is nothing to look after."""
    chat = FakeChat()
    chat.change(lambda c: c.stop(None))
    assert (chat.watched, chat.probed) == ([], [])
    chat.say()
    assert (chat.watched, chat.probed) == ([], [])


def test_settlement_says_why(chat: FakeChat) -> None:
    """A dead turn fails with the reason that is known, and keeps what it had reported."""
    chat.record(1, said("work"))
    chat.change(lambda c: c.settle(chat.ref(1), CODE_CHANGED))

    assert (chat.status(1), chat.turns[1].error) == (TurnStatus.FAILED, CODE_CHANGED)
    assert [item.content for item in chat.turns[1].items] == ["m1", "work"]
    assert chat.heard(2) == ["m2"]


def test_settlement_of_a_stopping_turn_is_no_failure(chat: FakeChat) -> None:
    """A turn that was being stopped ends as it was meant to, whatever its run died of."""
    chat.say(mode=Mode.INTERRUPT)
    chat.change(lambda c: c.settle(chat.ref(1), CODE_CHANGED))
    assert (chat.status(1), chat.turns[1].error) == (TurnStatus.INTERRUPTED, None)


def test_stored_end_is_kept(chat: FakeChat) -> None:
    """A turn whose end was stored before the handler that closed it was killed keeps that end."""
    chat.turns[1] = chat.turns[1].model_copy(update={"status": TurnStatus.COMPLETED})
    chat.change(lambda c: c.settle(chat.ref(1)))
    assert (chat.status(1), chat.turns[1].error) == (TurnStatus.COMPLETED, None)
    assert 1 not in chat.open_turns


def test_run_that_the_chat_does_not_know_is_ended(chat: FakeChat) -> None:
    """A live run that its chat does not know is told to end; its sender was killed, or the chat forgotten."""
    orphan = chat.ref(1).model_copy(update={"invocation_id": "inv_orphan"})
    chat.change(lambda c: c.arm(orphan, "bell", steer_only=False))
    assert chat.effects == [Cancel("inv_orphan")]


def test_message_that_a_run_was_given_is_known(chat: FakeChat) -> None:
    """A message is known as given once the run has it, and not while it waits."""
    assert chat.change(lambda c: (c.was_given("m1"), c.was_given("m2"), c.was_given("m3"))) == (True, False, False)


def test_messages_of_a_dead_queued_turn_overtake_nobody() -> None:
    """The newest of two queued turns is killed: its message waits behind the older one, not in the turn that runs."""
    chat = FakeChat()
    for mode in (Mode.INTERRUPT, Mode.QUEUE, Mode.QUEUE):
        chat.say(mode=mode)
    chat.change(lambda c: c.settle(chat.ref(3)))
    assert [chat.pending(turn_id) for turn_id in chat.open_turns] == [[], ["m2"], ["m3"]]
