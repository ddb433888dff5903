"""A handle of another agent, for the code of an agent: sends it events, and asks it to end.

Knows the address of a mailbox only. Whether the agent is there is found out by the first use.
"""

from collections.abc import Callable, Sequence
from typing import Any

from restate import TerminalError

from app.address import I, O, ObjectAddress
from app.background.declare.operation import to_json
from app.background.failure import refusal_of
from app.background.mailbox import addresses as mailbox
from app.background.protocol import Delivery, StopRequest
from app.background.published.arguments import name_of, only_input
from app.background.run.current import current_run
from app.durable import Call


def get_external_agent_handle(workflow_id: str, *, run_id: str | None = None) -> "ExternalAgentHandle":
    """Return a handle of the agent with this id, whoever has started it. With `run_id` it is of that run only.

    Errors: DeterminismError outside of an agent.
    """
    current_run()
    return ExternalAgentHandle(workflow_id, run_id)


class ExternalAgentHandle:
    """Another agent. Errors of all methods: NotFound, Conflict if it has ended, UsageError for input that does not fit.

    Durable: three journal entries for each use.
    """

    id: str
    run_id: str | None

    def __init__(self, agent_id: str, run_id: str | None) -> None:
        self.id = agent_id
        self.run_id = run_id

    async def signal(self, signal: str | Callable[..., Any], arg: Any = None, *, args: Sequence[Any] = ()) -> None:
        """Send an event with `arg`, or the only one of `args`. Return when it is accepted."""
        name = name_of(signal)
        given = to_json(only_input(arg, args), f"The input of event {name!r}")
        delivery = Delivery(role="event", name=name, input=given, run_id=self.run_id)
        await self._ask(mailbox.DELIVER, delivery)

    async def cancel(self) -> None:
        """Ask the agent to end. Its `finally` blocks run."""
        await self._ask(mailbox.CANCEL, StopRequest(run_id=self.run_id))

    async def _ask(self, address: ObjectAddress[I, O], request: I) -> None:
        call = Call(address, request, key=self.id)
        await call.wait()
        try:
            call.answer.result()
        except TerminalError as exc:
            raise refusal_of(exc) from exc
