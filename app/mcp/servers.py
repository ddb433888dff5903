"""The MCP servers of this process: what they offer together, and who gets a call.

Imports the library when the first server is used: a process without servers does without it.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.llm import ToolSpec
from app.mcp.answer import Answer, Reply
from app.mcp.config import McpServer
from app.mcp.names import server_of
from app.tools.progress import Tell

if TYPE_CHECKING:
    from app.mcp.link import Link

CLOSE_S = 2.0  # all servers together; the service must be gone 4 s after it was asked to
_LIBRARY_LOGGERS = ("mcp", "client")  # they write what servers send, with tracebacks; link.py says it in a line


class McpServers:
    """The servers of a settings file. One connection each, made when it is first needed."""

    def __init__(
        self, servers: Sequence[McpServer], *, start_s: float, timeout_s: float, max_result_chars: int
    ) -> None:
        self._servers = {server.name: server for server in servers}
        self._start_s = start_s
        self._timeout_s = timeout_s
        self._max_result_chars = max_result_chars
        self._linked: Mapping[str, Link] | None = None

    async def offered(self) -> list[ToolSpec]:
        """Return the tools of all servers, by server and name. Waits `start_s` at most, for servers that start."""
        if not self._servers:
            return []
        offers = await asyncio.gather(*(link.tools(self._start_s) for link in self._links().values()))
        return [tool.spec for offer in offers for tool in sorted(offer, key=lambda each: each.spec.name)]

    async def call(
        self, name: str, arguments: dict[str, Any], *, again: bool, progress: Tell, reply: Reply | None = None
    ) -> Answer:
        """Call the tool that the LLM calls `name`, or go on with it. Every end is an Answer, but a cancellation."""
        server = server_of(name)
        if server not in self._servers:
            known = ", ".join(self._servers) or "none"
            return Answer(content=f"There is no tool {name!r}. The MCP servers are: {known}.", failed=True)
        return await self._links()[server].call(name, arguments, again=again, progress=progress, reply=reply)

    def must_approve(self, name: str) -> bool:
        """Return whether a person must approve calls of what the LLM calls `name`, by the rules of its server."""
        server = server_of(name)
        return server in self._servers and self._links()[server].must_approve(name)

    async def aclose(self) -> None:
        """End all connections, and the servers that were started."""
        if self._linked is not None:
            await asyncio.gather(*(link.aclose(CLOSE_S) for link in self._linked.values()))

    def _links(self) -> "Mapping[str, Link]":
        if self._linked is None:
            from app.mcp.link import Link  # an optional package

            for library in _LIBRARY_LOGGERS:
                logging.getLogger(library).setLevel(logging.CRITICAL)
            self._linked = {
                name: Link(server, timeout_s=self._timeout_s, max_result_chars=self._max_result_chars)
                for name, server in self._servers.items()
            }
        return self._linked
