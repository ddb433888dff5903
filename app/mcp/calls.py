"""One call of an MCP tool as a durable step, which a cancellation of its turn ends at once.

Knows what is recorded of a call; not what it is for, and not what the LLM is told.
"""

import asyncio
from typing import Any, cast

from app.durable import abortable, current_loop, get_logger, replaying, step
from app.durable.foreseen import Abortable
from app.mcp import get_mcp
from app.mcp.answer import Answer, Reply
from app.tools.progress import progress

WORD_S = 5.0  # from the end of a call that was foreseen to the cancellation that ended it
CANCELLATION = "cancellation"
ENDED = Answer(content="The call was ended by us: it may have run.", failed=True, may_have_run=True, ended=True)

logger = get_logger("mcp_servers")


async def call_durably(name: str, given: dict[str, Any], reply: Reply | None) -> Answer:
    """Call the tool that the LLM calls `name`, or go on with its call; return what it gave.

    Durable: one journal entry with the name of the tool. At most once if the server does not say that a repetition does
    no harm: after a crash in the middle of it the call is not repeated, and may have run.
    Errors: asyncio.CancelledError.
    """
    again = replaying()  # the step below has begun before, and its result was never recorded if it begins again
    tell, invocation_id = progress(), current_loop().ctx.request().id

    async def call() -> Answer:
        calling = asyncio.ensure_future(get_mcp().call(name, given, again=again, progress=tell, reply=reply))
        ending = _ByCancellation(calling)
        with abortable(invocation_id, cast("asyncio.Task[Any]", ending)) as foreseen:
            ending.foreseen = foreseen
            try:
                return await calling
            except asyncio.CancelledError:
                if foreseen.word != CANCELLATION:
                    raise
                return ENDED

    answer = await step(name, call, result_type=Answer, salvage=True)
    if answer.ended:
        logger.info("A call of %s was ended by a cancellation that is on its way", name)
        await asyncio.sleep(WORD_S)  # which the cancellation ends; where its sender was killed first, the turn goes on
    return answer


class _ByCancellation:
    """What is ended in place of a call: the call itself by a cancellation, nothing by a message that steers.

    The engine's word for it takes longer, and reaches no turn whose stream is half-closed: see durable/foreseen.py.
    """

    foreseen: Abortable | None = None

    def __init__(self, calling: "asyncio.Future[Answer]") -> None:
        self._calling = calling

    def cancel(self) -> None:
        if self.foreseen is not None and self.foreseen.word == CANCELLATION:
            self._calling.cancel()
