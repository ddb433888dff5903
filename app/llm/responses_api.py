"""The Responses API: a request as the server takes it, and the draft of its answer.

No I/O but the request itself. Nothing is stored at the server: what it needs of the turn is sent to it again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from openai import AsyncAPIResponse, AsyncOpenAI

from app.llm.draft import Draft, Tell
from app.llm.manners import Extra, Manners
from app.llm.parts import Part
from app.llm.response_draft import ResponseDraft
from app.llm.wire import ToolSpec, WireMessage, to_messages
from app.turns.transcript import AssistantItem, Item

_SEALED = "sealed"


class ResponsesRequest:
    """One request. `sent` are the extras in it."""

    thoughts_held_back = False  # what this API wants back it says in advance

    def __init__(
        self, items: Sequence[Item], tools: Sequence[ToolSpec], instructions: str, *, manners: Manners, maker: str
    ) -> None:
        self._manners = manners
        self._maker = maker
        self.sent: set[Extra] = set()
        system, *messages = to_messages(items, instructions, self._given_back)
        self._body: dict[str, Any] = {
            "instructions": system["content"],
            "input": [entry for message in messages for entry in to_input(message)],
            "store": False,
        }
        if tools:
            self._body["tools"] = to_tools(tools)
        if self._takes(Extra.SEALED):
            self._body["include"] = ["reasoning.encrypted_content"]
        if self._takes(Extra.SUMMARY):
            self._body["reasoning"] = {"summary": "auto"}

    def open(self, client: AsyncOpenAI, model: str) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Return the answer, as it arrives."""
        create = client.responses.with_streaming_response.create  # `extra_body` is not walked by the types of the SDK
        return create(model=model, stream=True, extra_body=self._body)

    def draft(self, on_thought: Tell | None, max_thought_chars: int) -> Draft:
        """Return a draft of the answer."""
        return ResponseDraft(maker=self._maker, on_thought=on_thought, max_thought_chars=max_thought_chars)

    def _takes(self, extra: Extra) -> bool:
        if self._manners.takes(extra):
            self.sent.add(extra)
            return True
        return False

    def _given_back(self, item: AssistantItem) -> WireMessage:
        thought = item.thought
        if thought is None or not thought.sealed or thought.maker != self._maker or not self._takes(Extra.ITEMS):
            return {}
        return {_SEALED: json.loads(thought.sealed)}


def to_input(message: WireMessage) -> list[WireMessage]:
    """Return a message of Chat Completions as items of this API's input."""
    match message["role"]:
        case "tool":
            output = {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
            return [output]
        case "assistant":
            return list(_reply(message))
    content = message["content"]
    parts = [*map(_to_part, content)] if isinstance(content, list) else content
    return [{"type": "message", "role": message["role"], "content": parts}]


def to_tools(specs: Iterable[ToolSpec]) -> list[WireMessage]:
    """Return the `tools` of a request. Not strict: that is another schema, which not every tool has."""
    return [
        {
            "type": "function",
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
            "strict": False,
        }
        for spec in specs
    ]


def _to_part(part: Part) -> Part:
    """Return a part of a message, which has other names in this API."""
    match part["type"]:
        case "image_url":
            return {"type": "input_image", "image_url": part["image_url"]["url"]}
        case "file":
            return {"type": "input_file", **part["file"]}
    return {"type": "input_text", "text": part["text"]}


def _reply(message: WireMessage) -> Iterator[WireMessage]:
    """Yield a reply as it came: thoughts, texts and calls in their order. Without what is sealed, texts and calls."""
    calls = {call["id"]: _call(call) for call in message.get("tool_calls", ())}
    text: str = message["content"] or ""
    sealed: list[Mapping[str, Any]] = message.get(_SEALED, [])
    if sum(part.get("chars", 0) for part in sealed) != len(text):  # the text was cut since: nobody knows where
        sealed = [part for part in sealed if "chars" not in part]
        yield from _message(text)
        text = ""
    for part in sealed:
        if "chars" in part:
            yield from _message(text[: part["chars"]], part.get("phase"))
            text = text[part["chars"] :]
        elif "call" in part:
            if (call := calls.pop(part["call"], None)) is not None:
                yield call
        elif calls or text:  # a thought that nothing follows is refused
            yield dict(part)
    yield from _message(text)
    yield from calls.values()


def _message(text: str, phase: str | None = None) -> Iterator[WireMessage]:
    if text.strip():
        message: WireMessage = {"type": "message", "role": "assistant", "content": text}
        yield message if phase is None else {**message, "phase": phase}


def _call(call: Mapping[str, Any]) -> WireMessage:
    function = call["function"]
    return {
        "type": "function_call",
        "call_id": call["id"],
        "name": function["name"],
        "arguments": function["arguments"],
    }
