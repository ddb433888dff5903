"""The routes of the OpenAI-compatible endpoint: models, and chat completions, streamed or not.

A message is sent to its chat, and the answer is read from there; a task goes to the LLM itself and leaves no trace.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from functools import partial, wraps
from typing import Any
from uuid import uuid4

from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.errors import AgentError
from app.llm import get_llm
from app.turns.protocol import Receipt
from app.turns.transcript import Approval, TurnStatus
from app.web.agui.following import Following
from app.web.agui.goal import MessageAnswered
from app.web.agui.stopping import stop_message
from app.web.agui.stream import joined, streamed
from app.web.caller import caller_of, require_chat
from app.web.chats import body_of
from app.web.gateway import gateway_of
from app.web.ingress import NEW_MESSAGE, encoded
from app.web.listing import require_room
from app.web.openai.answer import BETWEEN, AnswerText, Reasoning, answer_in
from app.web.openai.asking import asked_text
from app.web.openai.request import Asked, ChatCompletionRequest, as_items, last_said, read_asked, read_body
from app.web.openai.shapes import MODEL, Frame, error, finish_reason, models
from app.web.refusals import Refused
from app.web.uploads.parts import stored

FAILED = "The turn failed."
ENDING = "The service ends or starts again. The agent goes on by itself: ask again with the same message id."

logger = logging.getLogger("openai")

AskedOf = Callable[[Sequence[Approval]], str]
Endpoint = Callable[[Request], Awaitable[Response]]


def routes() -> list[Route]:
    """Return the routes of the endpoint."""
    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{id:path}", show_model, methods=["GET"]),
        Route("/v1/chat/completions", complete, methods=["POST"]),
    ]


def with_openai_errors(endpoint: Endpoint) -> Endpoint:
    """Answer errors of ours in OpenAI's shape."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except AgentError as exc:
            headers = dict(exc.headers) if isinstance(exc, Refused) else {}
            if exc.status not in (429, 503):  # OpenAI's clients repeat 409 and all of 5xx unless they are told
                headers["x-should-retry"] = "false"
            return JSONResponse(error(exc.status, exc.message), exc.status, headers=headers)

    return answer


async def list_models(_request: Request) -> Response:
    """List the agent as the one model."""
    return JSONResponse(models())


@with_openai_errors
async def show_model(request: Request) -> Response:
    """Show the agent as a model. Errors: Refused (404) for any other."""
    for model in models()["data"]:
        if model["id"] == request.path_params["id"]:
            return JSONResponse(model)
    raise Refused(404, f"There is no model {request.path_params['id'][:80]!r} here: the only one is {MODEL!r}.")


@with_openai_errors
async def complete(request: Request) -> Response:
    """Send the user's last message to its chat and answer with what the agent says to it; or do a task."""
    body = read_body(await body_of(request))
    asked = read_asked(request.headers, body.metadata)
    frame = Frame(model=body.model or MODEL)
    if asked.task is not None:
        return await _do_task(request, body, frame)
    key = _key_of(request, asked)
    await require_room(request, key)
    said = last_said(body)
    message: dict[str, Any] = {"content": said.text, "message_id": asked.message_id or uuid4().hex}
    if said.files:
        message["attachments"] = await stored(gateway_of(request).files, key, message["message_id"], said.files)
    if asked.mode is not None:
        message["mode"] = asked.mode
    async with AsyncExitStack() as held:
        following = await joined(request, key, AnswerText(message["message_id"]), held)
        leaving = Leaving(request, key, message["message_id"])
        receipt = Receipt.model_validate(await gateway_of(request).ingress.call(key, NEW_MESSAGE, message))
        await following.begin(MessageAnswered(receipt.message_id, receipt.turn_id))
        held.callback(leaving.let_go)
        asked_of = partial(asked_text, page=str(request.base_url), path=f"/chats/{encoded(key)}/resolve_approval")
        if body.stream:
            return streamed(request, _chunks(following, frame, body, leaving, asked_of), held)
        return await _whole(request, following, frame, leaving, receipt.message_id, asked_of)


