"""Chat Completions: a request as the server takes it, and the draft of its answer.

No I/O but the request itself. How items look in it is in `wire.py`.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from openai import AsyncAPIResponse, AsyncOpenAI

from app.llm.chat_draft import DETAILS, REASONING_CONTENT, ChatDraft
from app.llm.draft import Draft, Tell
from app.llm.manners import Extra, Manners
from app.llm.wire import ToolSpec, WireMessage, to_messages, to_tools
from app.turns.transcript import AssistantItem, Item

GONE = " "  # in place of a thought; DeepSeek refuses an empty one


class ChatRequest:
    """One request. `sent` are the extras in it; `thoughts_held_back` tells whether replies are in it without theirs."""

    def __init__(
        self, items: Sequence[Item], tools: Sequence[ToolSpec], instructions: str, *, manners: Manners, maker: str
    ) -> None:
        self._manners = manners
        self._maker = maker
        self.sent: set[Extra] = set()
        self.thoughts_held_back = False
        self._body: dict[str, Any] = {"messages": to_messages(items, instructions, self._given_back)}
        if tools:  # servers refuse an empty list
            self._body["tools"] = to_tools(tools)
        if self._takes(Extra.USAGE):
            self._body["stream_options"] = {"include_usage": True}

    def open(self, client: AsyncOpenAI, model: str) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Return the answer, as it arrives."""
        # The SDK walks `messages` by their types, 0.15 ms for each (measured); `extra_body` replaces it, unwalked.
        create = client.chat.completions.with_streaming_response.create
        return create(model=model, messages=(), stream=True, extra_body=self._body)

    def draft(self, on_thought: Tell | None, max_thought_chars: int) -> Draft:
        """Return a draft of the answer."""
        return ChatDraft(maker=self._maker, on_thought=on_thought, max_thought_chars=max_thought_chars)

    def _takes(self, extra: Extra) -> bool:
        if self._manners.takes(extra):
            self.sent.add(extra)
            return True
        return False

    def _given_back(self, item: AssistantItem) -> WireMessage:
        """Return the fields by which the server gets its thoughts back. Those of an earlier turn are gone by then."""
        thought = item.thought
        if thought is None and not self._manners.takes(Extra.THOUGHTS):
            self.thoughts_held_back = True
            return {}
        ours = thought is not None and thought.maker == self._maker
        kept = json.loads(thought.sealed) if thought is not None and ours else {}
        fields: WireMessage = {}
        if (details := kept.get(DETAILS)) and self._takes(Extra.DETAILS):
            fields[DETAILS] = details
        if (calls := kept.get("calls")) and self._takes(Extra.SIGNATURES):
            fields["calls"] = calls
        if self._manners.takes(Extra.THOUGHTS):
            # Who demands it demands it of every reply, also of earlier turns, where it is gone (DeepSeek).
            text = thought.text if thought is not None and ours else ""
            fields[kept.get("field", REASONING_CONTENT)] = text if text.strip() else GONE
            self.sent.add(Extra.THOUGHTS)
        else:
            self.thoughts_held_back = True
        return fields
