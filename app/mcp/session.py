"""One connection to a server, from its start to its end, in a task of its own.

The library wants a connection closed by the task that has opened it. Knows nothing of other connections: link.py makes
the next one.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp import Client, ClientSession, MCPError
from mcp.client._transport import TransportStreams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter

from app.mcp.answer import Reply
from app.mcp.config import McpServer
from app.mcp.http import http
from app.mcp.stdio import stdio
from app.text import printable, shorten, words_of

CONNECT_S = 90.0  # `npx` and `uvx` fetch a server before its first start
MAX_PAGES = 20
MAX_NOTED_CHARS = 300
CLIENT = types.Implementation(name="interruptible-agents", version="0.1.0")
CLOSED = "Connection closed"  # the library's words for a connection that is over
_AUTHENTICATION = (401, 403, 407)

CallResult = types.CallToolResult | types.InputRequiredResult
_RESULT: TypeAdapter[CallResult] = TypeAdapter(CallResult)
Progress = Callable[[str], None]

logger = logging.getLogger("mcp_servers")


@dataclass(frozen=True)
class ToolCall:
    """What a server is asked to do. With a `reply` it goes on with what it had asked for."""

    tool: str
    arguments: dict[str, Any]
    reply: Reply | None = None

    def params(self) -> types.CallToolRequestParams:
        """Return the call as the protocol has it."""
        if self.reply is None:
            return types.CallToolRequestParams(name=self.tool, arguments=self.arguments)
        answers = {name: types.ElicitResult.model_validate(each) for name, each in self.reply.answers.items()}
        return types.CallToolRequestParams(
            name=self.tool,
            arguments=self.arguments,
            input_responses=dict(answers) or None,
            request_state=self.reply.state,
        )


class Session:
    """A connection. `ready` is set when it can be used, or has failed; `problem` says then why."""

    def __init__(self, server: McpServer, on_tools_changed: Callable[[], None]) -> None:
        self._server = server
        self._on_tools_changed = on_tools_changed
        self._client: Client | None = None
        self._stop = asyncio.Event()
        self._status = 0  # of the last answer of HTTP
        self._noted = ""  # the last line of stderr
        self.ready = asyncio.Event()
        self.problem: str | None = None
        self.started_at = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._run(), name=f"MCP server {server.name}")

    @property
    def over(self) -> bool:
        """Whether this connection can be used no more."""
        return self._task.done() or self._stop.is_set()

    async def list_tools(self) -> list[types.Tool]:
        """Return what the server lists, page by page.

        Errors: MCPError, what pydantic and the transport raise.
        """
        client = self._connected()
        tools: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return tools

    async def call(self, call: ToolCall, tell: Progress) -> CallResult:
        """Call a tool. When the awaiting task is cancelled, the server is told.

        The result is not checked against the server's schema: a hostile pattern would hold up the whole process, and
        the LLM reads it as text.
        Errors: MCPError, what pydantic and the transport raise.
        """
        client = self._connected()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            tell(shorten(self._server.without_secrets(message or _share(progress, total)), MAX_NOTED_CHARS))

        request = types.CallToolRequest(params=call.params())
        try:
            return await client.session.send_request(request, _RESULT, progress_callback=on_progress)
        except MCPError as exc:
            if exc.code != types.HEADER_MISMATCH:
                raise
            await self.list_tools()  # the protocol's own cure: the headers follow from the listed schema
            return await client.session.send_request(request, _RESULT, progress_callback=on_progress)

    def close(self) -> None:
        """Ask the connection to end; it ends in its own task."""
        self._stop.set()

    async def ended(self, within_s: float) -> None:
        """Wait for the end, and cut it short after a time."""
        await asyncio.wait((self._task,), timeout=within_s)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)

    def explain(self, exc: BaseException) -> str:
        """Return why something failed, in words without secrets."""
        if self._status in _AUTHENTICATION:
            return f"it wants other credentials ({self._status}): see its `headers` in the file of MCP_SERVERS"
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        if isinstance(exc, TimeoutError) and not exc.args:
            return "it did not answer in time"
        if isinstance(exc, MCPError) and exc.message == CLOSED:
            return self._end()
        said = f"{words_of(exc)} ({self._status})" if self._status >= 400 else words_of(exc)
        return self._clean(said)

    def _end(self) -> str:
        return f"it ended; its last words: {self._noted}" if self._noted else "it ended"

    def _connected(self) -> Client:
        if self._client is None:
            raise MCPError(types.CONNECTION_CLOSED, CLOSED)
        return self._client

    async def _run(self) -> None:
        """Connect, be there until the end, and say how it ended."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_S):
                    client = await stack.enter_async_context(self._new_client())
                self._client = client
                self.ready.set()
                logger.info("MCP server %s: connected, %s", self._server.name, client.protocol_version)
                if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                    _declare_forms(client.session)
                    stack.push_async_callback(_cancelled, asyncio.create_task(self._listen(client)))
                await self._stop.wait()
        except asyncio.CancelledError:
            self.problem = "the connection was closed"
            raise
        except Exception as exc:  # noqa: BLE001 - a server of others: whatever it does, it is only gone
            self.problem = self.explain(exc)
        finally:
            self._client = None
            self.problem = self.problem or self._end()
            self._stop.set()
            self.ready.set()

    def _new_client(self) -> Client:
        return Client(
            self._transport(), message_handler=self._on_message, client_info=CLIENT, cache=None, log_level=None
        )

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[TransportStreams]:
        if self._server.url is not None:
            async with http(self._server, self._note_status) as streams:
                yield streams
            return
        async with stdio(self._server, self._note, self.close) as streams:
            yield streams

    async def _on_message(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._on_tools_changed()

    async def _listen(self, client: Client) -> None:
        """Hear of changes of the list where the server tells of them on request, as it does since 2026."""
        with suppress(Exception):  # many do not, and the list is fetched again now and then
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._on_tools_changed()

    def _note_status(self, status: int) -> None:
        self._status = status

    def _note(self, line: str) -> None:
        if line := self._clean(line):
            self._noted = line
            logger.debug("MCP server %s: %s", self._server.name, line)

    def _clean(self, text: str) -> str:
        return printable(shorten(self._server.without_secrets(text), MAX_NOTED_CHARS))


def _declare_forms(session: ClientSession) -> None:
    """Tell a server of 2026 that the user can be asked by forms.

    The library declares what it has callbacks for, to servers of both eras, and with it pages to open. A server of
    before would then ask in the middle of a call, on a connection that does not outlive a wait of days.
    """
    form = types.ElicitationCapability(form=types.FormElicitationCapability())
    session._build_capabilities = lambda version: types.ClientCapabilities(elicitation=form)  # type: ignore[method-assign]  # noqa: ARG005 - its name
    if session.discover_result is not None:
        session.adopt(session.discover_result)


def _share(done: float, total: float | None) -> str:
    return f"{done:g}" if total is None else f"{done:g} of {total:g}"


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
