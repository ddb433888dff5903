"""The offline model: answers without a network, for trying things out and for tests.

A transport that speaks the streaming Chat Completions format, so that the client cannot tell it from a server.
It keeps no state: what it says follows from the request alone.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2

from app.llm.wire import BETWEEN_TEXTS, CONTINUE, INTERRUPTED, WireMessage

ITERATION_TEXT = "Do another iteration"
TOOL = "execute_task"


class OfflineTransport(httpx2.AsyncBaseTransport):
    """Plays a model that iterates `iterations` times, calling a tool, and then answers; each reply takes `pace_s`."""

    def __init__(self, *, iterations: int, pace_s: float) -> None:
        self._iterations = iterations
        self._pace_s = pace_s

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(await request.aread())
        chunks = [*_chunks(body, self._iterations), "[DONE]"]
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=self._stream(chunks))

    async def _stream(self, chunks: list[str]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            if self._pace_s:
                await asyncio.sleep(self._pace_s / len(chunks))
            yield f"data: {chunk}\n\n".encode()


@dataclass(frozen=True)
class _Task:
    """What the messages since the last final answer ask for, and the iterations spent on it."""

    requests: tuple[str, ...] = ()
    iterations: int = 0


def _chunks(body: dict[str, Any], iterations: int) -> list[str]:
    """Return the chunks of the reply to a request, as JSON."""
    messages: list[WireMessage] = body["messages"]
    task = _task_of(messages)
    has_tool = any(tool["function"]["name"] == TOOL for tool in body.get("tools", ()))
    iterate = has_tool and task.iterations < iterations
    text = ITERATION_TEXT if iterate else " ".join(["Done:", "; ".join(task.requests)]).strip() + "."

    deltas: list[dict[str, Any]] = [{"content": word} for word in _words(text)]
    if iterate:
        deltas.append({"tool_calls": [_call(messages, task)]})
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls" if iterate else "stop"})

    prompt_tokens = sum(len(str(message["content"]).split()) for message in messages)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(deltas),
        "total_tokens": prompt_tokens + len(deltas),
    }
    frame = {"id": "chatcmpl-offline", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
    chunks = [{**frame, "choices": [choice]} for choice in choices]
    return [json.dumps(chunk) for chunk in (*chunks, {**frame, "choices": [], "usage": usage})]


def _task_of(messages: list[WireMessage]) -> _Task:
    task = _Task()
    for message in messages:
        text = message["content"] or ""
        match message["role"]:
            case "user" if text != CONTINUE:
                task = _Task((*task.requests, *text.split(BETWEEN_TEXTS)), task.iterations)
            case "assistant" if "tool_calls" in message:
                task = _Task(task.requests, task.iterations + 1)
            case "assistant" if not text.endswith(INTERRUPTED):
                task = _Task()
    return task


def _call(messages: list[WireMessage], task: _Task) -> dict[str, Any]:
    """Return a tool call whose id is a digest of the conversation: the same request gets the same reply."""
    digest = hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:16]
    arguments = json.dumps({"task": task.requests[-1] if task.requests else CONTINUE})
    return {"index": 0, "id": f"call_{digest}", "type": "function", "function": {"name": TOOL, "arguments": arguments}}


def _words(text: str) -> list[str]:
    """Split `text` into words that join to it again."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
