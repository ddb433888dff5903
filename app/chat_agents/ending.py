"""The end of a forgotten chat's agents: they are terminated, and what is known of them is erased.

Knows the addresses of mailboxes only.
"""

from collections.abc import Iterable

from restate import ObjectContext

from app.background.mailbox import addresses as mailbox
from app.background.protocol import StopRequest
from app.turns.transcript import ChatAgent


def end_agents(ctx: ObjectContext, agents: Iterable[ChatAgent]) -> None:
    """End these agents at once, and erase them. One that is being started is ended then: its start was sent before."""
    for agent in agents:
        mailbox.TERMINATE.send(ctx, agent.agent_id, StopRequest())
        mailbox.PURGE.send(ctx, agent.agent_id, None)
