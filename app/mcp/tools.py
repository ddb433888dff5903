"""The tools of MCP servers beside our own: how a turn finds one by its name, and calls it durably.

What the LLM is offered is looked up inside the step of its call. Here nothing depends on it: in a replay a call goes
the way it went, whatever the servers list by then.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic_core import from_json

from app.errors import CallUnknown, ToolFailed, UsageError
from app.llm import Reply as LLMReply
from app.llm import ToolSpec
from app.mcp import get_mcp
from app.mcp.answer import InputNeeded, Reply
from app.mcp.calls import call_durably
from app.mcp.names import server_of
from app.text import shorten
from app.tools.asking import ask_user
from app.tools.registry import MAX_QUOTED_CHARS, Called, Tool, tool

MAX_ROUNDS = 10  # in which a server asks before it has done what it was called for
STATE_PAUSE_S = 0.25  # before a call goes on that asks nothing: its server wants to be called again


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

    def ruled(self, reply: LLMReply) -> LLMReply:
        """Return a reply in which stands what a person must approve of it, by the rules of the file at this moment.

        Call it inside the step of the reply: the rules may change before a replay. A call that would not be made, as
        its arguments are none, needs nobody.
        """
        calls = enumerate(reply.item.tool_calls)
        places = tuple(place for place, call in calls if self._must_approve(call.name, call.arguments))
        return reply.changed(to_approve=places) if places else reply

    def _must_approve(self, name: str, arguments: str) -> bool:
        if name in self._own or not get_mcp().must_approve(name):
            return False
        try:
            _object_in(name, arguments)
        except UsageError:
            return False
        return True


@dataclass(frozen=True)
class ForeignTool(Tool):
    """A tool of an MCP server. What its server says of it is not known here."""

    async def called(self, arguments: str, _context: object = None) -> Called:
        """Call the tool; return what it was given and the text of its result.

        A server that wants to know something first has the user asked: then the call goes on with the answers.
        Durable: a step with the name of the tool, and one more each time that the call goes on. Each at most once if
        the server does not say that a repetition does no harm: after a crash in the middle of it, it is not repeated,
        and may have run.
        Errors: UsageError when the arguments are no object, ToolFailed, CallUnknown.
        """
        given = _object_in(self.name, arguments)
        notes: list[str] = []
        reply: Reply | None = None
        for _ in range(MAX_ROUNDS):
            answer = await call_durably(self.name, given, reply)
            if answer.may_have_run:
                raise CallUnknown(answer.content)
            if answer.failed:
                raise ToolFailed(answer.content)
            if answer.needed is None:
                return Called(given, "".join([*notes, answer.content]))
            reply = await _replied(answer.needed, notes)
        raise ToolFailed(f"The MCP server of {self.name} has asked {MAX_ROUNDS} times, and gets no more answers.")


async def _replied(needed: InputNeeded, notes: list[str]) -> Reply:
    """Have the user answer what a server asks, one question after the other. `notes` are for the LLM.

    A refusal to answer is told to the server, which the protocol has a word for. Without any decision it is not called
    again: by the protocol it has then done nothing that must be ended.
    Errors: ToolFailed where nobody has decided.
    """
    answers: dict[str, dict[str, Any]] = {}
    for question in needed.questions:
        told = await ask_user(question.message, question.form, needed.asked_at)
        if told.answer is not None:
            answers[question.name] = {"action": "accept", "content": told.answer}
            continue
        asked = (
            f"The server of this tool asked the user {shorten(question.message, MAX_QUOTED_CHARS)!r}, and {told.why}"
        )
        if not told.declined:
            raise ToolFailed(f"{asked}. The call was not completed.")
        answers[question.name] = {"action": "decline"}
        notes.append(f"[{asked}]\n")
    if not needed.questions:
        await asyncio.sleep(STATE_PAUSE_S)
    return Reply(answers=answers, state=needed.state)


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
