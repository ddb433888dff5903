"""`stream_to_websocket` of the published library, without its engine: takes a stream of an LLM to its end.

Collects what came, tells it to who watches the agent, and keeps the function alive meanwhile. Opens no connection: the
gateway of this process, if it has one, shows what is told.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

from app.background.functions.current import function_info, heartbeat
from app.background.functions.output import END, tell
from app.background.published.ignored import ignored

_OWN_GATEWAY = "the gateway of this service shows the stream, at its own address"
_LAST = ("response.completed", "response.failed", "response.incomplete", "response.done")


async def stream_to_websocket(api_address: str | None = None, data: Any = None) -> dict[str, Any]:
    """Read a stream of chat completions or responses to its end and return what it held. Each chunk is a heartbeat.

    Who watches the agent at the gateway sees each chunk as it comes, and `[DONE]` at the end.

    Shapes: data is what the openai package returns for `stream=True`, async or not. The result has `events`, `text`,
    `event_count`, `final_response`, `response_id`, `usage` and `has_completion`.
    Errors: DefinitionError outside of a function that a step runs; what the stream raises.
    """
    if api_address is not None:
        ignored("stream_to_websocket(api_address=…)", _OWN_GATEWAY)
    info = function_info()
    events: list[Any] = []
    text: list[str] = []
    result: dict[str, Any] = {"final_response": None, "response_id": None, "usage": None, "has_completion": False}
    try:
        async for chunk in _chunks(data):
            heartbeat(len(events))
            events.append(chunk.model_dump(mode="json") if hasattr(chunk, "model_dump") else chunk)
            tell(info.agent_id, info.run_id, json.dumps(events[-1], ensure_ascii=False, default=str))
            text.append(_text_of(events[-1]))
            _look_for_the_end(events[-1], result)
    finally:
        tell(info.agent_id, info.run_id, END)
    return {"events": events, "text": "".join(text), "event_count": len(events), **result}


async def _chunks(data: Any) -> AsyncIterator[Any]:
    if hasattr(data, "__aiter__"):
        async for chunk in data:
            yield chunk
    elif data is not None and hasattr(data, "__iter__") and not isinstance(data, (dict, str, bytes)):
        for chunk in data:
            yield chunk


def _text_of(event: Any) -> str:
    """Return the text that a chunk adds."""
    if not isinstance(event, dict):
        return ""
    if event.get("type") == "response.output_text.delta":
        return str(event.get("delta") or "")
    choices = event.get("choices") or [{}]
    return str((choices[0].get("delta") or {}).get("content") or "")


def _look_for_the_end(event: Any, result: dict[str, Any]) -> None:
    """Keep the whole response, its id and the usage, when a chunk has them."""
    if not isinstance(event, dict):
        return
    response = event.get("response")
    if isinstance(response, dict):
        result["final_response"] = response
        result["response_id"] = response.get("id")
    usage = (response.get("usage") if isinstance(response, dict) else None) or event.get("usage")
    result["usage"] = usage or result["usage"]
    is_last_of_chat = any(choice.get("finish_reason") for choice in event.get("choices") or ())
    result["has_completion"] = result["has_completion"] or event.get("type") in _LAST or is_last_of_chat
