"""How messages find mailboxes and events find runs: by name, one-way, where no cancellation of the sender reaches them.

Knows names and encodings, not what the messages mean.
"""

from datetime import timedelta

from restate import Context

from app.background.protocol import MAILBOX, RUNS
from app.values import Stored


def tell_agent(ctx: Context, agent_id: str, handler: str, message: Stored, *, delay: timedelta | None = None) -> None:
    """Send a message to the mailbox of an agent, now or after `delay`."""
    ctx.generic_send(MAILBOX, handler, _encoded(message), key=agent_id, send_delay=delay)


def tell_runs(ctx: Context, handler: str, message: Stored, *, delay: timedelta | None = None) -> None:
    """Send a message to the service that looks after runs, at once or later."""
    ctx.generic_send(RUNS, handler, _encoded(message), send_delay=delay)


def signal_of(seq: int) -> str:
    """Return the name of the signal that brings event number `seq` to a run.

    Not one name for all, although that is a durable queue too: a run that is suspended while it waits for a name of
    which the journal holds an earlier signal is resumed at once, and again after every inactivity timeout (measured).
    """
    return f"event-{seq}"


def _encoded(message: Stored) -> bytes:
    return message.model_dump_json().encode()
