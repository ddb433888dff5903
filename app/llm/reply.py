"""The reply of the LLM: the value, and its assembly from the chunks of a stream.

Pure: no I/O. It takes what real servers send, not only what the specification says they should.
"""

import time
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from app.errors import LLMRejected, LLMUnavailable
from app.transcript import AssistantItem, Finish, Stored, ToolCall, Usage


class Reply(Stored):
    """What one LLM call gave. Times are seconds since 1970."""

    item: AssistantItem
    usage: Usage
    started_at: float
    ended_at: float


class _Lenient(BaseModel):
    """What we read of a chunk: everything may be missing or null, nothing may have the wrong type."""

    model_config = ConfigDict(from_attributes=True)


class _Function(_Lenient):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(_Lenient):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(_Lenient):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(_Lenient):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(_Lenient):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(_Lenient):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


@dataclass
class _Call:
    """A tool call while it arrives."""

    index: int | None
    call_id: str
    name: str
    arguments: str = ""


class Draft:
    """The reply while it arrives."""

    def __init__(self) -> None:
        self._started_at = time.time()
        self._texts: list[str] = []
        self._calls: list[_Call] = []
        self._finish_reason: str | None = None
        self._usage = Usage(calls=1, unmetered_calls=1)

    @property
    def finished(self) -> bool:
        """Whether the server has said that the reply is complete, and there is one."""
        return self._finish_reason is not None and not self._empty

    def add(self, chunk: object) -> str:
        """Take one chunk of the stream; return the text that it brought.

        Errors: pydantic.ValidationError when it is no chunk of Chat Completions.
        """
        parsed = _Chunk.model_validate(chunk)
        if parsed.usage is not None:
            self._usage = Usage(
                calls=1,
                prompt_tokens=parsed.usage.prompt_tokens or 0,
                completion_tokens=parsed.usage.completion_tokens or 0,
            )
        if not parsed.choices:
            return ""
        choice = parsed.choices[0]
        self._finish_reason = choice.finish_reason or self._finish_reason
        delta = choice.delta or _Delta()
        for call in delta.tool_calls or ():
            self._add_call(call)
        text = (delta.content or "") + (delta.refusal or "")
        self._texts.append(text)
        return text

    def complete(self) -> Reply:
        """Return the reply at the end of the stream.

        Errors: LLMUnavailable when the stream was cut off or the answer is empty, LLMRejected when a filter emptied it.
        """
        if self._finish_reason is None:
            raise LLMUnavailable("The LLM server ended its answer before it was finished; send the message again.")
        if self._empty and self._finish_reason == Finish.CONTENT_FILTER:
            raise LLMRejected("The content filter of the LLM server withheld the answer; put the request differently.")
        if self._empty:
            raise LLMUnavailable("The LLM gave an empty answer, neither text nor tool calls; send the message again.")
        item = AssistantItem(content="".join(self._texts), tool_calls=self._tool_calls(), finish=self._finish())
        return self._reply(item)

    def abort(self) -> Reply:
        """Return the text of a reply that we ended; its tool calls are dropped, as they may lack their end."""
        if self.finished:
            return self.complete()
        return self._reply(AssistantItem(content="".join(self._texts), finish=Finish.ABORTED))

    def _reply(self, item: AssistantItem) -> Reply:
        return Reply(item=item, usage=self._usage, started_at=self._started_at, ended_at=time.time())

    @property
    def _empty(self) -> bool:
        return not self._calls and not any(text.strip() for text in self._texts)

    def _finish(self) -> Finish:
        if self._finish_reason in (Finish.LENGTH, Finish.CONTENT_FILTER):
            return Finish(self._finish_reason)
        return Finish.TOOL_CALLS if self._calls else Finish.STOP  # many servers say "stop" after tool calls

    def _add_call(self, delta: _CallDelta) -> None:
        function = delta.function or _Function()
        call = self._call_of(delta, function)
        call.call_id = call.call_id or delta.id or ""
        call.name = call.name or function.name or ""  # some servers repeat the name in every delta
        call.arguments += function.arguments or ""

    def _call_of(self, delta: _CallDelta, function: _Function) -> _Call:
        """Return the call that `delta` goes on with, a fresh one if it starts one.

        Besides the index, the id tells: some servers send several whole calls, all with index 0 or none.
        """
        anonymous_start = delta.index is None and not delta.id and function.name
        for call in reversed(self._calls):
            if call.index == delta.index and (not delta.id or delta.id == call.call_id) and not anonymous_start:
                return call
        self._calls.append(_Call(delta.index, "", ""))
        return self._calls[-1]

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls, each with an id of its own: results are paired by it."""
        ids: set[str] = set()
        calls = []
        for position, call in enumerate(self._calls):
            call_id = call.call_id or f"call_{position}"
            while call_id in ids:
                call_id += f"_{position}"
            ids.add(call_id)
            calls.append(ToolCall(call_id=call_id, name=call.name, arguments=call.arguments))
        return tuple(calls)
