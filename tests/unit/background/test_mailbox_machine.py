"""The invariants of a mailbox under random starts, events, ends and runs that take, hand over, end and die whenever."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.background.event import AgentEvent
from app.background.mailbox.rules import Mailbox
from app.background.protocol import (
    Child,
    Close,
    Delivery,
    End,
    Handled,
    NextRun,
    Outcome,
    StartRequest,
    Status,
)
from app.errors import Conflict, NotFound
from tests.support.fake_mailbox import FakeMailbox, FakeRun

pytestmark = pytest.mark.invariant

DONE = Outcome(status=Status.COMPLETED, result=1)
CANCELLED = Outcome(status=Status.CANCELLED, failure="The agent was cancelled.")


class MailboxMachine(RuleBasedStateMachine):
    """What runs tell their mailbox is under way for a while: `box.mail` is delivered one by one, between other rules.

    Names of events count up over all lives of the agent, so that a lost, doubled or overtaken one shows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.box = FakeMailbox()
        self.names = 0
        self.accepted: list[str] = []  # of this life, in order
        self.queries = 0
        self.taken: list[str] = []  # by the runs of this life
        self.owed: set[str] = set()  # awakeables that somebody waits for
        self.children: set[str] = set()

    @property
    def status(self) -> Status | None:
        return self.box.record.status if self.box.record else None

    def _new(self, what: str) -> str:
        self.names += 1
        return f"{what}{self.names}"

    # What clients do. What is rarer shares a rule: most lives should come far.

    @rule(what=st.sampled_from(["query", "query_through_the_journal", "wait", "adopt", "disown"]))
    def something_beside(self, what: str) -> None:
        getattr(self, f"_{what}")()

    @rule(what=st.sampled_from(["die", "terminate", "cancel", "purge"]))
    def something_final(self, what: str) -> None:
        getattr(self, f"_{what}")()

    @rule(with_event=st.booleans(), waits=st.booleans())
    def start(self, with_event: bool, waits: bool) -> None:
        event = AgentEvent(name=self._new("e")) if with_event else None
        waiter = self._new("w") if waits else None
        was_running = self.status is Status.RUNNING
        try:
            started = self.box.change(
                lambda mailbox: mailbox.start(StartRequest(agent_name="Counter", event=event, waiter=waiter))
            )
        except Conflict:
            assert was_running
            return
        assert started is not was_running
        if started:
            self.accepted, self.taken, self.queries, self.children = [], [], 0, set()
            self.owed |= {waiter} if waiter else set()
        self.accepted += [event.name] if event else []

    @rule(waits=st.booleans(), times=st.integers(1, 3))
    def deliver(self, waits: bool, times: int) -> None:
        for _ in range(times):
            self._deliver("event", waits=waits)

    def _query_through_the_journal(self) -> None:
        self._deliver("state", waits=True)

    def _deliver(self, role: str, *, waits: bool) -> None:
        name, reply = self._new("e"), self._new("r") if waits else None
        delivery = Delivery(role="state" if role == "state" else "event", name=name, reply=reply)
        if self._accepts(lambda mailbox: mailbox.deliver(delivery)):
            self.accepted.append(name)
            self.queries += role == "state"
            self.owed |= {reply} if reply else set()

    def _query(self) -> None:
        """A query from memory waits for all that was accepted before, and changes nothing."""
        before = self.box.record
        with suppress(Conflict, NotFound):
            assert self.box.change(lambda mailbox: mailbox.open()).last_seq == len(self.accepted)
        assert self.box.record == before

    def _wait(self) -> None:
        waiter = self._new("w")
        with suppress(NotFound):
            self.box.change(lambda mailbox: mailbox.wait(waiter))
            self.owed.add(waiter)

    def _cancel(self) -> None:
        self._accepts(lambda mailbox: mailbox.cancel())

    def _terminate(self) -> None:
        self._accepts(lambda mailbox: mailbox.terminate())

    def _purge(self) -> None:
        if self.status not in (None, Status.RUNNING):
            self.box.purge()

    def _accepts(self, act: Callable[[Mailbox], object]) -> bool:
        try:
            self.box.change(act)
        except (Conflict, NotFound):
            closing = self.box.record is not None and self.box.record.closing
            assert self.status is not Status.RUNNING or closing
            return False
        return True

    def _adopt(self) -> None:
        child = self._new("c")
        self.box.change(lambda mailbox: mailbox.adopt(Child(agent_id=child)))
        self.children.add(child)

    def _disown(self) -> None:
        if not self.box.children:
            return
        child = self.box.children[0].agent_id
        self.box.change(lambda mailbox: mailbox.disown(child))
        self.children.discard(child)

    # What runs do, also those whose time is over

    def _runs(self, *, can_take: bool = False) -> list[FakeRun]:
        live = [run for run in self.box.runs if not run.dead]
        return [run for run in live if not run.leaving and run.taken + 1 in run.signals] if can_take else live

    @rule(data=st.data())
    @precondition(lambda self: self._runs(can_take=True))
    def take(self, data: st.DataObject) -> None:
        self._take(data.draw(st.sampled_from(self._runs(can_take=True))))

    def _take(self, run: FakeRun) -> None:
        run.taken += 1
        run.busy.append(run.taken)
        if run is self.box.run:
            self.taken.append(run.signals[run.taken].name)

    @rule()
    @precondition(lambda self: self.box.run is not None and self.box.run in self._runs(can_take=True))
    def work(self) -> None:
        """The current run takes and handles all that has arrived."""
        run = self.box.run
        assert run is not None
        while run.taken + 1 in run.signals:
            self._take(run)
        for seq in list(run.busy):
            self._handle(run, seq)

    @rule(data=st.data(), acknowledge=st.booleans())
    @precondition(lambda self: any(run.busy for run in self._runs()))
    def handle(self, data: st.DataObject, acknowledge: bool) -> None:
        run = data.draw(st.sampled_from([run for run in self._runs() if run.busy]))
        self._handle(run, data.draw(st.sampled_from(run.busy)), acknowledge=acknowledge)

    def _handle(self, run: FakeRun, seq: int, *, acknowledge: bool = False) -> None:
        run.busy.remove(seq)
        if (reply := run.signals[seq].reply) is not None:
            self.box.answered.setdefault(reply, f"answer {seq}")
        if acknowledge:
            through = min(run.busy) - 1 if run.busy else run.taken
            self.box.post(lambda mailbox: mailbox.handled(Handled(run_id=run.run_id, through=through)))

    def _at_work(self) -> list[FakeRun]:
        return [run for run in self._runs() if run.outcome is None and not run.leaving]

    def _ready_to_hand_over(self) -> list[FakeRun]:
        return [run for run in self._runs() if run.leaving and not run.busy]

    @rule(data=st.data())
    @precondition(lambda self: self._at_work())
    def continue_as_new(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self._at_work()))
        run.leaving = True
        if not run.busy:
            self._hand_over(run)

    @rule(data=st.data())
    @precondition(lambda self: self._ready_to_hand_over())
    def hand_over(self, data: st.DataObject) -> None:
        self._hand_over(data.draw(st.sampled_from(self._ready_to_hand_over())))

    def _hand_over(self, run: FakeRun) -> None:
        run.dead = True
        self.box.post(lambda mailbox: mailbox.next_run(NextRun(run_id=run.run_id, taken=run.taken, input=None)))

    @rule(data=st.data())
    @precondition(lambda self: self._at_work())
    def ask_to_close(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from([run for run in self._runs() if run.outcome is None and not run.leaving]))
        self._ask_to_close(run)

    def _ask_to_close(self, run: FakeRun) -> None:
        run.outcome = outcome = CANCELLED if run.cancelled else DONE
        taken, reply = run.taken, f"close {run.run_id}"
        for seq in list(run.busy):  # settled
            self._handle(run, seq)
        self.box.post(
            lambda mailbox: mailbox.close(Close(run_id=run.run_id, taken=taken, outcome=outcome, reply=reply))
        )

    @rule(data=st.data())
    @precondition(lambda self: self._at_the_end())
    def end(self, data: st.DataObject) -> None:
        self._end(data.draw(st.sampled_from(self._at_the_end())))

    def _at_the_end(self) -> list[FakeRun]:
        return [run for run in self._runs() if run.last is not None and run.taken >= run.last and not run.busy]

    def _end(self, run: FakeRun) -> None:
        run.dead = True
        outcome = run.outcome or DONE
        self.box.post(lambda mailbox: mailbox.end(End(run_id=run.run_id, outcome=outcome)))

    def _die(self) -> None:
        if runs := self._runs():
            self.box.kill(runs[-1])

    @rule()
    @precondition(lambda self: self.box.mail)
    def deliver_mail(self) -> None:
        self.box.change(self.box.mail.popleft())

    # What always holds

    @invariant()
    def events_are_taken_once_and_in_order(self) -> None:
        assert self.taken == self.accepted[: len(self.taken)]

    @invariant()
    def an_agent_ends_after_its_last_event(self) -> None:
        if self.status in (Status.COMPLETED, Status.CANCELLED):
            assert self.taken == self.accepted

    @invariant()
    def nothing_is_lost_for_the_next_run(self) -> None:
        """What the current run has not taken is stored, or on its way to it, until the agent has ended."""
        record = self.box.record
        if record is None or record.status is not Status.RUNNING:
            assert not self.box.events
            return
        assert [self.box.events[seq].name for seq in sorted(self.box.events)] == self.accepted[record.handled :]
        (current,) = [run for run in self.box.runs if run.run_id == record.run_id]
        assert sorted(current.signals) == list(range(current.after_seq + 1, record.last_seq + 1))

    @invariant()
    def counts_are_right(self) -> None:
        record = self.box.record
        if record is not None:
            assert (record.last_seq, record.queries) == (len(self.accepted), self.queries)

    @invariant()
    def who_waits_is_answered_by_the_end(self) -> None:
        if self.status is not Status.RUNNING:
            waiting = self.owed - set(self.box.answered)
            busy = {run.signals[seq].reply for run in self._runs() for seq in run.busy}
            assert waiting <= busy
            assert self.box.record is None or not self.box.record.waiters

    @invariant()
    def children_end_with_their_parent(self) -> None:
        if self.status is Status.RUNNING:
            assert {child.agent_id for child in self.box.children} <= self.children
        else:
            assert self.children <= set(self.box.stopped)
            assert not self.box.children

    def teardown(self) -> None:
        """Whatever happened: an agent whose runs go on ends, everybody is answered, and its id can be used again."""
        self._go_to_the_end()
        self.start(with_event=True, waits=True)
        self._go_to_the_end()
        assert self.status is Status.COMPLETED
        assert self.taken == self.accepted

    def _go_to_the_end(self) -> None:
        for _ in range(1000):
            if not self._step_to_the_end():
                break
        assert self.status is not Status.RUNNING
        assert self.owed <= set(self.box.answered)

    def _step_to_the_end(self) -> bool:
        """Do one thing that brings runs nearer to their end; return whether there was one."""
        if self.box.mail:
            self.deliver_mail()
            return True
        for run in self._runs():
            if run.doomed:
                self.box.kill(run)
            elif run.busy:
                self._handle(run, run.busy[0])
            elif run.leaving:
                self._hand_over(run)
            elif run.taken + 1 in run.signals:
                self._take(run)
            elif run.outcome is None:
                self._ask_to_close(run)
            elif run in self._at_the_end():
                self._end(run)
            else:
                raise AssertionError(f"{run} waits for ever")
            return True
        return False


MailboxMachine.TestCase.settings = settings(stateful_step_count=50)
TestMailboxMachine = MailboxMachine.TestCase
TestMailboxMachine.__doc__ = (
    "No event is lost, doubled or overtaken, nobody waits for ever, no id is stuck, whatever happens in which order."
)
