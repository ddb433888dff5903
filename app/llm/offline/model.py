"""The offline model: answers without a network, for trying things out and for tests.

Keeps no state: what it says follows from the request alone. It is a transport that speaks the streaming Chat
Completions format, so that the client cannot tell it from a server.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from app.llm.offline.arguments import arguments_for
from app.llm.offline.notes import notes_of
from app.llm.offline.trip import next_step
from app.llm.parts import ATTACHED
from app.llm.wire import BETWEEN_TEXTS, BROKEN_OFF, CONTINUE, INTERRUPTED, WireMessage
from app.turns.compaction.summary import INSTRUCTIONS as SUMMARY_INSTRUCTIONS
from app.turns.compaction.summary import OPENING as SUMMARY_OPENING
from app.turns.transcript import FROM_AGENT

ITERATION_TEXT = "Do another iteration"
TOOL = "execute_task"


class OfflineTransport(httpx2.AsyncBaseTransport):
    """Plays a model that calls the tools which a message names, each once, and then says what they answered.

    `/trip Lisbon` is the worked example (`trip.py`), and what a background agent says is passed on as it is.
    A message that names no tool is worked on with `execute_task`, in as many iterations as `iterations` says. Each
    reply takes `pace_s` seconds.
    """

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
    """What the messages since the last final answer ask for, and what was done about it. `results` is by tool."""

    requests: tuple[str, ...] = ()
    iterations: int = 0
    results: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Reply:
    """What the model says next: a text, and a call of a tool with its arguments if there is one."""

    text: str
    tool: str | None = None
    arguments: Mapping[str, Any] | None = None


def _chunks(body: dict[str, Any], iterations: int) -> list[str]:
    """Return the chunks of the reply to a request, as JSON."""
    messages: list[WireMessage] = [*map(_in_words, body["messages"])]
    sums_up = messages[0]["content"] == SUMMARY_INSTRUCTIONS
    reply = (
        _Reply(notes_of(messages[-1]["content"]))
        if sums_up
        else _reply_to(_task_of(messages), _parameters(body), iterations)
    )

    deltas: list[dict[str, Any]] = [{"content": word} for word in _words(reply.text)]
    if reply.tool is not None:
        deltas.append({"tool_calls": [_call(messages, reply)]})
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls" if reply.tool else "stop"})

    prompt_tokens = sum(len(str(message["content"]).split()) for message in messages)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(deltas),
        "total_tokens": prompt_tokens + len(deltas),
    }
    frame = {"id": "chatcmpl-offline", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
    chunks = [{**frame, "choices": [choice]} for choice in choices]
    return [json.dumps(chunk) for chunk in (*chunks, {**frame, "choices": [], "usage": usage})]


def _reply_to(task: _Task, parameters: Mapping[str, Mapping[str, Any]], iterations: int) -> _Reply:
    """Return what the model says next. `parameters` are the JSON schemas of the tools that there are, by name."""
    called = dict(task.results)
    if (step := next_step(task.requests, called, parameters)) is not None:
        return _Reply(step.text, step.tool, step.arguments)
    if task.requests and all(request.startswith(FROM_AGENT) for request in task.requests):
        return _Reply("\n".join(f"I pass it on: {_told(request)}" for request in task.requests))
    named = list(_named_tools(task, parameters))
    for tool, request in named:
        if tool not in called:
            return _Reply(f"Calling {tool}", tool, arguments_for(parameters[tool], request))
    if not named and TOOL in parameters and task.iterations < iterations:
        return _Reply(ITERATION_TEXT, TOOL, {"task": task.requests[-1] if task.requests else CONTINUE})
    said = [f"{tool} said: {called[tool]}" for tool, _ in named]
    return _Reply(" ".join(["Done:", "; ".join(task.requests)]).strip() + "." + "".join(f"\n{line}" for line in said))


def _in_words(message: WireMessage) -> WireMessage:
    """Return a message as text alone: of each file, that it is there."""
    content = message["content"]
    parts = [part["text"] for part in content if part["type"] == "text"] if isinstance(content, list) else None
    if parts is None and (message["role"] != "user" or ATTACHED not in content):
        return message
    texts = content.split(BETWEEN_TEXTS) if parts is None else parts
    return {**message, "content": BETWEEN_TEXTS.join(_title(text) for text in texts)}


def _title(text: str) -> str:
    return text.partition("\n")[0] if text.startswith(ATTACHED) else text


def _told(request: str) -> str:
    """Return what an agent has said, without the mark of each line that it is the agent's."""
    _, *lines = request.splitlines()
    return "\n".join(line.removeprefix("> ") for line in lines)


def _named_tools(task: _Task, tools: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the tools that the requests name, with the request, in the order in which they stand there."""
    for request in task.requests:
        for word in re.findall(r"[\w-]+", request):
            if (name := word if word in tools else word.strip("-")) in tools:
                yield name, request


def _task_of(messages: list[WireMessage]) -> _Task:
    task = _Task()
    tools: dict[str, str] = {}  # by the id of the call
    for message in messages:
        text = message["content"] or ""
        match message["role"]:
            case "user" if text != CONTINUE:
                said = (each for each in text.split(BETWEEN_TEXTS) if not each.startswith(SUMMARY_OPENING))
                task = replace(task, requests=(*task.requests, *said))
            case "assistant" if "tool_calls" in message:
                tools |= {call["id"]: call["function"]["name"] for call in message["tool_calls"]}
                task = replace(task, iterations=task.iterations + 1)
            case "assistant" if not text.endswith((INTERRUPTED, BROKEN_OFF)):
                task = _Task()
            case "tool" if message["tool_call_id"] in tools:
                task = replace(task, results=(*task.results, (tools[message["tool_call_id"]], text)))
    return task


def _parameters(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in body.get("tools", ())}


def _call(messages: list[WireMessage], reply: _Reply) -> dict[str, Any]:
    """Return a tool call whose id is a digest of the conversation: the same request gets the same reply."""
    digest = hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:16]
    function = {"name": reply.tool, "arguments": json.dumps(reply.arguments)}
    return {"index": 0, "id": f"call_{digest}", "type": "function", "function": function}


def _words(text: str) -> list[str]:
    """Split `text` into words that join to it again."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
