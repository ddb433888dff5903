"""The run's part in a rollback: what its turn has done, and the compensations, the last call first.

Each compensation is a durable step: what has been undone is not undone again by a replay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.durable import RetryPolicy, get_logger, step
from app.errors import StepFailed
from app.text import shorten
from app.tools import Tool
from app.turns.transcript import Undone

RETRY = RetryPolicy(max_attempts=6)  # of tools that have no `retry` of their own; half a minute
ATTEMPT_S = 60.0  # one that hangs must not hold the chat for ever
MAX_ERROR_CHARS = 300

logger = get_logger("agent_session")


@dataclass(frozen=True)
class Done:
    """A call that gave a result: of which tool, with which arguments, and what the tool returned."""

    call_id: str
    tool: Tool
    arguments: dict[str, Any]
    result: Any


def reversible(done: Sequence[Done]) -> bool:
    """Return whether there is anything to undo."""
    return any(each.tool.compensate is not None for each in done)


async def undo(done: Sequence[Done], owner: str) -> tuple[Undone, ...]:
    """Undo what can be undone, the last call first; one that fails does not keep the others from it.

    Durable: one step `compensate <tool>` for each attempt.
    """
    return tuple([await _undone(each, owner) for each in reversed(done) if each.tool.compensate is not None])


async def _undone(done: Done, owner: str) -> Undone:
    tool = done.tool
    logger.info("Undoing %s for %s", tool.name, owner)
    action = partial(_compensate, done)
    try:
        await step(f"compensate {tool.name}", action, timeout_s=ATTEMPT_S, retry=tool.retry or RETRY)
    except StepFailed as exc:
        logger.warning("The compensation of %s for %s failed: %s", tool.name, owner, exc.message)
        return Undone(call_id=done.call_id, name=tool.name, error=shorten(exc.message, MAX_ERROR_CHARS))
    return Undone(call_id=done.call_id, name=tool.name)


async def _compensate(done: Done) -> None:
    if done.tool.compensate is not None:
        await done.tool.compensate(done.result, **done.arguments)
