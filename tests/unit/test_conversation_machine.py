"""The invariants of a chat under random messages, changes and runs that begin, work, end and die at any moment."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.turns.approval.protocol import ApprovalRef, ResolveRequest
from app.turns.compaction.protocol import SummaryReport
from app.turns.control import Cancel, Decide, RingRun, Start
from app.turns.conversation import Conversation
from app.turns.modes import Decision, Mode
from app.turns.protocol import EndTurn, Report, TakeInput, TurnRef
from app.turns.transcript import Approval, AssistantItem, Resolution, TurnStatus, Verdict
from app.turns.waiting.protocol import WhatWaits
from tests.support.fake_chat import FakeChat

pytestmark = pytest.mark.invariant

modes = st.sampled_from(Mode)


@dataclass
class Run:
    """A run as the engine and its code know it; `heard` are the ids of the messages that its LLM has seen, `decided`
    how the approvals that it has asked for were resolved."""

    ref: TurnRef
    started: bool = False
    cancelled: bool = False
    rings: int = 0  # that have come
    taken: int = 0  # of which it has heard that their messages were taken
    heard: list[str] = field(default_factory=list)
    reported: int = 0
    decided: dict[str, Verdict] = field(default_factory=dict)

    @property
    def rung(self) -> bool:
        return self.rings > self.taken


class ChatMachine(RuleBasedStateMachine):
    """The engine is modelled by `queue`: runs and settlements of one key, one at a time, first come first served.

    A cancelled run that waits vanishes, one that runs is told. A killed one vanishes in either case, and so does a
    settlement that is killed. A probe is not in the queue: it finds out at once which runs are dead. A summary that was
    asked for comes at any later moment, or never; one that was replaced comes all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chat = FakeChat()
        self.queue: deque[Run | TurnRef] = deque()
        self.accepted: list[str] = []
        self.promoted: set[str] = set()
        self.withdrawn: set[str] = set()
        self.held: set[str] = set()  # until somebody says that they are to be sent
        self.answers = 0
        self.asked: list[str] = []  # the ids of all approvals that runs have asked for
        self.resolved_by_people: dict[str, Verdict] = {}

    # The engine

    @property
    def active(self) -> Run | None:
        first = self.queue[0] if self.queue else None
        return first if isinstance(first, Run) and first.started else None

    def _apply_effects(self) -> None:
        settlements = [self.chat.ref(turn_id) for turn_id in self.chat.watched]  # a ring changes the chat again
        probed = [self.chat.ref(turn_id) for turn_id in self.chat.probed]
        for effect in self.chat.effects:
            match effect:
                case Start(turn_id, messages):
                    self.queue.append(Run(self.chat.ref(turn_id), heard=[m.message_id for m in messages]))
                case Cancel(invocation_id):
                    self._cancel(invocation_id)
                case RingRun(invocation_id, number):
                    self._ring(invocation_id, number)
                case Decide(invocation_id, approval_id, resolution):
                    self._decide(invocation_id, approval_id, resolution)
        self.queue.extend(settlements)
        for ref in probed:
            if ref not in [job.ref for job in self.queue if isinstance(job, Run)]:
                self.chat.change(partial(Conversation.settle, ref=ref))
                self._apply_effects()

    def _cancel(self, invocation_id: str) -> None:
        for job in list(self.queue):
            if isinstance(job, Run) and job.ref.invocation_id == invocation_id:
                if job.started:
                    job.cancelled = True
                else:
                    self.queue.remove(job)

    def _ring(self, invocation_id: str, number: int) -> None:
        for job in self.queue:
            if isinstance(job, Run) and job.ref.invocation_id == invocation_id:
                assert number == job.rings + 1
                job.rings = number

    def _decide(self, invocation_id: str, approval_id: str, resolution: Resolution) -> None:
        for job in self.queue:
            if isinstance(job, Run) and job.ref.invocation_id == invocation_id:
                assert approval_id not in job.decided
                job.decided[approval_id] = resolution.verdict

    # What people do

    @rule(burst=st.lists(modes, min_size=1, max_size=4))
    def messages(self, burst: list[Mode]) -> None:
        """Several in a row, as chance seldom has it: what they make of each other is where the rules meet."""
        for mode in burst:
            self._say(mode)

    def _say(self, mode: Mode) -> bool:
        """Send a message as `process_user_message` does; return whether it was accepted."""
        receipt = self.chat.say(mode=mode)
        self._apply_effects()
        if receipt.decision is Decision.REJECTED:
            return False
        self.accepted.append(receipt.message_id)
        return True

    @rule(newest=st.booleans(), queue=st.sampled_from(["withdraw", "hold", "send"]), rollback=st.booleans())
    def stop(self, newest: bool, queue: WhatWaits, rollback: bool) -> None:
        turn_id = self.chat.open_turns[-1] if newest and self.chat.open_turns else None
        held, waiting = self.chat.held, self.chat.waiting
        answer = self.chat.change(lambda chat: chat.stop(turn_id, queue, rollback=rollback))
        self._apply_effects()
        self.withdrawn.update(answer.withdrawn)
        self.held.update(answer.held or ())
        if answer.sent:
            assert sorted(answer.sent) == sorted([*held, *waiting])
            order = [m for m in self.accepted if m in answer.sent and m not in self.promoted]
            assert [m for m in answer.sent if m not in self.promoted] == order
            self.held.clear()
            self._sent_now(answer.sent)

    @rule(data=st.data(), everything=st.booleans())
    def resume(self, data: st.DataObject, everything: bool) -> None:
        named = None if everything or not self.accepted else data.draw(st.sets(st.sampled_from(self.accepted)))
        expected = [m for m in self.chat.held if named is None or m in named]
        resumed = [receipt.message_id for receipt in self.chat.change(lambda chat: chat.resume(named))]
        self._apply_effects()
        assert resumed == expected
        self.held.difference_update(resumed)
        self._sent_now(resumed)

    def _sent_now(self, message_ids: Sequence[str]) -> None:
        """Those that were held come behind what was sent meanwhile, as if they were sent only now."""
        self.accepted = [*(m for m in self.accepted if m not in message_ids), *message_ids]

    @rule(data=st.data())
    @precondition(lambda self: self.accepted)
    def hold(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(self.accepted))
        if self.chat.change(lambda chat: chat.hold(message_id)):
            self.held.add(message_id)
        self._apply_effects()

    @rule(data=st.data())
    @precondition(lambda self: self.accepted)
    def withdraw(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(self.accepted))
        if self.chat.change(lambda chat: chat.edit(message_id, None)):
            self.withdrawn.add(message_id)
            self.held.discard(message_id)
        self._apply_effects()

    @rule(data=st.data())
    @precondition(lambda self: self.accepted)
    def promote(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(self.accepted))
        if self.chat.change(lambda chat: chat.promote(message_id)):
            self.promoted.add(message_id)
            self.held.discard(message_id)
        self._apply_effects()

    @rule(data=st.data(), verdict=st.sampled_from([Verdict.APPROVED, Verdict.REJECTED]))
    @precondition(lambda self: self.asked)
    def resolve(self, data: st.DataObject, verdict: Verdict) -> None:
        approval_id = data.draw(st.sampled_from(self.asked))
        request = ResolveRequest(call_id="c", approval_id=approval_id, decision="approve")

        def decide(chat: Conversation) -> bool:
            if (approval := chat.waiting_approval(request)) is None:
                return False
            chat.resolve_approval(approval, Resolution(verdict=verdict))
            chat.heal()
            return True

        if self.chat.change(decide):
            assert approval_id not in self.resolved_by_people
            self.resolved_by_people[approval_id] = verdict
        self._apply_effects()

    # What runs do

    @rule(twice=st.booleans())
    @precondition(lambda self: self.active)
    def ask(self, twice: bool) -> None:
        run = self.active
        assert run is not None
        approval = Approval(approval_id=f"{run.ref.turn_id}-{len(self.asked)}", call_id="c", name="pay", arguments="{}")
        self.asked.append(approval.approval_id)
        for _ in range(1 + twice):
            report = Report(**dict(run.ref), offset=run.reported, items=(), asks=(approval,))
            self.chat.change(lambda chat: chat.record(report))  # noqa: B023 - called at once
            self._apply_effects()

    @rule(data=st.data())
    @precondition(lambda self: self.active and self.asked)
    def expire(self, data: st.DataObject) -> None:
        """Time runs out: what the chat answers is what it has told, if it has told anything."""
        run = self.active
        assert run is not None
        mine = [approval_id for approval_id in self.asked if approval_id.startswith(f"{run.ref.turn_id}-")]
        if not mine:
            return
        approval_id = data.draw(st.sampled_from(mine))
        resolution = self.chat.change(lambda chat: chat.expire(ApprovalRef(**dict(run.ref), approval_id=approval_id)))
        self._apply_effects()
        if self._speaks(run):
            assert resolution.verdict is run.decided.get(approval_id, resolution.verdict)
            assert resolution.verdict is not Verdict.APPROVED or approval_id in self.resolved_by_people

    @rule()
    @precondition(lambda self: self.queue and self.active is None)
    def next_job(self) -> None:
        job = self.queue[0]
        if isinstance(job, TurnRef):
            self.queue.popleft()
            self.chat.change(lambda chat: chat.settle(job))
            self._apply_effects()
            return
        job.started = True
        if not job.heard:
            if not self.chat.change(lambda chat: chat.begin(job.ref)):
                self.queue.popleft()
                return
            job.heard = self.chat.heard(job.ref.turn_id)
            self._apply_effects()

    @rule(twice=st.booleans())
    @precondition(lambda self: self.active)
    def record(self, twice: bool) -> None:
        run = self.active
        assert run is not None
        report = Report(**dict(run.ref), offset=run.reported, items=(self._answer(),))
        run.reported += 1
        for _ in range(1 + twice):
            self.chat.change(lambda chat: chat.record(report))

    @rule()
    @precondition(lambda self: self.active and self.active.rung)
    def take(self) -> None:
        run = self.active
        assert run is not None
        taken = self.chat.change(lambda chat: chat.take(TakeInput(**dict(run.ref))))
        self._apply_effects()
        run.heard += [m.message_id for m in taken.messages]
        run.taken = max(run.taken, taken.rings)

    @rule(outcome=st.sampled_from([TurnStatus.COMPLETED, TurnStatus.FAILED, TurnStatus.LIMIT_REACHED]))
    @precondition(lambda self: self.active)
    def end(self, outcome: TurnStatus) -> None:
        assert self.active is not None
        self._end(self.active, outcome)

    @rule()
    @precondition(lambda self: self.active and self.active.cancelled)
    def end_cancelled(self) -> None:
        assert self.active is not None
        self._end(self.active, TurnStatus.INTERRUPTED)

    @rule()
    @precondition(lambda self: self.active and self.active.cancelled)
    def end_cancelled_with_work(self) -> None:
        """A run that could undo its work asks whether it must; if so, its turn is open until it ends once more."""
        run = self.active
        assert run is not None
        report = EndTurn(**dict(run.ref), offset=run.reported, items=(), outcome=TurnStatus.INTERRUPTED, may_undo=True)
        stopping = [turn.stopping for turn in self.chat.session.open if turn.invocation_id == run.ref.invocation_id]
        end = self.chat.change(lambda chat: chat.end(report))
        assert end.undo == (stopping == [TurnStatus.ROLLED_BACK])
        assert end.undo == (end.closed is None)
        if end.closed is not None:
            self.queue.popleft()
        self._apply_effects()

    @rule()
    @precondition(lambda self: self.active)
    def die(self) -> None:
        self.queue.popleft()

    @rule(data=st.data())
    @precondition(lambda self: self.queue)
    def die_waiting(self, data: st.DataObject) -> None:
        del self.queue[data.draw(st.integers(0, len(self.queue) - 1))]

    @rule()
    @precondition(lambda self: self.queue)
    def all_die(self) -> None:
        self.queue.clear()

    def _end(self, run: Run, outcome: TurnStatus) -> None:
        completed = outcome is TurnStatus.COMPLETED
        answers = (self._answer(),) if completed else ()
        fields = {"offset": run.reported, "items": answers, "outcome": outcome, "may_go_on": completed}
        sum_up = max(0, run.ref.turn_id - 1 - self.answers % 3)  # as far as a memory may be full
        report = EndTurn(**dict(run.ref), **fields, sum_up=sum_up, ended_at=self.answers * 500.0)
        run.reported += len(answers)
        end = self.chat.change(lambda chat: chat.end(report))
        if end.closed is not None:
            self.queue.popleft()
        run.heard += [m.message_id for m in end.messages]
        run.taken = max(run.taken, end.rings)
        self._apply_effects()

    def _answer(self) -> AssistantItem:
        self.answers += 1
        return AssistantItem(content=f"answer {self.answers}")

    # What sums up

    @rule(data=st.data(), text=st.sampled_from(["notes", "", None]))
    @precondition(lambda self: self.chat.summaries)
    def summary(self, data: st.DataObject, text: str | None) -> None:
        invocation_id = data.draw(st.sampled_from(self.chat.summaries))
        covers = data.draw(st.integers(0, self.chat.session.last_turn_id + 1))
        state = self.chat.session.summary
        asked = None if state is None else state.asked
        before = self.chat.summary
        report = SummaryReport(invocation_id=invocation_id, covers=covers, text=text)
        heard = self.chat.change(lambda chat: chat.keep_summary(report))
        self._apply_effects()
        assert heard == (asked is not None and asked.invocation_id == invocation_id)
        kept = heard and bool(text) and asked is not None and 0 < covers <= asked.up_to
        assert (self.chat.summary != before) <= kept
        assert not kept or (self.chat.summary is not None and self.chat.summary.covers == covers)

    # What always holds

    @invariant()
    def summary_is_of_closed_turns(self) -> None:
        """What an open turn becomes, rolled back for one, never touches a summary, made or in the making."""
        state = self.chat.session.summary
        if state is None:
            return
        asked = 0 if state.asked is None else state.asked.up_to
        assert all(turn_id > max(state.covers, asked) for turn_id in self.chat.open_turns)
        assert state.covers == (0 if self.chat.summary is None else self.chat.summary.covers)
        assert state.asked is None or state.asked.invocation_id == self.chat.summaries[-1]
        expected = self.chat.session.expected
        assert expected is None or expected.summary == state.covers

    @invariant()
    def no_message_is_lost_or_doubled(self) -> None:
        heard = [m for turn_id in self.chat.turns for m in self.chat.heard(turn_id)]
        assert sorted([*heard, *self.chat.waiting, *self.chat.held, *self.withdrawn]) == sorted(self.accepted)

    @invariant()
    def held_message_is_given_to_no_turn(self) -> None:
        assert set(self.chat.held) == self.held
        runs = [m for job in self.queue if isinstance(job, Run) and self._speaks(job) for m in job.heard]
        assert not self.held.intersection(runs)

    def _speaks(self, run: Run) -> bool:
        """Return whether the chat listens to a run: one that was recalled as it began is cancelled, and not heard."""
        return self.chat.is_open(run.ref) and not run.cancelled

    @invariant()
    def order_is_that_of_the_receipts(self) -> None:
        order = [m for n in sorted(self.chat.turns) for m in (*self.chat.heard(n), *self.chat.pending(n))]
        left_out = self.withdrawn | self.promoted
        assert [m for m in order if m not in left_out] == [m for m in self.accepted if m not in left_out | self.held]
        assert [m for m in self.chat.held if m not in left_out] == [
            m for m in self.accepted if m in self.held - left_out
        ]

    @invariant()
    def nothing_waits_for_approval_that_cannot_have_it(self) -> None:
        """A turn that ends, has ended, or has a message to read waits for no approval."""
        live = {turn.turn_id for turn in self.chat.session.open if turn.running and not turn.stopping}
        for turn in self.chat.turns.values():
            if any(approval.resolution is None for approval in turn.approvals):
                assert turn.turn_id in live
                assert not turn.pending

    @invariant()
    def only_people_approve(self) -> None:
        """What is approved a person has approved; what a person has said stays as it is."""
        resolved = {a.approval_id: a.resolution for turn in self.chat.turns.values() for a in turn.approvals}
        assert len(resolved) == sum(len(turn.approvals) for turn in self.chat.turns.values())
        for approval_id, resolution in resolved.items():
            said = self.resolved_by_people.get(approval_id)
            assert said is None or (resolution is not None and resolution.verdict is said)
            assert said is not None or resolution is None or resolution.verdict is not Verdict.APPROVED

    @invariant()
    def run_has_heard_what_was_decided(self) -> None:
        run = self.active
        if run is None or not self._speaks(run):
            return
        told = (Verdict.APPROVED, Verdict.REJECTED)
        approvals = self.chat.turns[run.ref.turn_id].approvals
        decided = {a.approval_id: a.resolution.verdict for a in approvals if a.resolution is not None}
        assert run.decided == {n: verdict for n, verdict in decided.items() if verdict in told}

    @invariant()
    def no_answer_appears_twice(self) -> None:
        texts = [i.content for t in self.chat.turns.values() for i in t.items if isinstance(i, AssistantItem)]
        assert len(texts) == len(set(texts))

    @invariant()
    def open_turns_fit_their_status(self) -> None:
        for turn in self.chat.session.open:
            status = TurnStatus.RUNNING if turn.running else TurnStatus.QUEUED
            assert self.chat.status(turn.turn_id) is status
            assert turn.running or not turn.stopping
            assert turn.invocation_id == self.chat.turns[turn.turn_id].invocation_id
            assert bool(turn.invocation_id) == turn.sent
        closed = [t for t in self.chat.turns.values() if t.turn_id not in self.chat.open_turns]
        assert not [t for t in closed if t.status in (TurnStatus.RUNNING, TurnStatus.QUEUED) or t.pending]
        assert self.chat.open_turns == sorted(self.chat.open_turns)

    @invariant()
    def only_the_first_open_turn_runs(self) -> None:
        assert not any(turn.running for turn in self.chat.session.open[1:])

    @invariant()
    def only_turns_behind_an_early_one_are_not_sent(self) -> None:
        sent = [turn.sent for turn in self.chat.session.open]
        assert sent == sorted(sent, reverse=True)
        assert all(sent[:2])
        assert all(sent) or self.chat.session.open[0].stopping
        assert not any(turn.early for turn in self.chat.session.open[2:])

    @invariant()
    def waiting_message_has_rung(self) -> None:
        run = self.active
        for turn in self.chat.session.open:
            if run is not None and turn.invocation_id == run.ref.invocation_id and turn.running and not turn.stopping:
                assert run.rung or not self.chat.pending(turn.turn_id)

    @invariant()
    def run_has_heard_what_its_turn_says(self) -> None:
        """One that was sent early has what waits for it, also when it runs before the chat knows that it does."""
        runs = {job.ref.invocation_id: job for job in self.queue if isinstance(job, Run)}
        for turn in self.chat.session.open:
            run = runs.get(turn.invocation_id)
            if run is not None and turn.early:
                assert run.heard == self.chat.pending(turn.turn_id)
            elif run is not None and run.started:
                assert run.heard == self.chat.heard(turn.turn_id)

    def teardown(self) -> None:
        """Whatever happened: the next message, in any mode, is accepted, and in the end every message was heard."""
        self._drain()
        mode = list(Mode)[len(self.accepted) % len(Mode)]
        accepted = self._say(mode)
        self._drain()
        if not accepted and not self._say(mode):
            raise AssertionError("a chat without a run refuses messages, although it was told of one")
        self._drain()
        self.chat.change(lambda chat: chat.resume(None))
        self._apply_effects()
        self._drain()
        assert self.chat.session.open == ()
        heard = [m for turn_id in self.chat.turns for m in self.chat.heard(turn_id)]
        assert sorted(heard) == sorted(set(self.accepted) - self.withdrawn)

    def _drain(self) -> None:
        for _ in range(1000):
            if not self.queue:
                return
            run = self.active
            if run is None:
                self.next_job()
            elif run.cancelled:
                self._end(run, TurnStatus.INTERRUPTED)
            elif run.rung:
                self.take()
            else:
                self._end(run, TurnStatus.COMPLETED)
        raise AssertionError("the runs of this chat never end")


ChatMachine.TestCase.settings = settings(stateful_step_count=40)
TestChatMachine = ChatMachine.TestCase
TestChatMachine.__doc__ = (
    "No message is lost, doubled or overtaken, and no chat is stuck, whatever happens in which order."
)
