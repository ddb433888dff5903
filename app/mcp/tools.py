"""The tools of MCP servers beside our own: how a turn finds one by its name, and calls it durably.

What the LLM is offered is looked up inside the step of its call. Here nothing depends on it: in a replay a call goes
the way it went, whatever the servers list by then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic_core import from_json

from app.durable import replaying, step
from app.errors import CallUnknown, ToolFailed, UsageError
from app.llm import ToolSpec
from app.mcp import get_mcp
from app.mcp.answer import Answer
from app.mcp.names import server_of
from app.tools.progress import progress
from app.tools.registry import MAX_QUOTED_CHARS, Called, Tool, tool


class AllTools(Mapping[str, Tool]):
    """Our own tools, and one for every name that a tool of an MCP server can have. Only our own are counted."""

    def __init__(self, own: Mapping[str, Tool]) -> None:
        self._own = own

    def __getitem__(self, name: str) -> Tool:
        if name in self._own:
            return self._own[name]
        if server_of(name) is None:
            raise KeyError(name)
        return _foreign(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    async def specs(self) -> list[ToolSpec]:
        """Return what the LLM is told of all tools at this moment. Call it inside a step."""
        own = [each.spec for each in self._own.values()]
        return [*own, *(spec for spec in await get_mcp().offered() if spec.name not in self._own)]


@dataclass(frozen=True)
class ForeignTool(Tool):
    """A tool of an MCP server. What its server says of it is not known here."""

    async def called(self, arguments: str, _context: object = None) -> Called:
        """Call the tool as a durable step; return what it was given and the text of its result.

        Durable: one journal entry, the name of the tool. At most once if the server does not say that a repetition does
        no harm: after a crash in the middle of it, the call is not repeated, and may have run.
        Errors: UsageError when the arguments are no object, ToolFailed, CallUnknown.
        """
        given = _object_in(self.name, arguments)
        again = replaying()  # the step below has begun before, and its result was never recorded if it begins again
        tell = progress()

        async def call() -> Answer:
            return await get_mcp().call(self.name, given, again=again, progress=tell)

        answer = await step(self.name, call, result_type=Answer, salvage=True)
        if answer.may_have_run:
            raise CallUnknown(answer.content)
        if answer.failed:
            raise ToolFailed(answer.content)
        return Called(given, answer.content)


@tool
async def like_any() -> str:
    """Be a tool of an MCP server."""
    raise AssertionError("ForeignTool.called is what is called")


def _foreign(name: str) -> ForeignTool:
    values: dict[str, Any] = {each.name: getattr(like_any, each.name) for each in fields(Tool)}
    return ForeignTool(**values | {"spec": ToolSpec(name, "", {})})


def _object_in(name: str, arguments: str) -> dict[str, Any]:
    try:
        given = from_json(arguments or "{}", allow_inf_nan=False)
    except ValueError as exc:
        raise UsageError(f"Wrong arguments for {name}: {exc}. You sent {_quoted(arguments)}; {_CURE}") from exc
    if not isinstance(given, dict):
        raise UsageError(f"Wrong arguments for {name}. You sent {_quoted(arguments)}; {_CURE}")
    return given


_CURE = "send a JSON object."


def _quoted(arguments: str) -> str:
    return repr(arguments[:MAX_QUOTED_CHARS])
