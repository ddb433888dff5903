"""The application with an agent and a tool of a test beside its own. Run as a file, in place of `app/main.py`."""

import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

# Run as a file, the first place of the path is this folder.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from pydantic import BaseModel

import app.agents
import app.tools
from app.background import agent, condition, log
from app.chat_agents import chat
from app.durable import RetryPolicy
from app.errors import UsageError
from app.tools.context import ToolContext
from app.tools.registry import by_name, tool


class Saying(BaseModel):
    """What to send into the chat: `text` with the number behind it, so many times."""

    text: str
    times: int = 1
    mode: str | None = None


class Named(BaseModel):
    """What a parrot begins with."""

    name: str


@agent.defn()
class Parrot:
    """Says in its chat what it is told to."""

    def __init__(self) -> None:
        self.end = False
        self.heard: list[str] = []

    @agent.event
    async def say(self, saying: Saying) -> None:
        """Send messages into the chat, and note what became of each."""
        for number in range(saying.times):
            try:
                receipt = await chat().send(f"{saying.text} {number}", mode=saying.mode)
            except UsageError as exc:
                self.heard.append(f"{type(exc).__name__}: {exc.message}")
            else:
                self.heard.append(receipt.decision)

    @agent.event
    async def finish(self) -> None:
        """End."""
        self.end = True

    @agent.state
    def told(self) -> list[str]:
        """Return what became of the messages."""
        return self.heard

    @agent.run
    async def run(self, named: Named) -> dict[str, Any]:
        log.info(f"Parrot {named.name} begins")
        await condition(lambda: self.end)
        return {"name": named.name, "told": self.heard}


@tool(retry=RetryPolicy(max_attempts=3, initial_interval=timedelta(milliseconds=10)))
async def start_again(call: ToolContext) -> str:
    """Start an agent, fail, and start it again in the next attempt."""
    agent_id = await call.agents.start(call.call_id, "Parrot", {"name": "Polly"})

    async def count() -> int:
        _attempts[agent_id] += 1
        return _attempts[agent_id]

    if await call.step("count", count, result_type=int) < 3:
        raise ConnectionError("not yet")
    return agent_id


_attempts: Counter[str] = Counter()


if __name__ == "__main__":
    app.tools.TOOLS = by_name(*app.tools.TOOLS.values(), start_again)
    app.agents.AGENTS = (*app.agents.AGENTS, Parrot)  # type: ignore[assignment]  # one more, before the rest of the house is imported
    from app.main import main

    raise SystemExit(main(sys.argv[1:]))
