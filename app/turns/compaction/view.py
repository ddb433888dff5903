"""What the LLM sees in one run of a turn, and what happens when that is more than it takes.

Nothing of it is stored: the transcript and the memory keep the whole.
"""

from collections.abc import Sequence
from typing import Protocol

from app.durable import get_logger
from app.errors import ContextTooLong
from app.llm import Reply, ToolSpec, get_llm
from app.settings import get_settings
from app.turns.compaction.fitting import estimate_tokens
from app.turns.compaction.summary import Summary
from app.turns.context import window
from app.turns.transcript import Item

logger = get_logger("agent_session")


class Listener(Protocol):
    """Hears the text of a reply as it arrives, and what the LLM thinks before."""

    def __call__(self, text: str) -> None: ...

    def thought(self, text: str) -> None: ...


class View:
    """The earlier turns of a run, oldest first, and the summary of those before. `caller` is who asks: the chat."""

    def __init__(
        self, history: Sequence[Sequence[Item]] = (), summary: Summary | None = None, *, caller: str = ""
    ) -> None:
        self._caller = caller
        self._history = history
        self._summary = summary
        # Of calls in this process alone, as a replay makes none. What it costs to learn it again is a refusal.
        self._budget: int | None = None

    def shows_the_same(self, other: "View") -> bool:
        """Return whether this and another view show the same earlier turns."""
        return self._history == other._history and self._summary == other._summary

    async def ask(self, items: Sequence[Item], tools: Sequence[ToolSpec], tell: Listener) -> Reply:
        """Ask the LLM to go on after `items`. If it refuses because that is too long, ask once more, with half of it.

        Errors: LLMError; ContextTooLong if half of it is too long as well.
        """
        seen = self.seen(items, self._budget or get_settings().context_tokens)
        try:
            return await get_llm().complete(seen, tools, tell, tell.thought, caller=self._caller)
        except ContextTooLong as exc:
            half = self.seen(items, estimate_tokens(seen) // 2)
            if exc.text or estimate_tokens(half) >= estimate_tokens(seen):
                raise
            logger.warning("The LLM refused a request as too long; trying again with half of what it sees")
            self._budget = estimate_tokens(seen) // 2
            # Without a name: after a durable wait the whole would be asked first, and never this where a minute is one.
            return await get_llm().complete(half, tools, tell, tell.thought)

    def seen(self, items: Sequence[Item], budget_tokens: int) -> list[Item]:
        """Return what the LLM sees: the earlier turns and `items`, as far as they fit."""
        return window(self._history, items, budget_tokens=budget_tokens, summary=self._summary)
