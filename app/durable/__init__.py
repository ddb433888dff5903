"""Asyncio on Restate: durable code is plain asyncio in which every wait is a journaled future.

`run_durably` runs a coroutine on a deterministic event loop inside a Restate handler. Knows nothing of chats or agents.
Tools import `step`, `RetryPolicy` and `get_logger`; the rest is for the house.
"""

from app.durable.calls import Call
from app.durable.driver import run_durably
from app.durable.foreseen import abort_now, abortable
from app.durable.here import is_here
from app.durable.logs import get_logger, replaying
from app.durable.loop.event_loop import DurableLoop
from app.durable.steps import RetryPolicy, entrance, step, to_step_failed, to_terminal_error
from app.durable.waits import condition, current_loop, wait_for

__all__ = [
    "Call",
    "DurableLoop",
    "RetryPolicy",
    "abort_now",
    "abortable",
    "condition",
    "current_loop",
    "entrance",
    "get_logger",
    "is_here",
    "replaying",
    "run_durably",
    "step",
    "to_step_failed",
    "to_terminal_error",
    "wait_for",
]
