"""The routes of chats: what curl can do at Restate's ingress, for callers who may only reach their own chats.

Handlers decide; what they answer is passed on.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.text import clean_data
from app.turns.reading.protocol import HistoryRequest
from app.values import problems_of
from app.web.caller import caller_of, chat_of
from app.web.gateway import gateway_of
from app.web.ingress import NEW_MESSAGE, with_message_id
from app.web.listing import MAX_LISTED, list_chats, note_forgotten, require_room
from app.web.refusals import Refused
from app.web.waiting import MAX_WAIT_S, reply_to

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]

# Handlers that change a chat, each at POST /chats/{key}/<name>.
CHANGES = (
    "stop",
    "resume",
    "set_mode",
    "edit_queued_message",
    "hold_queued_message",
    "withdraw_queued_message",
    "promote_queued_message",
    "resolve_approval",
    "forget",
)


def routes() -> list[Route]:
    """Return the routes of chats."""
    return [
        Route("/me", who_am_i, methods=["GET"]),
        Route("/chats", chats, methods=["GET"]),
        Route("/chats/{key}", history, methods=["GET"]),
        Route("/chats/{key}/status", status, methods=["GET"]),
        Route("/chats/{key}/preview_rollback", preview_rollback, methods=["GET"]),
        Route("/chats/{key}/messages", send_message, methods=["POST"]),
        *(Route(f"/chats/{{key}}/{name}", _change(name), methods=["POST"]) for name in CHANGES),
    ]


async def who_am_i(request: Request) -> Response:
    """Say who the caller is, and which chat is theirs to begin with."""
    caller = caller_of(request)
    known = {"user": caller.user, "auth": caller.how, "default_chat": caller.default_chat}
    return JSONResponse(known | {"operator": caller.operator})


async def chats(request: Request) -> Response:
    """List the caller's chats, the newest first."""
    limit = _number(request, "limit", default=MAX_LISTED)
    if not 1 <= limit <= MAX_LISTED:
        raise Refused(400, f"limit={limit} is not from 1 to {MAX_LISTED}: older chats are not listed.")
    return JSONResponse({"chats": [chat.model_dump() for chat in await list_chats(caller_of(request), limit)]})


async def history(request: Request) -> Response:
    """Show turns of a chat, as get_chat_history does."""
    key = chat_of(request)
    try:
        page = HistoryRequest.model_validate(dict(request.query_params))
    except ValidationError as exc:
        raise Refused(400, f"Bad query. {problems_of(exc)}.") from exc
    asked = page.model_dump(exclude_none=True)
    return JSONResponse(await gateway_of(request).ingress.call(key, "get_chat_history", asked))


async def status(request: Request) -> Response:
    """Show the state of a chat, as get_status does."""
    return JSONResponse(await gateway_of(request).ingress.call(chat_of(request), "get_status"))


async def preview_rollback(request: Request) -> Response:
    """Show what a rollback would undo, as preview_rollback does."""
    return JSONResponse(await gateway_of(request).ingress.call(chat_of(request), "preview_rollback"))


async def send_message(request: Request) -> Response:
    """Send a message, as process_user_message does. With `?wait=30`, wait that many seconds for the reply.

    A client that goes away meanwhile stops nothing.
    """
    key, gateway = chat_of(request), gateway_of(request)
    wait_s = min(_number(request, "wait", default=0), MAX_WAIT_S)
    message = with_message_id(await body_of(request))
    await require_room(request, key)
    if not wait_s:
        return JSONResponse(await gateway.ingress.call(key, NEW_MESSAGE, message))
    async with gateway.stream(request):
        receipt = await gateway.ingress.call(key, NEW_MESSAGE, message)
        reply = await reply_to(gateway, key, receipt["message_id"], wait_s)
    return JSONResponse({**receipt, "reply": reply})


async def body_of(request: Request) -> Any:
    """Return the body, which is a JSON object. Errors: Refused (400)."""
    try:
        body = _parsed(await request.body())
    except (ValueError, RecursionError) as exc:
        raise Refused(400, f"The body is no JSON: {exc}. Send {{}} where there is nothing to say.") from exc
    if not isinstance(body, dict):
        raise Refused(400, "The body must be a JSON object: send {} where there is nothing to say.")
    return body


def _parsed(body: bytes) -> Any:
    """Return what JSON says. Half of an emoji, which browsers send as an escape, becomes U+FFFD as everywhere."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as exc:
        if "hex escape" not in str(exc):
            raise
        return clean_data(json.loads(body, parse_constant=_refuse))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _change(handler: str) -> Endpoint:
    async def change(request: Request) -> Response:
        key, body = chat_of(request), await body_of(request)
        if handler == "set_mode":  # which a chat that is not there yet has too
            await require_room(request, key)
        answer = await gateway_of(request).ingress.call(key, handler, body)
        if handler == "forget":
            note_forgotten(request, key)
        return JSONResponse({} if answer is None else answer)

    change.__doc__ = f"Call {handler} of a chat."
    return change


def _number(request: Request, name: str, *, default: int) -> int:
    """Return a number of the query. Errors: Refused (400)."""
    text = request.query_params.get(name, str(default))
    if text.startswith("-") and text[1:].isdecimal():
        raise Refused(400, f"{name}={text[:20]} must not be negative.")
    if not text.isdecimal() or len(text) > 9:
        raise Refused(400, f"{name}={text[:20]!r} is no whole number")
    return int(text)
