"""The stored state of one chat: its keys, and the conversation that they hold.

State is lazy: a handler reads the keys it needs, so its cost does not grow with the history. Sends nothing.
"""

from collections.abc import Iterable
from typing import Literal, TypeVar, cast

from pydantic import Field, ValidationError
from restate import ObjectContext, ObjectSharedContext, RestateDurableFuture
from restate.serde import BytesSerde, Serde

from app.errors import BrokenState, Conflict
from app.settings import Settings
from app.turns.compaction.fitting import estimate_tokens
from app.turns.compaction.summary import Summary
from app.turns.context import newest_turns
from app.turns.control import HeldMessages, Session
from app.turns.conversation import Conversation
from app.turns.protocol import Context, Receipt, UserMessage
from app.turns.reading.history import (
    LookRequest,
    approvals_of,
    entries_of,
    entries_of_held,
    entry_of_summary,
    usages_of,
    used,
)
from app.turns.reading.protocol import History, HistoryEntry, HistoryRequest
from app.turns.transcript import Turn, TurnStatus, without_thoughts
from app.values import Stored, problems_of

S = TypeVar("S", bound=Stored)

SESSION_KEY = "session"
HELD_KEY = "held"
SUMMARY_KEY = "summary"
IN_CONTEXT = (TurnStatus.COMPLETED, TurnStatus.INTERRUPTED, TurnStatus.FAILED, TurnStatus.LIMIT_REACHED)


class StoredReceipt(Stored):
    """The receipt of a message, and the text it was given for if the id is the client's."""

    receipt: Receipt
    content: str | None = None
    files: tuple[str, ...] = Field((), exclude_if=lambda files: not files)

    def again(self, message: UserMessage) -> Receipt:
        """Return the receipt for a message that is sent again.

        Errors: Conflict if it has another text, or other files.
        """
        if self.content is not None and (self.content, self.files) != (message.content, message.file_ids):
            raise Conflict(
                f"message_id {message.message_id!r} was used for another text; give every message an id of its own"
            )
        return self.receipt


def turn_key(turn_id: int | Literal[""]) -> str:
    return f"turn/{turn_id}"


def receipt_key(message_id: str) -> str:
    return f"message/{message_id}"


async def load(ctx: ObjectContext | ObjectSharedContext) -> Conversation:
    """Load the chat with all its open turns.

    Errors: BrokenState.
    """
    session = await load_session(ctx)
    ids = [turn.turn_id for turn in session.open]
    turns = await load_turns(ctx, ids) if session.turns is None else session.turns
    if missing := set(ids) - {turn.turn_id for turn in turns}:
        lost = min(missing)
        if session.turns is None:
            raise broken(ctx, turn_key(lost), "is missing, although this turn is open")
        raise broken(ctx, SESSION_KEY, f"lacks turn {lost}, although this turn is open")
    return Conversation(session if session.held is not None else await _with_held(ctx, session), turns)


async def _with_held(ctx: ObjectContext | ObjectSharedContext, session: Session) -> Session:
    """Add what was held when a version that does not know of it began to write `session`."""
    held = (await get(ctx, HELD_KEY, HeldMessages) or HeldMessages()).messages
    received = max([session.received, *(message.number for message in held)])
    return session.changed(held=held, received=received)


async def load_session(ctx: ObjectContext | ObjectSharedContext) -> Session:
    """Load the control data alone.

    Errors: BrokenState.
    """
    return await _checked(ctx, await get(ctx, SESSION_KEY, Session))


async def load_session_or_nothing(ctx: ObjectContext) -> Session:
    """Load the control data, and take what cannot be read for nothing."""
    stored = await cast("RestateDurableFuture[bytes | None]", ctx.get(SESSION_KEY, serde=BytesSerde()))
    try:
        return Session.model_validate_json(stored or b"{}")
    except ValidationError:
        return Session()


async def _checked(ctx: ObjectContext | ObjectSharedContext, session: Session | None) -> Session:
    """Refuse to begin at turn 1 where there are turns: it would write over them."""
    if session is not None and session.last_turn_id > 0:
        return session
    if any(key.startswith(turn_key("")) for key in await ctx.state_keys()):
        raise broken(ctx, SESSION_KEY, "is missing or empty, although there are turns")
    return session or Session(held=())


async def load_turns(ctx: ObjectContext | ObjectSharedContext, turn_ids: Iterable[int]) -> list[Turn]:
    """Load turns in one round trip, in the order of `turn_ids`; unknown ones are left out."""
    reads = [get(ctx, turn_key(turn_id), Turn) for turn_id in turn_ids]
    return [turn for read in reads if (turn := await read) is not None]


async def load_turn(ctx: ObjectContext, conversation: Conversation, turn_id: int) -> Turn | None:
    """Load a turn, open or closed; None if there is none of this number."""
    if (turn := conversation.turns.get(turn_id)) is not None or turn_id <= 0:
        return turn
    return next(iter(await load_turns(ctx, [turn_id])), None)


