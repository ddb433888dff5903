"""The wire format: items and tools as an OpenAI-compatible server takes them in Chat Completions.

Pure: no I/O. Strict servers accept what it writes, whatever the items are. `turns/context.py` chooses the items.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from app.llm.parts import Part, Shown
from app.turns.context import repair
from app.turns.transcript import AssistantItem, Finish, Item, ToolCall, ToolItem, UserItem

INTERRUPTED = "[interrupted by the user before this was finished]"
BROKEN_OFF = "[broken off by a fault of the server before this was finished]"
CONTINUE = "Continue."
BETWEEN_TEXTS = "\n\n"

WireMessage = dict[str, Any]

_MARKS = {Finish.ABORTED: INTERRUPTED, Finish.BROKEN: BROKEN_OFF}


@dataclass(frozen=True)
class ToolSpec:
    """What the LLM is told about a tool. `parameters` is the JSON schema of its arguments, an object."""

    name: str
    description: str
    parameters: dict[str, Any]


def to_messages(
    items: Sequence[Item], instructions: str, given_back: Callable[[AssistantItem], WireMessage] | None = None
) -> list[WireMessage]:
    """Return the messages of a request: `instructions` as the system prompt, then what `items` say.

    `given_back` returns the fields that a reply of the LLM has besides; `calls` in it are fields of its calls, by id.

    Shapes: calls and results are paired. User and assistant alternate: adjacent texts become one message, joined by a
    blank line. The last message is always for the LLM to answer, a user text or a tool result.
    """
    messages: list[WireMessage] = [{"role": "system", "content": instructions}]
    for item in repair(items):
        message = _to_message(item)
        if message is None:
            continue
        if given_back is not None and isinstance(item, AssistantItem):
            _give_back(message, given_back(item))
        if _same_voice(messages[-1], message):
            messages[-1] = _joined(messages[-1], message)
        else:
            messages.append(message)
    if messages[-1]["role"] not in ("user", "tool"):
        messages.append({"role": "user", "content": CONTINUE})
    return messages


def to_tools(specs: Iterable[ToolSpec]) -> list[WireMessage]:
    """Return the `tools` of a request."""
    return [
        {
            "type": "function",
            "function": {"name": spec.name, "description": spec.description, "parameters": spec.parameters},
        }
        for spec in specs
    ]


def _to_message(item: Item) -> WireMessage | None:
    """Return the message of one item, None for an assistant item that says nothing: servers refuse an empty one."""
    match item:
        case Shown():
            return {"role": "user", "content": item.parts}
        case UserItem():
            return {"role": "user", "content": item.said}
        case ToolItem():
            return {"role": "tool", "tool_call_id": item.call_id, "content": item.content}
        case AssistantItem(content=text) if item.tool_calls:
            return {"role": "assistant", "content": text or None, "tool_calls": [*map(_to_call, item.tool_calls)]}
        case AssistantItem(content=text) if text.strip():
            mark = _MARKS.get(item.finish)
            return {"role": "assistant", "content": f"{text}\n{mark}" if mark else text}
    return None


def _give_back(message: WireMessage, fields: WireMessage) -> None:
    extras = fields.pop("calls", {})
    for call in message.get("tool_calls", ()):
        if call["id"] in extras:
            call["extra_content"] = extras[call["id"]]
    message.update(fields)


def _to_call(call: ToolCall) -> WireMessage:
    """Return one tool call, well-formed. Servers refuse a history with a malformed name or arguments for ever."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", call.name)[:64] or "unknown"
    arguments = call.arguments if _is_json_object(call.arguments) else "{}"
    return {"id": call.call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except ValueError:
        return False


def _same_voice(last: WireMessage, message: WireMessage) -> bool:
    """Return whether two messages would stand side by side without alternating."""
    return last["role"] == message["role"] != "tool" and "tool_calls" not in last


def _joined(last: WireMessage, message: WireMessage) -> WireMessage:
    if isinstance(last["content"], list) or isinstance(message["content"], list):
        return {**message, "content": [*_as_parts(last["content"]), *_as_parts(message["content"])]}
    texts = (text for text in (last["content"], message["content"]) if text)
    return {**message, "content": BETWEEN_TEXTS.join(texts)}


def _as_parts(content: str | list[Part]) -> list[Part]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]
