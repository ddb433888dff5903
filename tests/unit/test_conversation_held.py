"""Messages that are set aside: what stop, hold, resume, promote, edit and new messages make of them."""

from itertools import product

import pytest

from app.turns.control import Cancel, RingRun, Session, Start
from app.turns.modes import Decision, Mode
from app.turns.protocol import Receipt
from app.turns.transcript import TurnStatus
from app.turns.waiting.protocol import StopAnswer, WhatWaits
from tests.support.fake_chat import FakeChat, messages


@pytest.fixture
def chat() -> FakeChat:
    """A chat in which turn 1 runs, m2 waits for it, and turns 2 and 3 are queued with m3 and m4."""
    chat = FakeChat()
    chat.say()
    chat.say(mode=Mode.INCORPORATE)
    chat.say(mode=Mode.QUEUE)
    chat.say(mode=Mode.QUEUE)
    return chat


def stop(chat: FakeChat, queue: WhatWaits, turn_id: int | None = None) -> StopAnswer:
    return chat.change(lambda c: c.stop(turn_id, queue))


def hold(chat: FakeChat, message_id: str) -> bool:
    return chat.change(lambda c: c.hold(message_id))


def resume(chat: FakeChat, *message_ids: str) -> list[Receipt]:
    """Resume these messages, all of them without any."""
    return chat.change(lambda c: c.resume(message_ids or None))


# stop


def test_stop_holds_what_waits(chat: FakeChat) -> None:
    """`stop` with `hold` ends the turn, withdraws the queued turns, and keeps their messages, in order."""
    answer = stop(chat, "hold")

    assert answer == StopAnswer(stopped=True, turn_id=1, held=("m2", "m3", "m4"))
    assert chat.effects == [Cancel("inv_1"), Cancel("inv_2"), Cancel("inv_3")]
    assert (chat.open_turns, chat.held, chat.waiting) == ([1], ["m2", "m3", "m4"], [])
    assert chat.end(1, TurnStatus.INTERRUPTED).closed is TurnStatus.INTERRUPTED
    assert (chat.session.open, chat.effects) == ((), [])


def test_stop_of_a_queued_turn_holds_its_messages(chat: FakeChat) -> None:
    """`stop` with `hold` and the id of a queued turn holds what waits in that one only."""
    assert stop(chat, "hold", 2) == StopAnswer(stopped=True, turn_id=2, held=("m3",))

    assert (chat.open_turns, chat.waiting, chat.held) == ([1, 3], ["m2", "m4"], ["m3"])


def test_stop_sends_what_waits(chat: FakeChat) -> None:
    """`stop` with `send` ends the turn, and the first queued one gets all that waits, in order."""
    answer = stop(chat, "send")

    assert answer == StopAnswer(stopped=True, turn_id=1, sent=("m2", "m3", "m4"), next_turn_id=2)
    assert chat.effects == [Cancel("inv_1"), Cancel("inv_3")]
    assert (chat.open_turns, chat.pending(2)) == ([1, 2], ["m2", "m3", "m4"])


def test_stop_sends_early() -> None:
    """Where no turn is queued, `send` has the run of the next one sent early, as INTERRUPT does."""
    chat = FakeChat()
    chat.say()
    chat.say(mode=Mode.STEER)

    assert stop(chat, "send") == StopAnswer(stopped=True, turn_id=1, sent=("m2",), next_turn_id=2)
    assert [type(effect) for effect in chat.effects] == [Cancel, Start]
    assert [m.message_id for m in chat.sent["inv_2"].messages] == ["m2"]
    assert chat.session.open[1].early


def test_second_stop_sends_what_the_first_holds(chat: FakeChat) -> None:
    """`send` behind `hold`, while the turn is still ending, sends what was held, whether it names that turn or not."""
    stop(chat, "hold")
    before = (chat.session, dict(chat.turns), dict(chat.sent))
    for turn_id in (None, 1):
        chat.session, chat.turns, chat.sent = before[0], dict(before[1]), dict(before[2])

        answer = stop(chat, "send", turn_id)

        assert answer == StopAnswer(stopped=False, sent=("m2", "m3", "m4"), next_turn_id=4)
        assert [type(effect) for effect in chat.effects] == [Start]
        assert (chat.open_turns, chat.waiting, chat.held) == ([1, 4], ["m2", "m3", "m4"], [])


