"""The client of the LLM: one streamed Chat Completions request per call.

It never retries: retries are durable, and made by who calls it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
from openai import AsyncOpenAI, OpenAIError

from app.llm.failures import Endpoint, to_llm_error
from app.llm.reply import Draft, Reply
from app.llm.wire import ToolSpec, to_messages, to_tools
from app.transcript import Item


class LLM:
    """An LLM behind an OpenAI-compatible server. Belongs to one event loop."""

    def __init__(self, client: AsyncOpenAI, *, model: str, instructions: str) -> None:
        self._client = client
        self._model = model
        self._instructions = instructions
        address = client.base_url.copy_with(userinfo=b"", query=None)  # its other parts may be secret
        self._endpoint = Endpoint(server=str(address), model=model, secret=client.api_key)

    async def complete(
        self,
        items: Sequence[Item],
        tools: Sequence[ToolSpec] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Ask the LLM to go on after `items`; `on_text` is given each piece of text as it arrives and must not raise.

        When the awaiting task is cancelled, the request is aborted at once and the reply is what had arrived, with
        `finish` ABORTED; a reply that was complete by then stays complete. The cancellation is swallowed, but stays
        visible as `Task.cancelling()`.
        Errors: LLMUnavailable, LLMRejected; both say what happened in a sentence for the user of the chat.
        """
        request = self._request(items, tools)
        draft = Draft()
        try:
            async with await self._client.chat.completions.create(**request) as stream:
                async for chunk in stream:
                    text = draft.add(chunk)
                    if text and on_text is not None:
                        on_text(text)
        except asyncio.CancelledError:
            return draft.abort()
        except (OpenAIError, httpx2.HTTPError, ValueError) as exc:  # ValueError: a chunk that cannot be decoded
            if not draft.finished:
                raise to_llm_error(exc, self._endpoint) from exc
        return draft.complete()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _request(self, items: Sequence[Item], tools: Sequence[ToolSpec]) -> dict[str, Any]:
        body: dict[str, Any] = {"messages": to_messages(items, self._instructions)}
        if tools:  # servers refuse an empty list
            body["tools"] = to_tools(tools)
        return {
            "model": self._model,
            "messages": (),
            "stream": True,
            "stream_options": {"include_usage": True},
            # The SDK walks `messages` by their types, 0.15 ms for each (measured); `extra_body` replaces it, unwalked.
            "extra_body": body,
        }
