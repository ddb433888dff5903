"""How the front door asks an agent and waits for the answer, in an invocation of its own.

A query is answered from the memory of the run, and leaves no trace in its journal. Where that cannot be, because no
process that is asked has the run, it goes through the journal as an event does.
"""

from datetime import timedelta
from typing import Any

import restate
from restate import Context, RunOptions

from app.background.engine import admin
from app.background.engine.standstill import Standstill
from app.background.mailbox import addresses as mailbox
from app.background.protocol import Delivery
from app.background.query import Query
from app.background.run.addresses import query_of
from app.errors import Conflict
from app.values import Stored

_TRIES = 8  # a run may end between the look and the question, and be followed by another
_NEXT_TRY = timedelta(milliseconds=50)
_FIRST_LOOK = timedelta(seconds=2)
_LAST_LOOK = timedelta(hours=1)


class _Why(Stored):
    """What is journaled of a look at a run."""

    standstill: Standstill | None = None


async def ask(ctx: Context, agent_id: str, query: Delivery) -> Any:
    """Return what a state of the agent says. It has seen all events that were accepted before.

    Errors: NotFound, UsageError; Conflict for an agent that has ended, or whose run stands still for good.
    """
    for _ in range(_TRIES):
        target = await mailbox.LOOK.call(ctx, agent_id, query)
        if not target.answers_queries:
            break
        question = Query(run_id=target.run_id, through=target.through, name=query.name, input=query.input)
        answer = await query_of(target.agent_name).call(ctx, question)
        if answer.where == "here":
            return answer.value
        if answer.where == "blocked":
            raise Conflict(answer.text)
        if answer.where == "elsewhere":
            _require_not_blocked(
                await standstill_of(ctx, target.run_id, retry=True), f"State {query.name!r} cannot be asked for"
            )
            break
        await ctx.sleep(_NEXT_TRY)
    return await send_and_wait(ctx, agent_id, query)


async def send_and_wait(ctx: Context, agent_id: str, delivery: Delivery) -> Any:
    """Deliver an event or a query and return its answer.

    Durable: it looks at the run after two seconds, and then ever more seldom, down to once an hour.
    Errors: what the handler raised; Conflict within seconds if the run stands still for good.
    """
    reply, answer = ctx.awakeable(type_hint=object)
    asking = delivery.changed(reply=reply)
    accepted = await mailbox.DELIVER.call(ctx, agent_id, asking)
    pause = _FIRST_LOOK
    while True:
        match await restate.select(answer=answer, pause=ctx.sleep(pause)):
            case ["answer", value]:
                return value
        described = await mailbox.DESCRIBE.call(ctx, agent_id, None)
        what = f"{delivery.name!r} was accepted as number {accepted.seq} and waits"
        _require_not_blocked(await standstill_of(ctx, described.run_id, retry=True), what)
        pause = min(pause * 2, _LAST_LOOK)


async def standstill_of(ctx: Context, run_id: str, *, retry: bool = False) -> Standstill | None:
    """Return why a run stands still, None if it does not. Durable: one entry.  `retry`: as in engine/admin.py."""

    async def look() -> _Why:
        return _Why(standstill=await admin.standstill(run_id, retry=retry))

    found = await ctx.run_typed("does it stand still?", look, RunOptions(max_attempts=3, type_hint=_Why))
    return found.standstill


def _require_not_blocked(standstill: Standstill | None, what: str) -> None:
    """Check that a run does not stand still for good. Errors: Conflict."""
    if standstill is not None and standstill.for_good:
        raise Conflict(f"{what}. {standstill.why} {standstill.ways_out}")
