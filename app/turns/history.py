"""A chat as a person reads it: its lines, and what is open.

Pure: no I/O, no Restate.
"""

from collections.abc import Iterator, Mapping

from app.turns.control import Session
from app.turns.modes import Mode
from app.turns.protocol import ChatStatus, HistoryEntry, OpenTurnStatus, WaitingMessage
from app.turns.transcript import AssistantItem, Item, Message, ToolItem, Turn, TurnStatus, UserItem


def entries_of(turn: Turn) -> Iterator[HistoryEntry]:
    """Yield the lines of a turn: what was said and done, what still waits, and why it failed if it did."""
    for item in turn.items:
        yield _entry(turn, item)
    for message in turn.pending:
        yield HistoryEntry(
            role="user",
            content=message.content,
            turn_id=turn.turn_id,
            status=TurnStatus.QUEUED,
            message_id=message.message_id,
        )
    if turn.error is not None:
        yield HistoryEntry(role="system", content=turn.error, turn_id=turn.turn_id, status=turn.status)


def entries_of_held(session: Session) -> Iterator[HistoryEntry]:
    """Yield the lines of the messages that wait for `resume`. They come behind those of all turns."""
    for held in session.held or ():
        yield HistoryEntry(
            role="user",
            content=held.message.content,
            turn_id=held.turn_id,
            status=TurnStatus.QUEUED,
            message_id=held.message.message_id,
            held=True,
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
            )
            for turn in session.open
        ],
        held=[_waiting(held.message) for held in session.held or ()],
    )


def _waiting(message: Message) -> WaitingMessage:
    return WaitingMessage(message_id=message.message_id, content=message.content, mode=message.mode)


def _entry(turn: Turn, item: Item) -> HistoryEntry:
    entry = {"role": item.kind, "content": item.content, "turn_id": turn.turn_id, "status": turn.status}
    match item:
        case UserItem():
            return HistoryEntry(**entry, message_id=item.message_id)
        case AssistantItem():
            calls = [call.model_dump() for call in item.tool_calls] or None
            return HistoryEntry(**entry, partial=item.finish.partial, tool_calls=calls)
        case ToolItem():
            return HistoryEntry(**entry, tool_call_id=item.call_id, outcome=item.outcome)
