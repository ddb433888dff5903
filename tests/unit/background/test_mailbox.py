"""The rules of one agent's mailbox, as a value: numbering, fencing, continue-as-new, the end, and families."""

from typing import get_type_hints

import pytest

from app.background.event import AgentEvent
from app.background.mailbox.control import (
    Answer,
    CancelRun,
    Forget,
    KillRun,
    Record,
    RecordChanges,
    Refuse,
    Signal,
    StartRun,
    StopChild,
    TellParent,
)
from app.background.mailbox.rules import Mailbox
from app.background.protocol import (
    Child,
    Close,
    Delivery,
    End,
    Handled,
    NextRun,
    Outcome,
    ParentClosePolicy,
    StartRequest,
    Status,
)
from app.errors import Conflict, NotFound

DONE = Outcome(status=Status.COMPLETED, result=1)
ADD = Delivery(role="event", name="add", input=1)


def running(**fields: object) -> Mailbox:
    """Return a mailbox whose agent runs as run-1."""
    mailbox = Mailbox("a", None)
    mailbox.start(StartRequest(agent_name="Counter", **fields))
    mailbox.started("run-1")
    mailbox.effects.clear()
    return mailbox


def signalled(mailbox: Mailbox) -> list[int]:
    return [effect.event.seq for effect in mailbox.effects if isinstance(effect, Signal)]


def test_start_sends_the_run_before_its_event() -> None:
    """Starting with an event sends the run first, so that the event finds it."""
    mailbox = Mailbox("a", None)
    assert mailbox.start(StartRequest(agent_name="Counter", event=AgentEvent(name="add")))
    kinds = [type(effect) for effect in mailbox.effects]
    assert kinds.index(StartRun) < kinds.index(Signal)


def test_events_are_numbered_in_order() -> None:
    """Each event gets the next number and goes to the run."""
    mailbox = running()
    assert [mailbox.deliver(ADD) for _ in range(3)] == [1, 2, 3]
    assert signalled(mailbox) == [1, 2, 3]


def test_running_id_is_taken() -> None:
    """A running agent cannot be started again, but with an event it gets that."""
    mailbox = running()
    with pytest.raises(Conflict, match="belongs to a Counter that is running"):
        mailbox.start(StartRequest(agent_name="Counter"))
    with pytest.raises(Conflict):
        mailbox.start(StartRequest(agent_name="Other", event=AgentEvent(name="add")))
    assert not mailbox.start(StartRequest(agent_name="Counter", event=AgentEvent(name="add")))
    assert signalled(mailbox) == [1]


def test_next_run_gets_what_was_not_taken() -> None:
    """Continue-as-new sends the new run exactly the events that the old one had not taken, in order."""
    mailbox = running()
    for _ in range(5):
        mailbox.deliver(ADD)
    record, events = mailbox.record, [effect.event for effect in mailbox.effects if isinstance(effect, Signal)]
    mailbox = Mailbox("a", record, events)
    mailbox.next_run(NextRun(run_id="run-1", taken=3, input={"x": 1}))

    assert mailbox.effects[0] == Forget(1, 3)
    start = mailbox.effects[1]
    assert isinstance(start, StartRun)
    assert (start.start.run_number, start.start.after_seq, start.start.input) == (2, 3, {"x": 1})
    assert signalled(mailbox) == [4, 5]


def test_a_cancellation_follows_the_agent_into_its_next_run() -> None:
    """An agent that was cancelled while it continued as new is cancelled in its next run."""
    mailbox = running()
    mailbox.cancel()
    mailbox.next_run(NextRun(run_id="run-1", taken=0, input=None))
    assert mailbox.effects[-1] == CancelRun()
    assert mailbox.effects.count(CancelRun()) == 2


def test_close_waits_for_accepted_events() -> None:
    """An agent with events that its run has not taken stays open for them, and takes no more."""
    mailbox = running()
    mailbox.deliver(ADD)
    mailbox.close(Close(run_id="run-1", taken=0, outcome=DONE, reply="r"))
    assert Answer("r", 1) in mailbox.effects
    with pytest.raises(Conflict, match="is ending"):
        mailbox.deliver(ADD)
    mailbox.end(End(run_id="run-1", outcome=DONE))
    assert mailbox.known().status is Status.COMPLETED


def test_close_ends_an_agent_without_pending_events() -> None:
    """An agent whose run has taken everything is closed at once, and who waits is told."""
    mailbox = running()
    mailbox.wait("w")
    mailbox.close(Close(run_id="run-1", taken=0, outcome=DONE, reply="r"))
    assert mailbox.effects == [Answer("r", None), Answer("w", DONE)]
    with pytest.raises(Conflict, match=r"has ended \(completed\)"):
        mailbox.deliver(ADD)


def test_other_runs_change_nothing() -> None:
    """What a run says that is not the current one is ignored."""
    mailbox = running()
    before = mailbox.record
    mailbox.next_run(NextRun(run_id="run-0", taken=0, input=None))
    mailbox.close(Close(run_id="run-0", taken=0, outcome=DONE, reply="r"))
    mailbox.end(End(run_id="run-0", outcome=DONE))
    mailbox.handled(Handled(run_id="run-0", through=9))
    mailbox.run_died("run-0")
    assert (mailbox.record, mailbox.effects) == (before, [])


def test_termination_refuses_who_waits() -> None:
    """Terminating kills the run and refuses the senders of events that are not handled."""
    mailbox = running()
    mailbox.deliver(ADD.model_copy(update={"reply": "sender"}))
    mailbox.events = [effect.event for effect in mailbox.effects if isinstance(effect, Signal)]
    mailbox.terminate()
    assert KillRun("run-1") in mailbox.effects
    assert Refuse("sender", "The agent was terminated.", 409) in mailbox.effects
    assert mailbox.known().status is Status.TERMINATED


def test_children_get_their_policy() -> None:
    """Children hear of the end of their parent; one that starts too late hears of it as well."""
    mailbox = running(parent_id="parent")
    child, gone = Child(agent_id="c"), Child(agent_id="d", policy=ParentClosePolicy.ABANDON)
    mailbox.adopt(child)
    mailbox.adopt(gone)
    mailbox.disown("d")
    mailbox.terminate()
    assert [effect for effect in mailbox.effects if isinstance(effect, StopChild)] == [StopChild(child)]
    assert TellParent("parent", None) in mailbox.effects
    mailbox.effects.clear()
    mailbox.adopt(child)
    assert mailbox.effects == [StopChild(child)]


def test_unknown_agent() -> None:
    """What is asked of an agent that never was is a 404."""
    with pytest.raises(NotFound, match="There is no agent with agent_id 'a'"):
        Mailbox("a", None).deliver(ADD)


def test_changes_are_fields_of_a_record() -> None:
    """What mypy takes as a change of a record is a field of it, of the same type."""
    fields = {name: field.annotation for name, field in Record.model_fields.items()}
    assert get_type_hints(RecordChanges).items() <= fields.items()
