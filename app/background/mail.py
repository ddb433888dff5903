"""How a message finds a mailbox: one-way sends by name, which no cancellation of the sender reaches.

Knows names and encodings, not what the messages mean.
"""

from restate import Context

from app.background.protocol import MAILBOX, RUNS, Stored


def tell_agent(ctx: Context, agent_id: str, handler: str, message: Stored) -> None:
    """Send a message to the mailbox of an agent."""
    ctx.generic_send(MAILBOX, handler, _encoded(message), key=agent_id)


def tell_runs(ctx: Context, handler: str, message: Stored) -> None:
    """Send a message to the service that looks after runs."""
    ctx.generic_send(RUNS, handler, _encoded(message))


def _encoded(message: Stored) -> bytes:
    return message.model_dump_json().encode()