def test_second_send_does_nothing(chat: FakeChat) -> None:
    """`send` where all that waits begins the next turn already neither cancels nor sends a run."""
    stop(chat, "send")

    assert stop(chat, "send") == StopAnswer(stopped=False, sent=())
    assert chat.effects == []
    assert chat.waiting == ["m2", "m3", "m4"]


def test_send_on_an_idle_chat_begins_a_turn(chat: FakeChat) -> None:
    """`send` on an idle chat begins one turn with all that is held."""
    stop(chat, "hold")
    chat.end(1, TurnStatus.INTERRUPTED)

    answer = stop(chat, "send")

    assert answer == StopAnswer(stopped=False, sent=("m2", "m3", "m4"), next_turn_id=4)
    assert (chat.open_turns, chat.heard(4), chat.held) == ([4], ["m2", "m3", "m4"], [])


def test_send_without_messages_only_stops() -> None:
    """`send` where nothing waits ends the open turn and begins none."""
    chat = FakeChat()
    chat.say()

    assert stop(chat, "send") == StopAnswer(stopped=True, turn_id=1, sent=())
    assert (chat.effects, chat.open_turns) == ([Cancel("inv_1")], [1])
    chat.end(1, TurnStatus.INTERRUPTED)
    assert stop(chat, "send") == StopAnswer(stopped=False, sent=())
    assert (chat.effects, chat.open_turns, chat.session.last_turn_id) == ([], [], 1)


def test_send_mixes_held_and_waiting_in_order(chat: FakeChat) -> None:
    """`send` gives the next turn what is held and what waits in the order in which it was said."""
    hold(chat, "m3")
    chat.say(mode=Mode.QUEUE)

    assert stop(chat, "send").sent == ("m2", "m3", "m4", "m5")


@pytest.mark.parametrize("queue", ["withdraw", "hold", "send"])
@pytest.mark.parametrize("turn_id", [1, 5, 9])
def test_stop_of_another_turn_changes_nothing(chat: FakeChat, queue: WhatWaits, turn_id: int) -> None:
    """`stop` with the id of a turn that has ended, or never was, changes neither what waits nor what is held."""
    hold(chat, "m3")
    chat.end(1, TurnStatus.FAILED)
    chat.change(lambda c: c.heal())
    before = (chat.session, dict(chat.turns))

    answer = stop(chat, queue, turn_id)

    assert (answer.stopped, answer.turn_id, answer.withdrawn) == (False, None, ())
    assert not answer.held
    assert not answer.sent
    assert (chat.session, chat.turns, chat.effects) == (*before, [])


def test_send_of_a_queued_turn_changes_nothing(chat: FakeChat) -> None:
    """`send` with the id of a queued turn, which is to be sent anyway, changes nothing."""
    chat.change(lambda c: c.heal())
    before = (chat.session, dict(chat.turns))

    assert stop(chat, "send", 3) == StopAnswer(stopped=False, sent=())
    assert (chat.session, chat.turns, chat.effects) == (*before, [])


def test_withdraw_leaves_what_is_held(chat: FakeChat) -> None:
    """`stop` that withdraws what waits leaves what was set aside before."""
    hold(chat, "m3")

    assert stop(chat, "withdraw").withdrawn == ("m2", "m4")
    assert chat.held == ["m3"]


CROWDS = [crowd for size in range(4) for crowd in product((Mode.INCORPORATE, Mode.QUEUE, Mode.INTERRUPT), repeat=size)]


