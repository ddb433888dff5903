"""The list of a caller's chats, and whether there may be one more, by SQL on what Restate stores.

Only reads. What a caller sends never becomes part of SQL but as a literal.
"""

import asyncio
import re
import time
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import HTTPConnection

from app.engine.admin import query, quoted
from app.text import shorten
from app.turns.addresses import CHAT_SERVICE
from app.turns.store import SESSION_KEY, turn_key
from app.web.caller import Caller, caller_of
from app.web.gateway import gateway_of
from app.web.refusals import Refused

MAX_LISTED = 200
MAX_LOOKED_AT = 2000  # chats of one caller among which the newest are found: the first by key
_TITLE_CHARS = 80
_BEGINNING = 4000  # characters of a turn that are read for the title
_FRESH_S = 1.0
_KNOWN_S = 60.0  # a chat that was there, or was let in, is not looked for again; another process may have erased it
_KEPT = 1000


class ListedChat(BaseModel):
    """A chat in the list. `title` is the beginning of its first message."""

    key: str
    last_turn_id: int
    busy: bool
    title: str


_answers: dict[str, tuple[float, list[ListedChat]]] = {}
_asking = asyncio.Semaphore(2)  # each looks at all that is stored


async def list_chats(caller: Caller, limit: int) -> list[ListedChat]:
    """Return the chats of a caller: open ones first, then by the time of their last turn. Errors: AdminUnavailable."""
    known = _answers.get(caller.name)
    if known is None or time.monotonic() - known[0] > _FRESH_S:
        async with _asking:
            known = time.monotonic(), await _asked(caller)
        if len(_answers) >= _KEPT:
            _answers.clear()
        _answers[caller.name] = known
    return known[1][:limit]


_known: dict[str, dict[str, float]] = {}  # the chats of users, and when each was seen or let in


async def require_room(request: HTTPConnection, key: str) -> None:
    """Check that `key` is a chat of the caller's, or may become one. Who has not signed in may have any number.

    Errors: Refused (429), AdminUnavailable.
    """
    caller, limit = caller_of(request), gateway_of(request).settings.max_chats_per_user
    if not limit or caller.user is None:
        return
    if key in _known_of(caller):
        return
    async with _asking:
        stored = {row["service_key"] for row in await query(_keys_of(caller, key, limit))}
    known = _known_of(caller)  # others may have come meanwhile
    if key not in stored and len(stored.union(known)) >= limit:
        raise Refused(
            429,
            f"You have {len(stored.union(known))} chats, the limit is {limit} (MAX_CHATS_PER_USER): write in one of "
            "them, or forget one first.",
        )
    if len(_known) >= _KEPT:
        _known.clear()
    _known[caller.name] = {**known, key: time.monotonic()}


def note_forgotten(request: HTTPConnection, key: str) -> None:
    """Note that a chat is there no more."""
    _known.get(caller_of(request).name, {}).pop(key, None)


def _known_of(caller: Caller) -> dict[str, float]:
    now = time.monotonic()
    return {key: at for key, at in _known.get(caller.name, {}).items() if now - at < _KNOWN_S}


async def _asked(caller: Caller) -> list[ListedChat]:
    rows = await query(_sessions_of(caller))
    sessions = {row["service_key"]: from_json(row["value_utf8"]) for row in rows}
    sessions = {key: session for key, session in sessions.items() if session.get("last_turn_id")}
    if not sessions:
        return []
    turns = await query(_turns_of(sessions))
    found = {(row["service_key"], row["key"]): row for row in turns}
    ended = {key: _ended_at(key, session, found) for key, session in sessions.items()}
    unknown = [key for key, session in sessions.items() if ended[key] is None and not session.get("open")]
    if unknown:
        ended |= {row["service_key"]: float(row["ended_at"]) for row in await query(_runs_of(unknown))}
    order = sorted(sessions, key=lambda key: (not sessions[key].get("open"), -(ended[key] or 0.0), key))
    return [_listed(key, sessions[key], found) for key in order[:MAX_LISTED]]


