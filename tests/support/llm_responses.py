"""The answer of an LLM server to `POST /v1/responses`, OpenAI's other API: one JSON document, not streamed.

Only what a client needs to read it; the texts and calls are the plan's.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def response_document(
    text: str, calls: Sequence[Mapping[str, str | None]] = (), usage: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return the document: a message if there is text, then the function calls, each with name, arguments, call_id."""
    output: list[dict[str, Any]] = []
    if text:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        output.append(
            {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
        )
    output += [
        {"id": f"fc_{n}", "type": "function_call", "status": "completed", **call} for n, call in enumerate(calls)
    ]
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "model": "stub",
        "status": "completed",
        "output": output,
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        **({} if usage is None else {"usage": _usage(*usage)}),
    }


def _usage(read: int, written: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }
