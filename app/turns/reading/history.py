"""A chat as a person reads it: its lines, what is open, and the turns as those see them who watch.

Pure: no I/O, no Restate.
"""

from collections.abc import Iterable, Iterator, Mapping

from pydantic import Field

from app.turns.compaction.protocol import SummaryStatus
from app.turns.compaction.summary import Summary
from app.turns.control import Session
from app.turns.modes import Mode
from app.turns.reading.protocol import ChatStatus, HistoryEntry, OpenTurnStatus, TurnUsage, WaitingMessage
from app.turns.transcript import Approval, AssistantItem, Item, Message, ToolItem, Turn, TurnStatus, Usage, UserItem
from app.values import Absent, Input, Stored


class LookRequest(Input):
    """Which turns to look at: those after `after_turn` and all open ones; without it the newest closed one.

    Of more than `limit` closed ones the last. With `heal` dead runs of open turns are looked for, too.
    """

    after_turn: int | None = Field(None, ge=0)
    limit: int = Field(50, gt=0, le=200)
    heal: bool = True


class TurnView(Stored):
    """A turn as it is shown. Times are seconds since 1970. `approvals` are all that it has asked for."""

    turn_id: int
    status: TurnStatus
    mode: Mode
    entries: list[HistoryEntry]
    error: str | None = None
    usage: Usage = Usage()
    started_at: float | None = None
    ended_at: float | None = None
    approvals: list[Approval] | None = Absent


class Look(Stored):
    """What somebody who watches a chat must know of its record: the turns that may have changed, in order."""

    status: ChatStatus
    turns: list[TurnView]


def entries_of(turn: Turn) -> Iterator[HistoryEntry]:
    """Yield the lines of a turn: what was said and done, what still waits, and why it failed if it did."""
    for index, item in enumerate(turn.items):
        yield _entry(turn, index, item)
    for message in turn.pending:
        yield HistoryEntry(
            role="user",
            content=message.content,
            turn_id=turn.turn_id,
            status=TurnStatus.QUEUED,
            message_id=message.message_id,
            source=message.source,
            attachments=message.attachments or None,
        )
    if turn.error is not None:
        yield HistoryEntry(role="system", content=turn.error, turn_id=turn.turn_id, status=turn.status)


def entries_of_held(session: Session) -> Iterator[HistoryEntry]:
    """Yield the lines of the messages that wait for `resume`, behind those of all turns: they belong to none yet."""
    for message in session.held or ():
        yield HistoryEntry(
            role="user",
            content=message.content,
            turn_id=session.last_turn_id + 1,
            status=TurnStatus.QUEUED,
            message_id=message.message_id,
            held=True,
            source=message.source,
            attachments=message.attachments or None,
        )


def entry_of_summary(summary: Summary, status: TurnStatus) -> HistoryEntry:
    """Return the line of the summary, behind those of the last turn that it covers, which has this status."""
    return HistoryEntry(role="summary", content=summary.text, turn_id=summary.covers, status=status)


def approvals_of(turns: Iterable[Turn]) -> list[Approval] | None:
    """Return the tool calls of turns that wait to be approved, None without any."""
    return [each for turn in turns for each in turn.approvals if each.resolution is None] or None


def view_of(turn: Turn) -> TurnView:
    """Return a turn with all its lines."""
    return TurnView(
        turn_id=turn.turn_id,
        status=turn.status,
        mode=turn.mode,
        entries=list(entries_of(turn)),
        error=turn.error,
        usage=turn.usage,
        started_at=turn.started_at,
        ended_at=turn.ended_at,
        approvals=list(turn.approvals) or None,
    )


def status_of(session: Session, turns: Mapping[int, Turn], mode: Mode) -> ChatStatus:
    """Return what is open in a chat; `mode` is the service's, for a chat that has none of its own."""
    return ChatStatus(
        mode=session.mode or mode,
        busy=bool(session.open),
        last_turn_id=session.last_turn_id,
        open_turns=[
            OpenTurnStatus(
                turn_id=turn.turn_id,
                status=turns[turn.turn_id].status,
                stopping=turn.stopping is not None,
                invocation_id=turn.invocation_id,
                waiting=[_waiting(message) for message in turns[turn.turn_id].pending],
                waiting_for=turns[turn.turn_id].waiting_for,
                approvals=approvals_of([turns[turn.turn_id]]),
                usage=used(turns[turn.turn_id].usage),
            )
            for turn in session.open
        ],
        held=[_waiting(message) for message in session.held or ()],
        agents=list(session.agents) or None,
        summary=_summary_status(session),
        usage=used(session.usage),
    )


def _summary_status(session: Session) -> SummaryStatus | None:
    """Return what became of the summary, None where nothing is to be said of it."""
    state = session.summary
    if state is None:
        return None
    again = state.not_before if state.problem is not None else None
    return SummaryStatus(
        up_to_turn=state.covers,
        in_progress=state.asked is not None,
        problem=state.problem,
        again_after_turn=again,
    )


def used(usage: Usage) -> Usage | None:
    """Return what LLM calls used, None if there were none."""
    return usage if usage.calls else None


def usages_of(turns: Iterable[Turn]) -> list[TurnUsage] | None:
    """Return what those of these turns used that called the LLM, None without any."""
    return [TurnUsage(turn_id=turn.turn_id, usage=turn.usage) for turn in turns if turn.usage.calls] or None


def _waiting(message: Message) -> WaitingMessage:
    return WaitingMessage(
        message_id=message.message_id,
        content=message.content,
        mode=message.mode,
        source=message.source,
        attachments=message.attachments or None,
    )


def _entry(turn: Turn, index: int, item: Item) -> HistoryEntry:
    entry = {
        "role": item.kind,
        "content": item.content,
        "turn_id": turn.turn_id,
        "status": turn.status,
        "index": index,
    }
    match item:
        case UserItem():
            files = item.attachments or None
            return HistoryEntry(**entry, message_id=item.message_id, source=item.source, attachments=files)
        case AssistantItem():
            calls = [call.model_dump() for call in item.tool_calls] or None
            reasoning = item.thought.text if item.thought else None
            return HistoryEntry(**entry, partial=item.finish.partial, tool_calls=calls, reasoning=reasoning or None)
        case ToolItem():
            return HistoryEntry(**entry, tool_call_id=item.call_id, outcome=item.outcome)
