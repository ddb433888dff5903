"""When a chat has earlier turns summed up, which summary it keeps, and when it tries again.

Pure: no I/O, no Restate. A summary is of turns that have closed: what becomes of later ones does not touch it.
"""

from app.turns.compaction.protocol import SummaryReport
from app.turns.compaction.summary import Summary
from app.turns.control import Cancel, SummaryAsked, SummaryState, SumUp
from app.turns.moves import Moves

LOST_AFTER_S = 1800.0  # longer than all attempts take: its invocation was killed by hand, or did not fit changed code
LONGEST_PAUSE = 32  # turns, after one failure after the other
MAX_PROBLEM_CHARS = 300


class SumsUp(Moves):
    """The part of a conversation that gets too long. `new_summary` is the one that this change keeps."""

    new_summary: Summary | None = None

    def keep_summary(self, report: SummaryReport) -> bool:
        """Keep the summary that was asked for; False for one that nobody waits for: the chat was forgotten, or has
        asked again. Without a text it has failed, and is asked for again after some turns."""
        state = self.session.summary or SummaryState()
        asked = state.asked
        if asked is None or asked.invocation_id != report.invocation_id:
            return False
        state = state.changed(asked=None)
        if not report.text or not 0 < report.covers <= asked.up_to or self._is_open(report.covers):
            pause = min(2**state.failures, LONGEST_PAUSE)
            problem = (report.problem or "The summary does not fit the chat.")[:MAX_PROBLEM_CHARS]
            again = self.session.last_turn_id + pause
            self._set(summary=state.changed(failures=state.failures + 1, not_before=again, problem=problem))
            return True
        self.new_summary = Summary(covers=report.covers, text=report.text, made_at=report.made_at)
        self._set(summary=SummaryState(covers=report.covers))
        self._sum_up(asked.up_to, report.made_at)  # what was too much for one request
        return True

    def summary_sent(self, invocation_id: str) -> None:
        """Note the invocation that sums up."""
        state = self.session.summary
        if state is not None and state.asked is not None:
            self._set(summary=state.changed(asked=state.asked.changed(invocation_id=invocation_id)))

    def without_summary(self) -> None:
        """Go on without the summary: somebody has erased it. The turns are still there."""
        self._set(summary=None)

    def _sum_up(self, up_to: int, now_s: float) -> None:
        """Have the turns up to this one summed up, if that is not done, and not to be left for later.

        `now_s` is in seconds since 1970, and may be a little in the past.
        """
        state = self.session.summary or SummaryState()
        if up_to <= state.covers or self._is_open(up_to) or self.session.last_turn_id < state.not_before:
            return
        if state.asked is not None and now_s - state.asked.asked_at < LOST_AFTER_S:
            return
        self._cancel_summary()
        self.effects.append(SumUp())
        self._set(summary=state.changed(asked=SummaryAsked(up_to=up_to, asked_at=now_s)))

    def _cancel_summary(self) -> None:
        """Cancel the summary that is being made."""
        asked = None if self.session.summary is None else self.session.summary.asked
        if asked is not None and asked.invocation_id:
            self.effects.append(Cancel(asked.invocation_id))

    def _is_open(self, turn_id: int) -> bool:
        """Return whether this turn, or one before it, is open."""
        return any(turn.turn_id <= turn_id for turn in self.session.open)
