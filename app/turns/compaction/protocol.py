"""What ChatService and ChatSummary say to each other, and what a chat's status says of its summary: shapes only.

Names of fields are stored in journals and known to clients: they change only with a migration note.
"""

from app.values import Absent, Stored


class SummaryStatus(Stored):
    """What became of the summary: the LLM sees one of the turns up to `up_to_turn` (0: none yet).

    `in_progress`: another one is being made. `problem` says why the last attempt failed. It is made again when turn
    `again_after_turn` has ended.
    """

    up_to_turn: int
    in_progress: bool
    problem: str | None = Absent
    again_after_turn: int | None = Absent


class SummaryRequest(Stored):
    """Input of ChatSummary: limits of the work, so that a changed setting cannot break its replay."""

    attempts: int
    context_tokens: int


class SummaryRef(Stored):
    """Names the invocation that sums up; what another one says changes nothing."""

    invocation_id: str


class WorkRequest(SummaryRef):
    """Asks what is to be summed up, in at most this many characters."""

    max_chars: int


class SummaryWork(Stored):
    """What is to be summed up: the summary so far and the lines of the turns after it, up to `covers`.

    Not `wanted`: the chat knows nothing of this invocation, or not yet.
    """

    wanted: bool = False
    notes: str = ""
    transcript: str = ""
    covers: int = 0


class SummaryReport(SummaryRef):
    """A summary of the turns up to `covers`; or without `text`, the `problem` why there is none."""

    covers: int = 0
    text: str | None = None
    problem: str | None = None
    made_at: float = 0.0