async def load_page(ctx: ObjectSharedContext, conversation: Conversation, page: HistoryRequest) -> History:
    """Load a page of the history, the last one also with what is held."""
    session = conversation.session
    end = min(page.before_turn or session.last_turn_id + 1, session.last_turn_id + 1)
    begin = max(1, end - page.limit)
    closed = await load_turns(ctx, [n for n in range(begin, end) if n not in conversation.turns])
    turns = {turn.turn_id: turn for turn in closed} | conversation.turns
    summary = await load_summary(ctx, session) if begin <= session.covered < end else None
    entries: list[HistoryEntry] = []
    for n in (n for n in range(begin, end) if n in turns):
        entries += entries_of(turns[n])
        if summary is not None and summary.covers == n:
            entries.append(entry_of_summary(summary, turns[n].status))
    held = entries_of_held(session) if end > session.last_turn_id else ()
    return History(
        entries=[*entries, *held],
        next_before_turn=begin if begin > 1 else None,
        approvals=approvals_of(conversation.turns.values()),
        turns=usages_of(turns[n] for n in range(begin, end) if n in turns),
        usage=used(session.usage),
    )


async def load_summary(ctx: ObjectContext | ObjectSharedContext, session: Session) -> Summary | None:
    """Load the summary that stands, None if there is none, or somebody has erased it."""
    summary = await get(ctx, SUMMARY_KEY, Summary) if session.covered else None
    return summary if summary is not None and summary.covers == session.covered else None


async def load_changed(ctx: ObjectSharedContext, conversation: Conversation, look: LookRequest) -> list[Turn]:
    """Load the turns that somebody who watches may not know as they are, in order: all open ones, and closed ones."""
    later = range(conversation.session.last_turn_id, look.after_turn or 0, -1)
    limit = 1 if look.after_turn is None else look.limit
    closed = await load_turns(ctx, [n for n in later if n not in conversation.turns][:limit])
    return sorted([*closed, *conversation.turns.values()], key=lambda turn: turn.turn_id)


def save(ctx: ObjectContext, conversation: Conversation) -> None:
    """Store what changed: what is open in one key, each turn that has closed in a key of its own."""
    for turn in conversation.closed:
        put(ctx, turn_key(turn.turn_id), turn)
    if (session := conversation.stored) is not None:
        put(ctx, SESSION_KEY, session)
    if conversation.changed_held:  # never read while `session` says what is held
        put(ctx, HELD_KEY, HeldMessages(messages=conversation.held))
    if conversation.new_summary is not None:
        put(ctx, SUMMARY_KEY, conversation.new_summary)


async def context_of(ctx: ObjectContext, conversation: Conversation, turn_id: int, settings: Settings) -> Context:
    """Return what the LLM sees at the start of a turn: the summary, the newest turns after it that fit, and its own."""
    summary = await load_summary(ctx, conversation.session)
    if summary is None and conversation.session.covered:
        conversation.without_summary()
    covered = 0 if summary is None else summary.covers
    earlier = range(max(1, covered + 1, turn_id - settings.context_turns), turn_id)
    loaded = await load_turns(ctx, [n for n in earlier if n not in conversation.turns])
    known = conversation.turns | {turn.turn_id: turn for turn in loaded}
    turns = [turn for n in earlier if (turn := known.get(n)) is not None and turn.status in IN_CONTEXT]
    budget = settings.context_tokens
    room = budget if summary is None else budget - estimate_tokens([summary.as_seen()])
    history = newest_turns([without_thoughts(turn.items) for turn in turns], room=room, budget_tokens=budget)
    return Context(
        history=tuple(map(tuple, history)),
        current=known[turn_id].items,
        turn_ids=tuple(turn.turn_id for turn in turns[len(turns) - len(history) :]),
        summary=summary,
    )


def get(ctx: ObjectContext | ObjectSharedContext, key: str, model: type[S]) -> RestateDurableFuture[S | None]:
    """Start to read one state key; reads that are started before the first is awaited share a round trip.

    Errors: BrokenState when it is awaited.
    """
    return cast("RestateDurableFuture[S | None]", ctx.get(key, serde=_StateSerde(ctx, key, model)))


def broken(ctx: ObjectContext | ObjectSharedContext, key: str, what: str) -> BrokenState:
    """Return the error that names a state key and says what to do."""
    return BrokenState(
        f"The state key {key!r} of chat {ctx.key()!r} {what}. Repair it in the Restate UI (ChatService, State), "
        "or erase the chat with `forget`"
    )


class _StateSerde(Serde[S | None]):
    """Reads what `put` has written, and names the key of what somebody else has."""

    def __init__(self, ctx: ObjectContext | ObjectSharedContext, key: str, model: type[S]) -> None:
        self._ctx = ctx
        self._key = key
        self._model = model

    def deserialize(self, buf: bytes) -> S | None:
        try:
            return self._model.model_validate_json(buf)
        except ValidationError as exc:
            raise broken(self._ctx, self._key, f"cannot be read ({problems_of(exc)})") from exc

    def serialize(self, obj: S | None) -> bytes:
        return b"" if obj is None else obj.model_dump_json().encode()


def put(ctx: ObjectContext, key: str, value: Stored) -> None:
    ctx.set(key, value)
