"""An LLM server for tests: real HTTP on loopback, scripted, in a thread of its own.

It logs every request and when its client went away; what it answers is decided by a script.
"""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.support.llm_responses import check_input, response_document, response_events

FOR_EVER = float("inf")
HEADERS_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Call:
    """A tool call in a reply; `call_id` None leaves it out, as some servers do."""

    name: str = "execute_task"
    arguments: str = '{"task": "something"}'
    call_id: str | None = "call_1"


@dataclass(frozen=True)
class Plan:
    """What the server does with a request. Durations are seconds; chunks are counted from 0 in the order sent.

    `raw` replaces the chunks that would be made of text, calls and finish_reason: str is sent as it is, else as JSON.
    `finish_reason` None ends the stream without one. `delay_s` FOR_EVER never answers; `hang_after` falls silent before
    that chunk; `break_after` drops the connection before it. `gate` holds the first byte back until it is opened, or
    the chunk `gate_at`.
    `body` replaces all of that by the pieces of a body as they are, of any status; it may have no end.
    `thoughts` come before the text, in the field `thought_field`; `sealed` is what the Responses API adds for itself,
    `details` the tokens that were cached and those that were thought with.
    """

    text: Sequence[str] = ("Hello", " there.")
    calls: Sequence[Call] = ()
    finish_reason: str | None = "stop"
    usage: tuple[int, int] | None = (10, 5)
    delay_s: float = 0
    gap_s: float = 0
    gate: "Gate | None" = None
    gate_at: int = 0
    raw: Sequence[object] | None = None
    done: bool = True  # whether [DONE] is sent at the end
    break_after: int | None = None
    hang_after: int | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: object = None  # the body when status is not 200: str as it is, else JSON
    body: Iterable[bytes] | None = None
    thoughts: Sequence[str] = ()
    thought_field: str = "reasoning_content"
    sealed: str | None = None
    details: tuple[int, int] | None = None

    def document(self) -> str:
        """Return the whole answer as the Responses API gives it, without streaming."""
        return json.dumps(response_document("".join(self.text), self._response_calls(), self.usage))

    def events(self) -> Iterator[str]:
        """Yield the data of each event of the stream, as the Responses API gives it."""
        incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self.finish_reason or "")
        events = response_events(
            self.text,
            self._response_calls(),
            self.usage,
            thoughts=self.thoughts,
            sealed=self.sealed,
            incomplete=incomplete,
            details=self.details or (0, 0),
        )
        for event in events if self.raw is None else self.raw:
            yield event if isinstance(event, str) else json.dumps(event)

    def _response_calls(self) -> list[dict[str, str | None]]:
        return [{"name": call.name, "arguments": call.arguments, "call_id": call.call_id} for call in self.calls]

    def chunks(self) -> Iterator[str]:
        """Yield the data of each event of the stream."""
        for chunk in self._chunks() if self.raw is None else self.raw:
            yield chunk if isinstance(chunk, str) else json.dumps(chunk)
        if self.done:
            yield "[DONE]"

    def _chunks(self) -> Iterator[object]:
        for thought in self.thoughts:
            yield delta(content=None, **{self.thought_field: thought})
        for text in self.text:
            yield delta(content=text)
        for index, call in enumerate(self.calls):
            function = {"name": call.name, "arguments": call.arguments}
            yield delta(tool_calls=[{"index": index, "id": call.call_id, "type": "function", "function": function}])
        if self.finish_reason is not None:
            yield delta(finish_reason=self.finish_reason)
        if self.usage is not None:
            usage: dict[str, object] = {"prompt_tokens": self.usage[0], "completion_tokens": self.usage[1]}
            if self.details is not None:
                usage["prompt_tokens_details"] = {"cached_tokens": self.details[0]}
                usage["completion_tokens_details"] = {"reasoning_tokens": self.details[1]}
            yield {"choices": [], "usage": usage}


def delta(*, finish_reason: str | None = None, **content: object) -> dict[str, object]:
    """Return a chunk of one delta."""
    return {"choices": [{"index": 0, "delta": content, "finish_reason": finish_reason}]}