@pytest.mark.parametrize("ended", [False, True], ids=["ending", "ended"])
@pytest.mark.parametrize("then", ["resume", "send"])
@pytest.mark.parametrize("crowd", CROWDS, ids=lambda crowd: "-".join(mode[:3] for mode in crowd) or "alone")
def test_nothing_is_lost_by_a_stop_that_holds(crowd: tuple[Mode, ...], then: str, *, ended: bool) -> None:
    """Whatever waits where as `stop` holds it: it comes back complete, in order, and once."""
    chat = FakeChat()
    chat.say()
    waiting = [chat.say(mode=mode).message_id for mode in crowd]
    assert stop(chat, "hold").held == tuple(waiting)
    if ended:
        chat.end(1, TurnStatus.INTERRUPTED)
    if then == "resume":
        assert [receipt.message_id for receipt in resume(chat)] == waiting
    else:
        assert stop(chat, "send").sent == tuple(waiting)

    while chat.open_turns:
        turn_id = chat.open_turns[0]
        chat.begin(turn_id)
        chat.end(turn_id, TurnStatus.COMPLETED)

    assert [m for turn_id in sorted(chat.turns) for m in chat.heard(turn_id)] == ["m1", *waiting]


# hold, resume


def test_hold_sets_one_aside(chat: FakeChat) -> None:
    """A held message leaves its turn; a queued turn that had no other is withdrawn."""
    assert hold(chat, "m3")
    assert (chat.effects, chat.open_turns, chat.waiting, chat.held) == ([Cancel("inv_2")], [1, 3], ["m2", "m4"], ["m3"])

    assert hold(chat, "m2")
    assert (chat.effects, chat.waiting, chat.held) == ([], ["m4"], ["m2", "m3"])
    assert chat.take(1) == []


def test_hold_again_changes_nothing(chat: FakeChat) -> None:
    """Holding a message that is held is no error, and changes nothing."""
    hold(chat, "m3")
    before = chat.session

    assert hold(chat, "m3")
    assert (chat.session, chat.effects) == (before, [])


@pytest.mark.parametrize("message_id", ["m1", "unknown"])
def test_hold_of_what_does_not_wait_is_refused(chat: FakeChat, message_id: str) -> None:
    """A message that the agent has, or that never was, cannot be held."""
    before = (chat.session, dict(chat.turns))

    assert not hold(chat, message_id)
    assert (chat.session, chat.turns) == before


def test_hold_takes_back_an_early_run() -> None:
    """A message that an early run has been sent with is taken from it: that run is cancelled, and sent without it."""
    chat = FakeChat()
    chat.say()
    chat.say()
    chat.say(mode=Mode.INCORPORATE)

    assert hold(chat, "m2")

    assert [type(effect) for effect in chat.effects] == [Cancel, Start]
    assert (chat.waiting, chat.held) == (["m3"], ["m2"])
    assert [m.message_id for m in chat.sent["inv_4"].messages] == ["m3"]


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.REJECT])
def test_held_messages_stay_held(chat: FakeChat, mode: Mode) -> None:
    """A message of any mode leaves held ones where they are, on a busy chat and on an idle one."""
    hold(chat, "m3")
    chat.say(mode=mode)
    assert chat.held == ["m3"]
    stop(chat, "withdraw")
    chat.end(1, TurnStatus.INTERRUPTED)

    assert chat.say(mode=mode).decision is Decision.STARTED
    assert (chat.held, chat.waiting) == (["m3"], [])


def test_resume_gives_each_queued_message_a_turn() -> None:
    """`resume` goes on as it was before: a message of mode QUEUE begins a turn, others join the one in front."""
    chat = FakeChat()
    chat.session = Session(held=())
    chat.say()
    for mode in (Mode.INCORPORATE, Mode.STEER, Mode.QUEUE, Mode.QUEUE):
        chat.say(mode=mode)
    stop(chat, "hold")
    chat.end(1, TurnStatus.INTERRUPTED)

    receipts = resume(chat)

    assert [(r.message_id, r.turn_id, r.decision.value) for r in receipts] == [
        ("m2", 4, "started"),
        ("m3", 4, "started"),
        ("m4", 5, "queued"),
        ("m5", 6, "queued"),
    ]
    assert (chat.open_turns, chat.heard(4), chat.waiting) == ([4, 5, 6], ["m2", "m3"], ["m4", "m5"])


def test_resume_on_a_busy_chat_queues(chat: FakeChat) -> None:
    """While a turn is open `resume` neither ends nor steers it: the messages come behind all that is open."""
    hold(chat, "m2")

    assert resume(chat) == [Receipt(message_id="m2", turn_id=4, decision=Decision.QUEUED)]
    assert [type(effect) for effect in chat.effects] == [Start]
    assert chat.waiting == ["m3", "m4", "m2"]


