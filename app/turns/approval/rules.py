"""What becomes of tool calls that wait for approval: runs ask, people decide, time runs out.

Pure: no I/O, no Restate. What a message does to them is in `moves.py`.
"""

from app.turns.approval.protocol import ApprovalRef, ResolveAnswer, ResolveRequest
from app.turns.moves import Moves, rejected_by
from app.turns.protocol import Report
from app.turns.transcript import Approval, Resolution, Turn, Verdict

EXPIRED = Resolution(verdict=Verdict.EXPIRED)
WITHDRAWN = Resolution(verdict=Verdict.WITHDRAWN)


class Approvals(Moves):
    """The part of a conversation in which people decide about tool calls. A message never approves one."""

    def waiting_approval(self, request: ResolveRequest) -> Approval | None:
        """Return the approval that `request` names, if it waits."""
        turn = self.turns.get(turn_of(request.approval_id))
        approval = None if turn is None else _found(turn, request)
        return None if approval is None or approval.resolution is not None else approval

    def resolve_approval(self, approval: Approval, resolution: Resolution) -> ResolveAnswer:
        """Resolve an approval that waits, and tell the run."""
        self._resolve(turn_of(approval.approval_id), resolution, approval.approval_id)
        return ResolveAnswer(result="applied", resolution=resolution)

    def expire(self, ref: ApprovalRef) -> Resolution:
        """Let an approval expire that nobody has resolved; return how it was resolved."""
        if self._known_run(ref) is None:
            return WITHDRAWN
        self._resolve(ref.turn_id, EXPIRED, ref.approval_id)
        found = [each.resolution for each in self.turns[ref.turn_id].approvals if each.approval_id == ref.approval_id]
        return found[0] if found and found[0] is not None else EXPIRED

    def _ask(self, report: Report) -> None:
        """Have people asked what a run asks. If a message has come before, that is the answer."""
        turn = self.turns[report.turn_id]
        known = {approval.approval_id for approval in turn.approvals}
        fresh = [approval for approval in report.asks if approval.approval_id not in known]
        if not fresh:
            return
        self._change(turn.turn_id, approvals=(*turn.approvals, *fresh))
        if self._open(turn.turn_id).stopping:
            self._resolve(turn.turn_id, WITHDRAWN)
        elif turn.pending:
            self._resolve(turn.turn_id, rejected_by(turn.pending[0]))


def turn_of(approval_id: str) -> int:
    """Return the turn that an approval belongs to, 0 for what is no id of one."""
    number = approval_id.partition("-")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0


def settled_before(turn: Turn | None, request: ResolveRequest) -> ResolveAnswer:
    """Return what is said of an approval that does not wait; `turn` is the one of it."""
    approval = None if turn is None else _found(turn, request)
    if approval is None:
        return ResolveAnswer(result="unknown")
    return ResolveAnswer(result="already_resolved", resolution=approval.resolution)


def _found(turn: Turn, request: ResolveRequest) -> Approval | None:
    ids = (request.call_id, request.approval_id)
    return next((each for each in turn.approvals if (each.call_id, each.approval_id) == ids), None)