class Gate:
    """Holds replies back until it is opened, from any thread."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    def open(self) -> None:
        with self._lock:
            self._opened.set()
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        event = asyncio.Event()
        with self._lock:
            if self._opened.is_set():
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()


@dataclass
class LLMRequest:
    """One request and what became of it. Times are `time.monotonic()`, comparable within the machine."""

    index: int
    body: dict[str, Any]
    headers: dict[str, str]
    arrived_at: float
    path: str = ""
    finished_at: float | None = None  # the whole plan was carried out
    disconnected_at: float | None = None  # the client went away before that
    bytes_sent: int = 0  # of the body, by then

    @property
    def of_responses_api(self) -> bool:
        """Whether it came by `POST /v1/responses`, which is answered with one document unless it asks for a stream."""
        return self.path.endswith("/responses")

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.body["input" if self.of_responses_api else "messages"]
        return messages

    @property
    def user_texts(self) -> list[str]:
        return [message["content"] for message in self.messages if message.get("role") == "user"]

    @property
    def tool_names(self) -> list[str]:
        return [tool.get("function", tool)["name"] for tool in self.body.get("tools", ())]

    def check(self) -> None:
        """Assert what strict servers demand. Errors: AssertionError."""
        if self.of_responses_api:
            check_input(self.messages)
        else:
            check_well_formed(self.messages)

    @property
    def iterations(self) -> int:
        """Tool-calling replies since the last user text."""
        since = itertools.takewhile(lambda message: message["role"] != "user", reversed(self.messages))
        return sum("tool_calls" in message for message in since)


Script = Callable[[LLMRequest], Plan]


def echo(request: LLMRequest) -> Plan:
    """Answer with the user texts of the request."""
    return Plan(text=[f"answer to: {'; '.join(request.user_texts)}"])


class LLMServer:
    """The server. `script` runs in its thread, must not block, and may be replaced at any time.

    Use it as a context manager, or `start` and `stop` it. `requests` only grows.
    """

    def __init__(self, script: Script = echo) -> None:
        self.script = script
        self.requests: list[LLMRequest] = []
        self.faults: list[BaseException] = []  # what scripts raised; the client saw a 500
        self.url = ""
        self._changed = threading.Condition()
        self._connections: set[_Connection] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="llm-server", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def wait_until(self, predicate: Callable[[], bool], timeout_s: float = 10) -> None:
        """Block until `predicate` holds; it is looked at whenever the log changes.

        Errors: TimeoutError with the log.
        """
        with self._changed:
            if not self._changed.wait_for(predicate, timeout_s):
                raise TimeoutError(f"not within {timeout_s} s; the log is {self.requests!r}")

    async def until(self, predicate: Callable[[], bool], timeout_s: float = 10) -> None:
        """`wait_until` for async tests."""
        await asyncio.to_thread(self.wait_until, predicate, timeout_s)

    def log_changed(self) -> None:
        with self._changed:
            self._changed.notify_all()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self, self._connections), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}/v1"
        self._started.set()
        await self._stop.wait()
        server.close()
        tasks = [connection.end() for connection in list(self._connections)]
        await asyncio.gather(*tasks, return_exceptions=True)


class _Connection(asyncio.Protocol):
    """One connection of a client. As a protocol it hears of a disconnect while it does something else."""

    def __init__(self, server: LLMServer, connections: "set[_Connection]") -> None:
        self._server = server
        self._connections = connections
        self._buffer = bytearray()
        self._received = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._request: LLMRequest | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._received.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> None:
        self._client_gone()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is of asyncio
        self._client_gone()
        self._connections.discard(self)

    def end(self) -> asyncio.Task[None]:
        """Drop the connection; return the task that ends with it."""
        self._task.cancel()
        self._transport.abort()
        return self._task

    def _client_gone(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.disconnected_at = time.monotonic()
            self._server.log_changed()
        self._task.cancel()

    async def _serve(self) -> None:
        try:
            while True:
                self._request = request = await self._read_request()
                self._server.requests.append(request)
                self._server.log_changed()
                complete = await self._answer(request, self._plan(request))
                self._request = None
                request.finished_at = time.monotonic()
                self._server.log_changed()
                if not complete:
                    return
        finally:
            self._transport.close()

    async def _read_request(self) -> LLMRequest:
        head = (await self._read(self._head_size)).decode("latin-1")
        first, *rest = head.split("\r\n")
        lines = [line.partition(":") for line in rest if line]
        headers = {name.lower(): value.strip() for name, _, value in lines}
        length = int(headers.get("content-length", "0"))
        body = await self._read(lambda: length if len(self._buffer) >= length else None)
        path = first.split(" ")[1]
        return LLMRequest(len(self._server.requests), json.loads(body), headers, time.monotonic(), path)

    def _head_size(self) -> int | None:
        end = self._buffer.find(HEADERS_END)
        return None if end < 0 else end + len(HEADERS_END)

    async def _read(self, size: Callable[[], int | None]) -> bytes:
        """Take from the buffer as many bytes as `size` says, once it says so."""
        while (count := size()) is None:
            self._received.clear()
            await self._received.wait()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _plan(self, request: LLMRequest) -> Plan:
        try:
            return self._server.script(request)
        except Exception as exc:  # noqa: BLE001 - a wrong script must show in the test, not hang its client
            self._server.faults.append(exc)
            return Plan(status=500, error={"error": {"message": f"the script of the test failed: {exc!r}"}})

    async def _answer(self, request: LLMRequest, plan: Plan) -> bool:
        """Carry out `plan`; return whether the connection can go on."""
        await _sleep(plan.delay_s)
        if plan.gate is not None and plan.gate_at == 0:
            await plan.gate.wait()
        if plan.body is not None:
            return await self._send_body(request, plan, plan.body)
        streamed = request.body.get("stream", False) or not request.of_responses_api
        if plan.status != 200 or not streamed:
            body = plan.document() if plan.status == 200 else _error_body(plan)
            self._write_head(plan, {"content-type": "application/json", "content-length": str(len(body.encode()))})
            self._transport.write(body.encode())
            return True
        self._write_head(plan, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for index, chunk in enumerate(plan.events() if request.of_responses_api else plan.chunks()):
            if index == plan.break_after:
                return False
            if plan.gate is not None and index == plan.gate_at:
                await plan.gate.wait()
            await _sleep(FOR_EVER if index == plan.hang_after else plan.gap_s if index else 0)
            self._write_chunk(request, f"data: {chunk}\n\n".encode())
        self._transport.write(b"0\r\n\r\n")
        return True

    async def _send_body(self, request: LLMRequest, plan: Plan, body: Iterable[bytes]) -> bool:
        self._write_head(plan, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for piece in body:
            self._write_chunk(request, piece)
            await self._writable.wait()
            await asyncio.sleep(plan.gap_s)  # also without a gap: a body without end must let the server hear others
        self._transport.write(b"0\r\n\r\n")
        return True

    def _write_head(self, plan: Plan, headers: dict[str, str]) -> None:
        lines = [f"{name}: {value}" for name, value in {**headers, **plan.headers}.items()]
        self._transport.write("\r\n".join([f"HTTP/1.1 {plan.status} Planned", *lines, "", ""]).encode("latin-1"))

    def _write_chunk(self, request: LLMRequest, data: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        request.bytes_sent += len(data)
        self._server.log_changed()


def _error_body(plan: Plan) -> str:
    return plan.error if isinstance(plan.error, str) else json.dumps(plan.error)


async def _sleep(duration_s: float) -> None:
    if duration_s == FOR_EVER:
        await asyncio.Event().wait()
    elif duration_s:
        await asyncio.sleep(duration_s)


def check_well_formed(messages: Sequence[Mapping[str, Any]]) -> None:
    """Assert what strict OpenAI-compatible servers demand of the messages of a request.

    Errors: AssertionError with the rule that is broken and the messages.
    """
    open_ids: list[str] = []
    before = "nothing"
    for position, message in enumerate(messages):
        role = message["role"]
        _rule((role == "system") == (position == 0), "the system prompt comes first, and only there", messages)
        if role == "tool":
            _rule(open_ids[:1] == [message["tool_call_id"]], "results follow their calls, in their order", messages)
            open_ids.pop(0)
        else:
            _rule(not open_ids, "every call has its result right behind it", messages)
            _rule(role != before or role == "tool", "user and assistant alternate", messages)
        if role == "assistant":
            _check_calls(message, messages)
            open_ids = [call["id"] for call in message.get("tool_calls", ())]
        before = role
    _rule(before in ("user", "tool") and not open_ids, "the last message is a user text or a tool result", messages)


def _check_calls(message: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> None:
    calls = message.get("tool_calls", ())
    _rule("tool_calls" not in message or bool(calls), "a list of calls is not empty", messages)
    _rule(bool(calls or message["content"]), "an assistant message says something", messages)
    _rule(len({call["id"] for call in calls}) == len(calls), "the ids of a message's calls differ", messages)
    for call in calls:
        try:
            arguments = json.loads(call["function"]["arguments"])
        except ValueError:
            arguments = None
        _rule(isinstance(arguments, dict), "arguments are a JSON object", messages)


def _rule(holds: bool, rule: str, messages: Sequence[Mapping[str, Any]]) -> None:
    assert holds, f"{rule}; the messages are {json.dumps(messages, indent=1, ensure_ascii=False)}"
