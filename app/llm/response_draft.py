"""A reply of the Responses API, put together from the events of a stream.

No I/O. What an event repeats whole is taken as far as it is new: some servers send pieces, some only the whole.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.errors import LLMUnavailable
from app.llm.draft import ERROR, FAULT, Draft, list_of, usage_of
from app.text import clean
from app.turns.transcript import Finish, ToolCall

BETWEEN_PARTS = "\n\n"  # two messages, or two parts of a summary
_LAST = ("response.completed", "response.incomplete", "response.failed", "response.done")
_INCOMPLETE = {"max_output_tokens": Finish.LENGTH, "max_tokens": Finish.LENGTH, "content_filter": Finish.CONTENT_FILTER}
_OUR_FIELDS = ("type", "id", "summary", "content", "encrypted_content")  # of a thought, as it is sent back


class _Output:
    """One item of the output while it arrives. `kind` is "message", "function_call", "reasoning", or foreign."""

    def __init__(self) -> None:
        self.kind = ""
        self.call_id = self.name = ""
        self.arguments: list[str] = []
        self.argument_chars = 0
        self.voice = ""  # in which it thinks: some servers give both a summary and the text
        self.chars = 0  # of a message, as it stands in the text of the reply
        self.parts: dict[tuple[str, int], int] = {}  # how much of each part of a text has come
        self.phase: str | None = None
        self.sealed: dict[str, Any] | None = None

    def argue(self, arguments: str, *, whole: bool = False) -> None:
        """Take a piece of the arguments of a call, or the whole of them."""
        if whole:
            self.arguments.clear()
        self.arguments.append(arguments)
        self.argument_chars = len(arguments) + (0 if whole else self.argument_chars)


class ResponseDraft(Draft):
    """A reply of the Responses API while it arrives."""

    document_sign = "output"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._outputs: dict[int, _Output] = {}
        self._numbers: dict[str, int] = {}  # of items, by their ids: some servers leave `output_index` out

    def add(self, chunk: object) -> str:
        if not isinstance(chunk, dict):
            raise ValueError(f"an event that is no object: {str(chunk)[:80]!r}")
        kind = str(chunk.get("type") or "")
        if kind in _LAST or (not kind and self.document_sign in chunk):
            return self._end(kind, chunk.get("response") or chunk)
        if kind in ("response.output_item.added", "response.output_item.done"):
            return self._take_item(self._number(chunk), chunk.get("item"), whole=kind.endswith("done"))
        name = kind.removeprefix("response.")
        event, _, stage = name.rpartition(".")
        if stage not in ("delta", "done"):
            return ""
        said = chunk.get("delta") if stage == "delta" else chunk.get("text", chunk.get("refusal"))
        number = self._number(chunk)
        match event:
            case "output_text" | "refusal":
                return self._say(number, (event, _index(chunk, "content_index")), said, whole=stage == "done")
            case "reasoning_summary_text" | "reasoning_summary":
                self._reason(number, ("summary", _index(chunk, "summary_index")), said, whole=stage == "done")
            case "reasoning_text":
                self._reason(number, ("content", _index(chunk, "content_index")), said, whole=stage == "done")
            case "function_call_arguments":
                self._argue(number, chunk)
        return ""

    # Pieces

    def _output(self, number: int, kind: str) -> _Output:
        output = self._outputs.setdefault(number, _Output())
        output.kind = output.kind or kind
        return output

    def _number(self, chunk: Mapping[str, Any]) -> int:
        """Return which item of the output an event is of."""
        item = chunk.get("item")
        item_id = str(chunk.get("item_id") or (item.get("id") if isinstance(item, dict) else None) or "")
        number = chunk.get("output_index")
        if not isinstance(number, int) or isinstance(number, bool):
            fresh = max(self._outputs, default=-1) + (1 if isinstance(item, dict) else 0)
            number = self._numbers.get(item_id, max(fresh, 0))
        if item_id:
            self._numbers.setdefault(item_id, number)
        return number

    def _say(self, number: int, part: tuple[str, int], said: object, *, whole: bool) -> str:
        output = self._output(number, "message")
        new = _new(output, part, said, whole=whole)
        if new and not output.chars and self._text.chars:
            new = BETWEEN_PARTS + new
        output.chars += len(new)
        return self._text.add(new)

    def _reason(self, number: int, part: tuple[str, int], said: object, *, whole: bool) -> None:
        output = self._output(number, "reasoning")
        output.voice = output.voice or part[0]
        if part[0] != output.voice:
            return
        begins = part not in output.parts
        new = _new(output, part, said, whole=whole)
        if new:
            self._think((BETWEEN_PARTS if begins and self._thought.chars else "") + new)

    def _argue(self, number: int, chunk: Mapping[str, Any]) -> None:
        output = self._output(number, "function_call")
        if isinstance(delta := chunk.get("delta"), str):
            output.argue(delta)
        if isinstance(arguments := chunk.get("arguments"), str) and arguments:
            output.argue(arguments, whole=True)
        output.name = output.name or str(chunk.get("name") or "")

    # Wholes

    def _take_item(self, number: int, item: object, *, whole: bool) -> str:
        if not isinstance(item, dict):
            raise ValueError(f"an item that is no object: {str(item)[:80]!r}")
        kind = str(item.get("type") or "message")
        output = self._output(number, kind)
        match kind:
            case "message":
                output.phase = item["phase"] if isinstance(item.get("phase"), str) else output.phase
                return self._take_message(number, item) if whole else ""
            case "function_call":
                output.call_id = str(item.get("call_id") or item.get("id") or output.call_id)
                output.name = str(item.get("name") or output.name)
                arguments = item.get("arguments")
                if whole and arguments:
                    output.argue(arguments if isinstance(arguments, str) else json.dumps(arguments), whole=True)
            case "reasoning" if whole:
                for voice in ("summary", "content"):
                    for index, part in enumerate(list_of(item.get(voice))):
                        self._reason(number, (voice, index), part.get("text"), whole=True)
                if item.get("encrypted_content") or item.get("content"):  # else it is known to a server that stores
                    output.sealed = {field: item[field] for field in _OUR_FIELDS if item.get(field) is not None}
                    output.sealed.setdefault("summary", [])
        return ""

    def _take_message(self, number: int, item: Mapping[str, Any]) -> str:
        content = item.get("content")
        if isinstance(content, str):
            content = {"type": "output_text", "text": content}
        text = ""
        for index, part in enumerate(list_of(content)):
            event = "refusal" if part.get("type") == "refusal" else "output_text"
            text += self._say(number, (event, index), part.get("text", part.get("refusal")), whole=True)
        return text

    def _end(self, kind: str, response: object) -> str:
        """Take the last event, which has the whole response, or a response that was not streamed.

        Errors: LLMUnavailable when it has failed and says no more.
        """
        if not isinstance(response, dict):
            raise ValueError(f"a response that is no object: {str(response)[:80]!r}")
        status = response.get("status") or kind.removeprefix("response.")
        if status in ("failed", "cancelled"):
            raise LLMUnavailable(FAULT)
        text = ""
        for number, item in enumerate(list_of(response.get("output"))):
            known = self._numbers.get(str(item.get("id")), number)
            text += self._take_item(known, item, whole=True)
        self._usage = usage_of(
            response.get("usage"), read="input_tokens", written="output_tokens", unmetered=self._usage
        )
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            self._finish_reason = _INCOMPLETE.get(str(reason), ERROR)
        else:
            self._finish_reason = Finish.STOP
        self.done = True
        return text

    # The reply

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(call_id=call_id, name=clean(output.name), arguments=clean("".join(output.arguments)))
            for call_id, output in self._calls()
        )

    def _calls(self) -> list[tuple[str, _Output]]:
        """Return the calls in order, each with an id of its own: results are paired by it."""
        calls: dict[str, _Output] = {}
        for number in sorted(self._outputs):
            output = self._outputs[number]
            if output.kind == "function_call":
                call_id = clean(output.call_id) or f"call_{number}"
                while call_id in calls:
                    call_id += f"_{number}"
                calls[call_id] = output
        return list(calls.items())

    @property
    def _call_chars(self) -> int:
        return sum(len(output.name) + output.argument_chars for output in self._outputs.values())

    @property
    def _has_calls(self) -> bool:
        return any(output.kind == "function_call" for output in self._outputs.values())

    def _sealed(self) -> str:
        """Return the order of the output, with its thoughts; texts and calls are named by length and id."""
        names = {id(output): call_id for call_id, output in self._calls()}
        parts: list[dict[str, Any]] = []
        for number in sorted(self._outputs):
            output = self._outputs[number]
            if output.sealed is not None:
                parts.append(output.sealed)
            elif output.kind == "function_call":
                parts.append({"call": names[id(output)]})
            elif output.kind == "message" and output.chars:
                parts.append({"chars": output.chars} | ({"phase": output.phase} if output.phase else {}))
        if not any("type" in part or "phase" in part for part in parts):
            return ""
        return clean(json.dumps(parts, ensure_ascii=False))


def _new(output: _Output, part: tuple[str, int], said: object, *, whole: bool) -> str:
    """Return what is new in a piece of a text, or in the whole of it."""
    if not isinstance(said, str):
        return ""
    had = output.parts.get(part, 0)
    new = said[had:] if whole else said
    output.parts[part] = had + len(new)
    return new


def _index(chunk: Mapping[str, Any], name: str) -> int:
    index = chunk.get(name)
    return index if isinstance(index, int) else 0
