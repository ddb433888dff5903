"""One server and this process: connected when needed, connected again when it died, its list of tools, its calls.

Every end of a call is an Answer with a sentence for the LLM. Nothing here is durable: tools.py makes steps of it.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import mcp_types as types
from mcp import MCPError
from pydantic import ValidationError

from app.errors import UsageError
from app.mcp.answer import Answer, Reply, cut, text_of_result
from app.mcp.config import McpServer
from app.mcp.input import input_needed
from app.mcp.names import BETWEEN, may_be_digest
from app.mcp.offer import OfferedTool, offer_of
from app.mcp.session import CLOSED, MAX_NOTED_CHARS, CallResult, Progress, Session, ToolCall
from app.text import shorten, words_of

LIST_S = 15.0  # for the list of tools
MIN_LIST_AGE_S = 1.0
LIST_AGE_S = 300.0  # not every server says when its list changes
STEADY_S = 30.0  # a connection that lived as long begins the backoff afresh
FIRST_WAIT_S, MAX_WAIT_S = 1.0, 60.0
_LOST = (types.CONNECTION_CLOSED,)
_TERMINATED = "Session terminated"  # the library's words for a session that the server has forgotten
MAY_HAVE_RUN = "The call may have run; check before you repeat it."

logger = logging.getLogger("mcp_servers")


class Link:
    """What this process has to do with one server."""

    def __init__(self, server: McpServer, *, timeout_s: float, max_result_chars: int) -> None:
        self.server = server
        self._timeout_s = server.timeout_s or timeout_s
        self._max_result_chars = max_result_chars
        self._session: Session | None = None
        self._failures = 0
        self._not_before = 0.0
        self._tools: Sequence[OfferedTool] | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._stale_at = 0.0
        self._closed = False
        self._problem = "it ended"

    async def tools(self, wait_s: float) -> Sequence[OfferedTool]:
        """Return what the server offers. What is known is given at once, and renewed behind the scenes.

        While it starts for the first time, `wait_s` is waited for it, counted from that start; its tools come later.
        """
        fetching = self._fetch()
        if self._tools is None and fetching is not None:
            session = self._session
            waited = 0.0 if session is None else asyncio.get_running_loop().time() - session.started_at
            await asyncio.wait((fetching,), timeout=max(0.0, wait_s - waited))
        return self._tools or ()

    async def call(
        self, name: str, arguments: dict[str, Any], *, again: bool, progress: Progress, reply: Reply | None = None
    ) -> Answer:
        """Call the tool that the LLM calls `name`. Never raises, but CancelledError: the server is then told.

        `again` says that the process died, or lost its invocation, in the middle of this very call. With a `reply` the
        call goes on, which had asked for that.
        """
        started = False
        try:
            async with asyncio.timeout(self._timeout_s):
                session = await self._connected()
                tool = await self._tool(name)
                if tool is None:
                    return self._failed(f"There is no tool {name!r}. {self._known()}")
                if again and not tool.repeatable:
                    return self._unknown("The service was restarted in the middle of this call.")
                started = True
                return self._answer(await self._result(session, ToolCall(tool.tool, arguments, reply), progress))
        except TimeoutError:
            said = f"The MCP server {self.server.name!r} gave no answer within {self._timeout_s:g} s."
            return self._unknown(said) if started else self._failed(said)
        except _Unreachable as exc:
            return self._failed(f"The MCP server {self.server.name!r} cannot be used: {exc}. Nothing was called.")
        except Exception as exc:  # noqa: BLE001 - whatever a server of others does is a result for the LLM
            return self._broken(exc, started=started)

    def must_approve(self, name: str) -> bool:
        """Return whether the file says that a person must approve calls of what the LLM calls `name`.

        A tool that is not listed now goes by the name that it is called by. Where that need not be its own, somebody is
        asked.
        """
        if not self.server.approval:
            return False
        tool = self._offered(name)
        if tool is not None:
            return self.server.must_approve(tool.tool)
        own = name.removeprefix(f"{self.server.name}{BETWEEN}")
        return may_be_digest(own) or self.server.must_approve(own)

    async def _result(self, session: Session, call: ToolCall, progress: Progress) -> CallResult:
        """Call a tool; by a fresh connection if the server has forgotten this one, in which case it called nothing."""
        try:
            return await session.call(call, progress)
        except MCPError as exc:
            if exc.message != _TERMINATED:
                raise
            session.close()
            return await (await self._connected()).call(call, progress)

    async def aclose(self, within_s: float) -> None:
        """End the connection, and the process of the server with it."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()
        if self._session is not None:
            self._session.close()
            await self._session.ended(within_s)

    # The connection

    def _open(self) -> Session:
        """Return the connection, a fresh one if there is none.

        Errors: _Unreachable while the next attempt has to wait.
        """
        if self._closed:
            raise _Unreachable("the service ends")
        if self._session is not None and self._session.over:
            self._note_end(self._session)
            self._session = None
        if self._session is None:
            now = asyncio.get_running_loop().time()
            if now < self._not_before:
                raise _Unreachable(f"{self._problem}; it is tried again in {self._not_before - now:.0f} s")
            self._session = Session(self.server, self._tools_changed)
        return self._session

    def _note_end(self, session: Session) -> None:
        """Set when the next connection may be made: at once after a steady one, later and later after others."""
        now = asyncio.get_running_loop().time()
        self._failures = 0 if now - session.started_at > STEADY_S else self._failures + 1
        wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** (self._failures - 2)) if self._failures > 1 else 0.0
        self._not_before = now + wait_s
        self._problem = session.problem or self._problem
        self._stale_at = 0.0
        logger.warning("MCP server %s: %s", self.server.name, self._problem)

    async def _connected(self) -> Session:
        session = self._open()
        await session.ready.wait()
        if session.over:
            raise _Unreachable(session.problem or "it ended")
        return session

    # The list of tools

    def _fetch(self) -> "asyncio.Task[None] | None":
        """Return the task that fetches the list, None if it is fresh or cannot be fetched just now."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        lost = self._session is None or self._session.over
        if self._tools is not None and not lost and asyncio.get_running_loop().time() < self._stale_at:
            return None
        self._fetching = asyncio.create_task(self._fetch_now())
        return self._fetching

    async def _fetch_now(self) -> None:
        try:
            session = await self._connected()
            self._stale_at = asyncio.get_running_loop().time() + LIST_AGE_S
            async with asyncio.timeout(LIST_S):
                listed = await session.list_tools()
            self._tools, refused = await asyncio.to_thread(offer_of, self.server, listed)
        except _Unreachable as exc:
            logger.debug("MCP server %s: %s", self.server.name, exc)
            return
        except Exception as exc:  # noqa: BLE001 - it may list anything, in any shape
            self._stale_at = 0.0
            said = shorten(self.server.without_secrets(_words(exc)), MAX_NOTED_CHARS)
            logger.warning("MCP server %s: no list of tools: %s", self.server.name, said)
            session.close()
            return
        for sentence in refused:
            logger.warning("MCP server %s: a tool is left out: %s", self.server.name, sentence)

    def _tools_changed(self) -> None:
        """Have the list fetched: at once, unless it just was, by a server that says so all the time."""
        just_now = asyncio.get_running_loop().time() < self._stale_at - LIST_AGE_S + MIN_LIST_AGE_S
        self._stale_at = 0.0
        if not just_now and not self._closed:
            self._fetch()

    async def _tool(self, name: str) -> OfferedTool | None:
        """Return the tool of this name, as the server last listed it."""
        found = self._offered(name)
        if found is None and (fetching := self._fetch()) is not None:
            await asyncio.wait((fetching,))
            found = self._offered(name)
        return found

    def _offered(self, name: str) -> OfferedTool | None:
        return next((each for each in self._tools or () if each.spec.name == name), None)

    def _known(self) -> str:
        names = ", ".join(sorted(each.spec.name for each in self._tools or ()))
        return f"The tools of {self.server.name} are: {names or 'none'}."

    # What a call gave

    def _answer(self, result: CallResult) -> Answer:
        if isinstance(result, types.InputRequiredResult):
            return self._wants_input(result)
        text = text_of_result(result.content, result.structured_content, self._max_result_chars)
        return Answer(content=self.server.without_secrets(text), failed=result.is_error)

    def _wants_input(self, result: types.InputRequiredResult) -> Answer:
        try:
            return Answer(content="", needed=input_needed(self.server, result))
        except UsageError as exc:
            return self._gets_no_input(f": {exc.message}")

    def _gets_no_input(self, why: str = "") -> Answer:
        return self._failed(
            f"The MCP server {self.server.name!r} wants more input for this call, and gets none{why}. "
            "Call the tool with all that it needs, or ask the user yourself."
        )

    def _broken(self, exc: Exception, *, started: bool) -> Answer:
        session = self._session
        said = words_of(exc) if session is None else session.explain(exc)
        if isinstance(exc, MCPError) and exc.code == types.URL_ELICITATION_REQUIRED:
            return self._gets_no_input()
        if isinstance(exc, MCPError) and exc.code == types.PARSE_ERROR:
            return self._unknown(f"The MCP server {self.server.name!r} gave an answer that cannot be used: {said}")
        if isinstance(exc, MCPError) and exc.code not in _LOST:
            return self._failed(f"The MCP server {self.server.name!r} refused the call: {said}")
        if isinstance(exc, ValidationError):
            return self._unknown(f"The MCP server {self.server.name!r} answered what is no result of a tool.")
        if session is not None and not (isinstance(exc, MCPError) and exc.message != CLOSED):
            session.close()  # other failures of one answer leave the connection as it is
        sentence = f"The connection to the MCP server {self.server.name!r} broke: {said}."
        return self._unknown(sentence) if started else self._failed(sentence)

    def _failed(self, sentence: str) -> Answer:
        text = self.server.without_secrets(sentence)
        return Answer(content=cut(text, self._max_result_chars), failed=True)

    def _unknown(self, sentence: str) -> Answer:
        return self._failed(f"{sentence} {MAY_HAVE_RUN}").changed(may_have_run=True)


class _Unreachable(Exception):
    """There is no connection to the server; the words say why."""


def _words(exc: BaseException) -> str:
    return "no answer in time" if isinstance(exc, TimeoutError) else words_of(exc)
