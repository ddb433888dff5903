"""The application with one more background agent, whose function streams what an LLM says.

Run as a file, in place of `app/main.py`.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

# Run as a file, the first place of the path is this folder.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from openai.types.chat import ChatCompletionChunk

from app import main
from app.agents import AGENTS, FUNCTIONS
from app.background import agent, function
from app.background.function import stream_to_websocket
from app.hosting.logs import set_up_logging
from app.settings import get_settings

WORDS = ("Hel", "lo", " there")


@function.defn()
async def say_it() -> str:
    """Stream some words and return them."""
    result = await stream_to_websocket(data=chunks())
    said: str = result["text"]
    return said


def chunks() -> Iterator[ChatCompletionChunk]:
    """Yield the words as the openai package does."""
    for word in WORDS:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        fields = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        yield ChatCompletionChunk.model_validate(fields)


@agent.defn()
class Speaker:
    """Says some words."""

    @agent.run
    async def run(self) -> str:
        said: str = await agent.step(say_it)
        return said


if __name__ == "__main__":
    settings = get_settings()
    set_up_logging(settings.log_level)
    vars(main).update(AGENTS=(*AGENTS, Speaker), FUNCTIONS=(*FUNCTIONS, say_it))
    asyncio.run(main.run_service(settings))
