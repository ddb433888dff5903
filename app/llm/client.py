"""The client of the LLM: one streamed request per call, of Chat Completions or the Responses API.

Never retries: retries are durable, and made by who calls it. Only what a server refuses to read it asks without, once.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from dataclasses import dataclass

import httpx2
from openai import APIStatusError, AsyncOpenAI, OpenAIError

from app.errors import FilesUnavailable, LLMError, LLMLimited, LLMRejected, LLMUnavailable, ReplyTooLong
from app.llm.allowance import NO_LIMIT, Allowance, Place, Rates
from app.llm.chat_api import ChatRequest
from app.llm.draft import Draft, Tell
from app.llm.failures import Endpoint, place_of, reported_error, to_llm_error
from app.llm.manners import Manners
from app.llm.pace import Pace
from app.llm.parts import REFUSED, Read, has_files, sent_as_they_are, turned_down, with_files
from app.llm.reply import Reply
from app.llm.responses_api import ResponsesRequest
from app.llm.sse import Event, EventStream
from app.llm.wire import ToolSpec
from app.turns.compaction.fitting import CHARS_PER_TOKEN, estimate_tokens
from app.turns.transcript import AssistantItem, Finish, Item, Usage

logger = logging.getLogger("llm")

DONE = "[DONE]"
REST_S = 5.0  # from the finish_reason to the usage and the end of the stream; the reply is complete without them
GOODBYE_S = 0.2  # from [DONE] to the end of the body, which lets the connection be used again
SILENCES = 10  # of timeout_s each, in which a server that only keeps the connection alive must have sent a chunk
BYTES_PER_CHAR = 500  # of a stream: a chunk of 400 bytes for every token is usual
BYTES_PER_EVENT_CHAR = 12  # an emoji as two escapes
SPARE_BYTES = 1_000_000  # for what is no text; in all, and in one event


@dataclass(frozen=True)
class CallLimits:
    """What the calls may take.

    Units: one call has `timeout_s` seconds of silence, `max_reply_chars` characters of text and tool calls, and waits
    `max_retry_after_s` seconds if the server asks for it. `max_connections` calls run at the same time, `rates` says
    how many begin in a minute.
    """

    timeout_s: float
    max_reply_chars: int
    max_connections: int
    max_retry_after_s: float
    rates: Rates = NO_LIMIT


async def _nothing(_file_id: str) -> None:
    """Read no file: each is told to be gone."""


class LLM:
    """An LLM behind an OpenAI-compatible server. Belongs to one event loop."""

    def __init__(
        self,
        client: AsyncOpenAI,
        *,
        model: str,
        instructions: str,
        limits: CallLimits,
        responses: bool = False,
        read_file: Read = _nothing,
    ) -> None:
        self._client = client
        self._model = model
        self._instructions = instructions
        self._limits = limits
        self._request = ResponsesRequest if responses else ChatRequest
        self._read_file = read_file
        self._turned_down: set[str] = set()  # files that the server did not take
        self._manners = Manners()
        self._pace = Pace()
        self._places = asyncio.Semaphore(limits.max_connections)
        self._allowance = Allowance(limits.rates) if limits.rates.requests or limits.rates.tokens else None
        address = client.base_url.copy_with(userinfo=b"", query=None)  # its other parts may be secret
        self._endpoint = Endpoint(
            server=str(address),
            model=model,
            secret=client.api_key,
            max_retry_after_s=limits.max_retry_after_s,
        )
        maker = f"{self._request.__name__} {address} {model}"
        self._maker = hashlib.blake2b(maker.encode(), digest_size=8).hexdigest()

    async def complete(
        self,
        items: Sequence[Item],
        tools: Sequence[ToolSpec] = (),
        on_text: Tell | None = None,
        on_thought: Tell | None = None,
        *,
        caller: str = "",
    ) -> Reply:
        """Ask the LLM to go on after `items` and return its reply.

        `on_text` is given each piece of text as it arrives, `on_thought` what the LLM thinks; they must not raise.
        When the awaiting task is cancelled, the request is aborted at once and the reply is what had arrived, with
        `finish` ABORTED. A reply that was complete by then stays complete. The cancellation is swallowed, but stays
        visible as `Task.cancelling()`.
        Errors: LLMUnavailable, LLMRejected, ReplyTooLong. Each says what happened in a sentence for the user of the
        chat, and has the text that had arrived. LLMLimited if the call must wait; a `caller` with a name is expected
        again then, when the time has come that it says. One without waits here first.
        """
        if has_files(items):
            try:
                items = await self._with_files(items)
            except asyncio.CancelledError:
                now = time.time()
                return Reply(item=AssistantItem(finish=Finish.ABORTED), usage=Usage(), started_at=now, ended_at=now)
        request = self._request(items, tools, self._instructions, manners=self._manners, maker=self._maker)
        draft = request.draft(on_thought, self._limits.max_reply_chars)
        place: Place | None = None
        try:
            if self._allowance is not None:
                place = await self._enter(self._allowance, caller, items, tools)
            async with (
                self._place(),
                asyncio.timeout(SILENCES * self._limits.timeout_s) as patience,
                self._answer(request, items, tools) as answer,
            ):
                with self._pace.reading(answer.extensions.get("network_stream"), lambda: draft.finished):
                    await self._read(answer, draft, patience, on_text)
            return self._counted(draft.complete(), place)
        except asyncio.CancelledError:
            return draft.abort()
        except LLMLimited:
            raise
        # A ValueError is a chunk that cannot be decoded, a RecursionError one that is nested without end.
        except (LLMError, OpenAIError, httpx2.HTTPError, TimeoutError, ValueError, RecursionError) as exc:
            if draft.finished and not isinstance(exc, ReplyTooLong):
                return self._counted(draft.complete(), place)
            error = to_llm_error(exc, self._endpoint, begun=draft.begun)
            logger.warning("LLM call failed at %s: %s", place_of(exc, self._endpoint), error.message)
            error.text = draft.text[: self._limits.max_reply_chars]
            raise self._about_files(error, items) from exc

    async def _with_files(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return `items` with their files. Errors: LLMUnavailable where they cannot be read now: they are not gone."""
        try:
            return await with_files(items, self._read_file, self._turned_down)
        except FilesUnavailable as exc:
            raise LLMUnavailable(f"The LLM was not asked: {exc.message}") from exc

    def _about_files(self, error: LLMError, items: Sequence[Item]) -> LLMError:
        """Return an error that tells of files, if it is by them that the server has refused a request.

        They are not sent again: the chat would end the same way for ever. Another process learns it by one request.
        """
        sent = sent_as_they_are(items)
        if not sent or not turned_down(error, self._model):
            return error
        self._turned_down.update(sent)
        about = LLMRejected(error.message + REFUSED.format(names=", ".join(map(repr, sent.values()))))
        about.text = error.text
        return about

    def instructed(self, instructions: str) -> "LLM":
        """Return this LLM with other instructions. Both are one for limits, and `aclose` closes both."""
        other = copy(self)
        other._instructions = instructions
        return other

    @property
    def makes_wait(self) -> bool:
        """Whether who asks now for the first time has to wait, or others do."""
        return self._allowance is not None and self._allowance.makes_wait

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _enter(
        self, allowance: Allowance, caller: str, items: Sequence[Item], tools: Sequence[ToolSpec]
    ) -> Place:
        """Wait until a call may begin. What its reply takes is learned with what the estimate lacks else."""
        tokens = estimate_tokens(items) + len(self._instructions) // CHARS_PER_TOKEN if allowance.counts_tokens else 0
        if allowance.counts_tokens:
            tokens += sum(len(tool.description) + len(str(tool.parameters)) for tool in tools) // CHARS_PER_TOKEN
        return await allowance.enter(caller, tokens, patience_s=self._limits.timeout_s)

    def _counted(self, reply: Reply, place: Place | None) -> Reply:
        """Note what a call took. Where the server does not say it, the estimate stands."""
        if self._allowance is not None and place is not None and not reply.usage.unmetered_calls:
            self._allowance.correct(place, reply.usage.tokens)
        return reply

    @asynccontextmanager
    async def _answer(
        self, request: ChatRequest | ResponsesRequest, items: Sequence[Item], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[httpx2.Response]:
        """Hold the answer to a request; what the server refuses in it is left out, from then on."""
        async with AsyncExitStack() as held:
            while True:
                try:
                    answer = await held.enter_async_context(request.open(self._client, self._model))
                except APIStatusError as refusal:
                    held_back = request.thoughts_held_back
                    if not self._manners.learn(refusal, request.sent, thoughts_held_back=held_back):
                        raise
                    request = self._request(items, tools, self._instructions, manners=self._manners, maker=self._maker)
                else:
                    break
            yield answer.http_response

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Hold one of the `max_connections` places. A wait for one is not the server's silence."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                await self._places.acquire()
        except TimeoutError as exc:
            raise LLMUnavailable(
                f"{self._limits.max_connections} LLM calls run at the same time and none has ended for "
                f"{self._limits.timeout_s:g} s; raise LLM_MAX_CONNECTIONS if the LLM server can take more."
            ) from exc
        try:
            yield
        finally:
            self._places.release()

    async def _read(
        self,
        answer: httpx2.Response,
        draft: Draft,
        patience: asyncio.Timeout,
        on_text: Tell | None,
    ) -> None:
        """Read the answer into `draft`, until its end or until `patience` with what is no chunk is over."""
        limit = self._limits.max_reply_chars
        events = EventStream(max_bytes=SPARE_BYTES + BYTES_PER_EVENT_CHAR * limit)
        bytes_left = SPARE_BYTES + BYTES_PER_CHAR * limit

        tell = on_text or (lambda _: None)

        async for data in answer.aiter_bytes():
            if self._take(events.feed(data), draft, tell):
                patience.reschedule(asyncio.get_running_loop().time() + self._patience_s(draft))
            bytes_left -= len(data)
            if bytes_left < 0:
                raise self._endpoint.not_understood("megabytes of no text", begun=draft.begun)
        self._take(events.close(), draft, tell)
        if text := draft.close():
            tell(text)

    def _patience_s(self, draft: Draft) -> float:
        """Return how long to wait for the next chunk, at most."""
        if draft.done:
            return GOODBYE_S
        return REST_S if draft.finished else SILENCES * self._limits.timeout_s

    def _take(self, events: Iterator[Event], draft: Draft, tell: Tell) -> bool:
        """Put events into the draft and return whether there were any."""
        taken = False
        for event in events:
            if draft.done:  # nothing counts any more
                return taken
            taken = True
            if event.data.startswith(DONE):
                draft.done = True
            elif text := self._add(event, draft):
                tell(text)
        return taken

    def _add(self, event: Event, draft: Draft) -> str:
        """Put the chunks of one event into the draft and return the text that they brought."""
        if event.document and event.data.lstrip().startswith("<"):
            raise self._endpoint.no_llm_server("a web page")
        text = ""
        for chunk in _chunks_of(event.data):
            if error := reported_error(chunk, event.name, self._endpoint):
                raise error
            if event.document and not (isinstance(chunk, dict) and draft.document_sign in chunk):
                raise self._endpoint.no_llm_server("JSON that is no answer")
            text += draft.add(chunk)
        draft.done = draft.done or event.document  # a document is all there is
        if draft.chars > self._limits.max_reply_chars:
            raise ReplyTooLong(
                f"The answer of the LLM was cut off at {self._limits.max_reply_chars} characters (MAX_REPLY_CHARS); "
                "send a message to go on."
            )
        return text


def _chunks_of(data: str) -> list[object]:
    """Return the JSON values in the data of an event: one, or one a line when the server left the blank lines out.

    Errors: ValueError, RecursionError.
    """
    try:
        return [json.loads(data)]
    except json.JSONDecodeError:
        if "\n" not in data:
            raise
        return [json.loads(line) for line in data.splitlines() if line.strip() and line.strip() != DONE]
