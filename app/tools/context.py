"""What a call of a tool knows of itself, for tools that ask for it by a parameter of type `ToolContext`.

Runs no tools.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from app.durable import RetryPolicy, replaying
from app.durable import step as durable_step
from app.errors import UsageError
from app.tools.agents_of_chat import AgentsOfChat
from app.tools.progress import progress

T = TypeVar("T")
_ONCE = RetryPolicy(max_attempts=1)


@dataclass(frozen=True)
class ToolContext:
    """One call of a tool. `call_id` is the LLM's: some use the same again in another reply.

    `chat_key` names the chat, `turn_id` the turn in it.
    """

    chat_key: str = ""
    turn_id: int = 0
    call_id: str = ""
    chat_agents: AgentsOfChat | None = None

    @property
    def agents(self) -> AgentsOfChat:
        """The background agents of the chat. Errors: UsageError outside of one."""
        if self.chat_agents is None:
            raise UsageError("There is no chat here that could have background agents")
        return self.chat_agents

    async def step(
        self,
        name: str,
        action: Callable[[], Awaitable[T]],
        *,
        result_type: Any = object,
        timeout: timedelta | None = None,
        retry: RetryPolicy = _ONCE,
        salvage: bool = False,
    ) -> T:
        """Run `action` and journal its result. A replay returns the journaled value.

        The same as `app.durable.step`, which says what holds.
        Errors: StepFailed after the last attempt, asyncio.CancelledError.
        """
        timeout_s = None if timeout is None else timeout.total_seconds()
        return await durable_step(
            name, action, result_type=result_type, timeout_s=timeout_s, retry=retry, salvage=salvage
        )

    async def sleep(self, delay: timedelta) -> None:
        """Wait, also for days. Durable: a timer of the engine, which outlives this process."""
        await asyncio.sleep(delay.total_seconds())

    def progress(self, text: str) -> None:
        """Say how far the call is, in a sentence, to those who watch. A replay does not say it again. Never raises."""
        if not replaying():
            progress()(text)