def _sessions_of(caller: Caller) -> str:
    """Return the SQL for the sessions of a caller."""
    return (
        f"SELECT service_key, value_utf8 FROM state WHERE service_name = '{CHAT_SERVICE}' AND key = '{SESSION_KEY}'"  # noqa: S608 - quoted
        f"{_mine(caller)} ORDER BY service_key LIMIT {MAX_LOOKED_AT}"
    )


def _keys_of(caller: Caller, first: str, limit: int) -> str:
    """Return the SQL for so many keys of a caller's chats, among them `first` if it is one."""
    return (
        f"SELECT service_key FROM state WHERE service_name = '{CHAT_SERVICE}' AND key = '{SESSION_KEY}'"  # noqa: S608 - quoted
        f"{_mine(caller)} ORDER BY service_key = {quoted(first)} DESC LIMIT {limit}"
    )


def _mine(caller: Caller) -> str:
    """Return the condition that a chat is the caller's."""
    if caller.user is None:
        return ""
    own = caller.default_chat
    return f" AND (service_key = {quoted(own)} OR starts_with(service_key, {quoted(own + ':')}))"


def _turns_of(sessions: dict[str, Any]) -> str:
    """Return the SQL for what the list needs of turns: the beginning of the first one, and when the last one began."""
    keys = ", ".join(map(quoted, sessions))
    newest = sorted({turn_key(session["last_turn_id"]) for session in sessions.values()} | {turn_key(1)})
    return (
        f"SELECT service_key, key, substr(value_utf8, 1, {_BEGINNING}) AS beginning, "  # noqa: S608 - quoted
        "substr(value_utf8, greatest(length(value_utf8) - 200, 1)) AS rest "
        f"FROM state WHERE service_name = '{CHAT_SERVICE}' AND service_key IN ({keys}) "
        f"AND key IN ({', '.join(map(quoted, newest))})"
    )


def _runs_of(keys: list[str]) -> str:
    """Return the SQL for when chats were last active, for as long as Restate keeps their invocations.

    A turn that ended before any LLM call does not know when that was: handlers have no clock.
    """
    return (
        "SELECT target_service_key AS service_key, max(to_unixtime(modified_at)) AS ended_at "  # noqa: S608 - quoted
        f"FROM sys_invocation WHERE target_service_name = '{CHAT_SERVICE}' "
        f"AND target_service_key IN ({', '.join(map(quoted, keys))}) GROUP BY target_service_key"
    )


def _ended_at(key: str, session: Any, found: dict[tuple[str, str], Any]) -> float | None:
    """Return when the last turn of a chat ended, as far as it knows."""
    row = found.get((key, turn_key(session["last_turn_id"])), {})
    times = re.findall(r'"ended_at":\s*([0-9.]+)', row.get("rest", ""))
    return float(times[-1]) if times else None


def _listed(key: str, session: Any, found: dict[tuple[str, str], Any]) -> ListedChat:
    row = found.get((key, turn_key(1)))
    turn = from_json(row["beginning"], allow_partial="trailing-strings") if row else (session.get("turns") or [{}])[0]
    return ListedChat(
        key=key, last_turn_id=session["last_turn_id"], busy=bool(session.get("open")), title=_title_of(turn)
    )


def _title_of(turn: Any) -> str:
    """Return the beginning of the first message of a turn, on one line."""
    said = [item for item in (*turn.get("items", ()), *turn.get("pending", ())) if item.get("kind", "user") == "user"]
    words = " ".join(str(said[0].get("content", "")).split()) if said else ""
    if said and not words:
        words = ", ".join(str(file.get("name", "")) for file in said[0].get("attachments", ()))
    return words if len(words) <= _TITLE_CHARS else shorten(words, _TITLE_CHARS).partition("… (")[0] + "…"
