"""The answer of an LLM server to `POST /v1/responses`, OpenAI's other API: one JSON document, or a stream of events.

Only what a client needs to read it; the texts, thoughts and calls are the plan's.
"""

from collections.abc import Iterator, Mapping, Sequence
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


def response_events(
    texts: Sequence[str],
    calls: Sequence[Mapping[str, str | None]] = (),
    usage: tuple[int, int] | None = None,
    *,
    thoughts: Sequence[str] = (),
    sealed: str | None = None,
    incomplete: str | None = None,
    details: tuple[int, int] = (0, 0),
) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream: thoughts, then a message, then calls, each as OpenAI sends them.

    `sealed` is the encrypted content of the thoughts, `incomplete` why the response is, `details` are the tokens that
    were cached and those that were thought with.
    """
    document = {**response_document("".join(texts), calls, usage), "status": "in_progress", "output": []}
    yield {"type": "response.created", "response": document}
    output: list[dict[str, Any]] = []
    if thoughts or sealed:
        item = {"id": "rs_1", "type": "reasoning", "summary": []}
        yield from _thinking(item, thoughts, sealed, output)
    if texts:
        yield from _message(texts, output)
    for number, call in enumerate(calls):
        yield from _call(f"fc_{number}", call, output)
    end = {**document, "status": "incomplete" if incomplete else "completed", "output": output}
    if incomplete:
        end["incomplete_details"] = {"reason": incomplete}
    if usage is not None:
        end["usage"] = _usage(*usage, *details)
    yield {"type": f"response.{end['status']}", "response": end}


def _thinking(
    item: dict[str, Any], thoughts: Sequence[str], sealed: str | None, output: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    where = {"item_id": item["id"], "output_index": len(output), "summary_index": 0}
    yield {"type": "response.output_item.added", "output_index": len(output), "item": item}
    for thought in thoughts:
        yield {"type": "response.reasoning_summary_text.delta", **where, "delta": thought}
    summary = [{"type": "summary_text", "text": "".join(thoughts)}] if thoughts else []
    if thoughts:
        yield {"type": "response.reasoning_summary_text.done", **where, "text": "".join(thoughts)}
    done = {**item, "summary": summary, "encrypted_content": sealed}
    yield {"type": "response.output_item.done", "output_index": len(output), "item": done}
    output.append(done)


def _message(texts: Sequence[str], output: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    where = {"item_id": "msg_1", "output_index": len(output), "content_index": 0}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": len(output), "item": item}
    for text in texts:
        yield {"type": "response.output_text.delta", **where, "delta": text}
    part = {"type": "output_text", "text": "".join(texts), "annotations": []}
    yield {"type": "response.output_text.done", **where, "text": "".join(texts)}
    yield {"type": "response.content_part.done", **where, "part": part}
    done = {**item, "status": "completed", "content": [part], "phase": "commentary"}
    yield {"type": "response.output_item.done", "output_index": len(output), "item": done}
    output.append(done)


def _call(item_id: str, call: Mapping[str, str | None], output: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    where = {"item_id": item_id, "output_index": len(output)}
    arguments = call["arguments"] or ""
    item = {"id": item_id, "type": "function_call", "status": "in_progress", **call, "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": len(output), "item": item}
    for piece in (arguments[:5], arguments[5:]):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **where, "arguments": arguments}
    done = {**item, "status": "completed", "arguments": arguments}
    yield {"type": "response.output_item.done", "output_index": len(output), "item": done}
    output.append(done)


def check_input(items: Sequence[Mapping[str, Any]]) -> None:
    """Assert what OpenAI demands of the input of a request.

    Errors: AssertionError with the rule that is broken.
    """
    open_ids: list[str] = []
    for position, item in enumerate(items):
        following = items[position + 1]["type"] if position + 1 < len(items) else None
        match item["type"]:
            case "function_call":
                open_ids.append(item["call_id"])
            case "function_call_output":
                assert item["call_id"] in open_ids, ("an output has its call before it", items)
                open_ids.remove(item["call_id"])
            case "reasoning":
                assert item["encrypted_content"], ("a thought is known to the server, or brought to it", items)
                assert following in ("reasoning", "message", "function_call"), ("something follows a thought", items)
            case "message":
                assert not open_ids or item["role"] == "assistant", ("every call has its output", items)
                assert item["content"], ("a message says something", items)
    assert not open_ids, ("every call has its output", items)


def _usage(read: int, written: int, cached: int = 0, thought: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": read + written,
    }