class Leaving:
    """What happens when the client goes away before its answer is `complete`, also before it has begun."""

    _stopping: set[asyncio.Task[None]] = set()  # noqa: RUF012 - of the process: a task that nobody holds may vanish

    def __init__(self, request: Request, key: str, message_id: str) -> None:
        self._gateway = gateway_of(request)
        self._key = key
        self._message_id = message_id
        self.complete = False

    def let_go(self) -> None:
        """Stop the turn that has the message, and no other one, if the client has left and the setting says so."""
        gateway = self._gateway
        if not self.complete and gateway.settings.openai_stop_on_disconnect and not gateway.ending.is_set():
            task = asyncio.get_running_loop().create_task(self._stop())
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _stop(self) -> None:
        try:
            await stop_message(self._gateway.ingress, self._key, self._message_id)
        except AgentError as exc:
            logger.warning("Could not stop the turn of a client that has gone away: %s", exc.message)


async def _chunks(
    following: Following[str], frame: Frame, body: ChatCompletionRequest, leaving: Leaving, asked_of: AskedOf
) -> AsyncIterator[ServerSentEvent]:
    """Yield the answer piece by piece."""
    yield _sse(frame.chunk({"role": "assistant", "content": ""}))
    try:
        async with aclosing(following.told()) as told:
            async for text in told:
                yield _sse(frame.chunk({"reasoning_content" if isinstance(text, Reasoning) else "content": text}))
        leaving.complete = True
    except Exception:
        leaving.complete = True
        logger.exception("Bug in a streamed answer")
        yield _sse(error(500, "Internal error: the log of the service says more."))
        return
    end = following.end
    if end is None:
        yield _sse(error(503, ENDING))
    elif end.status is TurnStatus.FAILED:
        yield _sse(error(502, end.error or FAILED, str(end.status)))
    else:
        if end.asks:
            yield _sse(frame.chunk({"content": f"{BETWEEN}{asked_of(end.asks)}"}))
        yield _sse(frame.chunk({}, finish_reason(end.status)))
        if body.include_usage:
            yield _sse(frame.usage_chunk(end.usage))
    yield ServerSentEvent(data="[DONE]", sep="\n")


async def _whole(
    request: Request,
    following: Following[str],
    frame: Frame,
    leaving: Leaving,
    message_id: str,
    asked_of: AskedOf,
) -> Response:
    """Return the answer when it is complete, or a person is asked. Errors: Refused (502) if the turn failed."""
    reading = asyncio.ensure_future(_until_end(following))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((reading, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reading, gone):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
    if reading.cancelled():
        return Response(status_code=499)  # nobody reads it
    leaving.complete = True
    said = reading.result()
    end = following.end
    if end is None:
        raise Refused(503, ENDING)
    if end.status is TurnStatus.FAILED:
        raise Refused(502, end.error or FAILED)
    if end.asks:  # the record has the reply when its calls are over
        text = BETWEEN.join(each for each in (said, asked_of(end.asks)) if each)
        return JSONResponse(frame.whole(text, finish_reason(end.status), end.usage))
    text, reasoning = answer_in((await following.history()).entries, message_id)
    return JSONResponse(frame.whole(text, finish_reason(end.status), end.usage, reasoning))


async def _until_end(following: Following[str]) -> str:
    """Return what was said on the way."""
    async with aclosing(following.told()) as told:
        return "".join([text async for text in told if not isinstance(text, Reasoning)])


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _do_task(request: Request, body: ChatCompletionRequest, frame: Frame) -> Response:
    """Have the LLM itself answer the messages, as they are. Errors: LLMUnavailable, LLMRejected."""
    instructions, items = as_items(body)
    async with AsyncExitStack() as held:
        await held.enter_async_context(gateway_of(request).stream(request))
        reply = await get_llm().instructed(instructions).complete(items)
        if not body.stream:
            return JSONResponse(frame.whole(reply.item.content, "stop", reply.usage))
        chunks = [frame.chunk({"role": "assistant", "content": reply.item.content}), frame.chunk({}, "stop")]
        chunks += [frame.usage_chunk(reply.usage)] if body.include_usage else []
        return streamed(request, _in_one(chunks), held)


async def _in_one(chunks: list[dict[str, Any]]) -> AsyncIterator[ServerSentEvent]:
    for chunk in chunks:
        yield _sse(chunk)
    yield ServerSentEvent(data="[DONE]", sep="\n")


def _key_of(request: Request, asked: Asked) -> str:
    """Return the key of the chat. Of a user with a name it is behind that: ids of a client know nothing of users."""
    caller, chat_id = caller_of(request), asked.chat_id or ""
    return require_chat(request, chat_id if caller.owns(chat_id) else f"{caller.default_chat}:{chat_id}")


def _sse(content: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(data=json.dumps(content, ensure_ascii=False), sep="\n")
