"""MCP servers for tests: the hostile one as a child process, and lists of them as a process of the service has."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.mcp.answer import Answer
from app.mcp.config import read_servers
from app.mcp.servers import McpServers
from tests.support.eventually import eventually

PROGRAM = Path(__file__).with_name("mcp_server.py")


def hostile(folder: Path, *options: str, **fields: object) -> dict[str, Any]:
    """Return the entry of a hostile server in a settings file; its notes go to `folder`."""
    folder.mkdir(exist_ok=True)
    return {"command": sys.executable, "args": [str(PROGRAM), str(folder), *options], **fields}


def settings_file(folder: Path, **servers: dict[str, Any]) -> Path:
    """Write a settings file that names `servers`."""
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


@asynccontextmanager
async def connected(path: Path, *, timeout_s: float = 10, max_result_chars: int = 20_000) -> AsyncIterator[McpServers]:
    """Give the servers of a settings file, and end them."""
    servers = McpServers(read_servers(path), start_s=10, timeout_s=timeout_s, max_result_chars=max_result_chars)
    try:
        yield servers
    finally:
        await servers.aclose()


async def call(servers: McpServers, name: str, *, again: bool = False, **arguments: object) -> Answer:
    return await servers.call(name, arguments, again=again, progress=lambda _: None)


def noted(folder: Path, file: str) -> list[str]:
    """Return the lines that the server has written into a file of its folder."""
    path = folder / file
    return path.read_text().splitlines() if path.exists() else []


async def started(folder: Path, count: int = 1) -> list[int]:
    """Wait until `count` servers were started in the folder; return their process ids."""

    def enough() -> list[str]:
        pids = noted(folder, "pids")
        return pids if len(pids) >= count else []

    return [int(pid) for pid in await eventually(enough)]


async def all_gone(pids: list[int], *, timeout_s: float = 10) -> None:
    """Wait until none of the processes runs."""

    def gone() -> bool:
        left = [pid for pid in pids if _runs(pid)]
        assert not left, left
        return True

    await eventually(gone, timeout_s=timeout_s)
    await asyncio.sleep(0)


def _runs(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