def test_resumed_message_has_a_place_behind_the_others(chat: FakeChat) -> None:
    """A message that is resumed has the place of one that is sent now, also when all are held and sent."""
    for message_id in ("m2", "m4"):
        hold(chat, message_id)
    resume(chat, "m2")
    assert chat.waiting == ["m3", "m2"]

    stop(chat, "hold")

    assert chat.held == ["m3", "m4", "m2"]
    assert stop(chat, "send").sent == ("m3", "m4", "m2")


def test_resume_by_name(chat: FakeChat) -> None:
    """`resume` of some messages takes these, in order, and leaves the others; what is not held is left out."""
    stop(chat, "hold")

    assert [receipt.message_id for receipt in resume(chat, "m4", "unknown", "m1", "m2")] == ["m2", "m4"]
    assert chat.held == ["m3"]
    assert resume(chat, "unknown") == []
    assert chat.effects == []


# edit, withdraw, promote


def test_held_message_is_edited(chat: FakeChat) -> None:
    """A held message can be edited in place, and is sent as it was edited."""
    stop(chat, "hold")

    assert chat.change(lambda c: c.edit("m3", "better"))
    assert (chat.held, chat.effects) == (["m2", "m3", "m4"], [])
    stop(chat, "send")

    assert [m.content for m in chat.turns[4].pending] == ["m2", "better", "m4"]


def test_held_message_is_withdrawn(chat: FakeChat) -> None:
    """A held message that is withdrawn is gone."""
    stop(chat, "hold")

    assert chat.change(lambda c: c.edit("m3", None))
    assert chat.held == ["m2", "m4"]
    assert not chat.change(lambda c: c.edit("m3", "too late"))


def test_promoted_held_message_steers_the_open_turn(chat: FakeChat) -> None:
    """A held message that is promoted goes to the running turn, now, and the others stay held."""
    hold(chat, "m3")
    hold(chat, "m4")

    assert chat.change(lambda c: c.promote("m4"))

    assert chat.effects == [RingRun("inv_1", 2, steer=True, content="m4")]
    assert (chat.take(1), chat.held) == (["m2", "m4"], ["m3"])


@pytest.mark.parametrize("ended", [False, True], ids=["ending", "ended"])
def test_promoted_held_message_begins_a_turn(chat: FakeChat, *, ended: bool) -> None:
    """Where no turn is open but one that is ending, a held message that is promoted begins the next."""
    stop(chat, "hold")
    if ended:
        chat.end(1, TurnStatus.INTERRUPTED)

    assert chat.change(lambda c: c.promote("m4"))

    assert [effect.messages for effect in chat.effects if isinstance(effect, Start)] == [
        (messages("m4", mode=Mode.STEER)[0],)
    ]
    assert chat.held == ["m2", "m3"]


# What is counted and stored


def test_held_messages_count_as_waiting(chat: FakeChat) -> None:
    """What is held counts against the limit of what may wait."""
    hold(chat, "m3")
    assert chat.change(lambda c: c.waiting) == 3

    stop(chat, "hold")
    assert chat.change(lambda c: c.waiting) == 3


def test_only_what_holds_or_releases_changes_held(chat: FakeChat) -> None:
    """The copy of what is held is written by the changes that hold or release, and by no other."""
    changed = [chat.change(lambda c: (c.hold("m3"), c.changed_held)[1])]
    chat.say()
    changed += [
        chat.change(lambda c: (c.stop(None, "withdraw"), c.changed_held)[1]),
        chat.change(lambda c: (c.hold("m3"), c.changed_held)[1]),
        chat.change(lambda c: (c.resume(["m1"]), c.changed_held)[1]),
        chat.change(lambda c: (c.resume(None), c.changed_held)[1]),
    ]

    assert changed == [True, False, False, False, True]


def test_rejected_message_is_not_counted() -> None:
    """A message that is refused leaves no trace in the count of messages."""
    chat = FakeChat()
    chat.say()
    before = chat.session

    assert chat.say(mode=Mode.REJECT).decision is Decision.REJECTED
    assert (chat.session.received, before.received) == (1, 1)
