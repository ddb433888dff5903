"""MCP: tools of foreign servers, offered to the LLM like our own.

Owns who is connected, what they offer, and what a call gives. The rest of the house imports from here. The package
`mcp` is optional: nothing here needs it before MCP_SERVERS names a file.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.util import find_spec

from app.errors import UsageError
from app.mcp.config import McpServer, read_servers
from app.mcp.servers import McpServers
from app.settings import Settings, get_settings

__all__ = ["McpServers", "connect_mcp", "get_mcp", "open_mcp", "require_mcp"]


@cache
def get_mcp() -> McpServers:
    """Return the MCP servers of this process. None is started before somebody asks for its tools."""
    return connect_mcp(get_settings())


@asynccontextmanager
async def open_mcp() -> AsyncIterator[None]:
    """Let the MCP servers of this process end with it.

    Errors: UsageError when the file of MCP_SERVERS cannot be used.
    """
    servers = get_mcp()
    try:
        yield
    finally:
        await servers.aclose()


def connect_mcp(settings: Settings) -> McpServers:
    """Return the servers that `settings` name, none where they name no file.

    Errors: UsageError when the file cannot be used.
    """
    return McpServers(
        require_mcp(settings),
        start_s=settings.mcp_start_s,
        timeout_s=settings.mcp_timeout_s,
        max_result_chars=settings.max_tool_result_chars,
    )


def require_mcp(settings: Settings) -> tuple[McpServer, ...]:
    """Return the servers in the file of MCP_SERVERS.

    Errors: UsageError with the cure when the file cannot be used, or the package is not installed here.
    """
    if settings.mcp_servers is None:
        return ()
    if not find_spec("mcp"):
        raise UsageError(
            "MCP_SERVERS needs a package that is not installed here. Install it with `pip install --require-hashes "
            "-r requirements-mcp.txt`, or leave MCP_SERVERS out."
        )
    return read_servers(settings.mcp_servers)
