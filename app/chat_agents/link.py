"""The run's side of a chat's agents: what the tools of a turn do with them.

Every agent is asked for at the chat first: what it has not started, nobody here can reach. Lives on the durable loop.
"""

import hashlib
import json
from typing import Any

from pydantic import TypeAdapter, ValidationError
from restate import TerminalError

from app.address import ServiceAddress
from app.background.declare.names import AgentId, AgentName, OperationName
from app.background.declare.operation import to_json
from app.background.failure import refusal_of
from app.background.gateway.protocol import GetAgentState
from app.background.mailbox import addresses as mailbox
from app.background.protocol import FRONT_DOOR, AgentDescription, Delivered, Delivery, Started, StopRequest
from app.chat_agents.asking import asked
from app.durable import current_loop, wait_for
from app.errors import UsageError
from app.tools.agents_of_chat import AgentsOfChat
from app.turns.addresses import AGENT_IS_OVER, CHAT_AGENTS, START_AGENT, USE_AGENT
from app.turns.agents.protocol import AgentRef, ChatAgents, StartAgent, UseAgent
from app.turns.protocol import TurnRef
from app.values import problems_of

_STATE = ServiceAddress(FRONT_DOOR, "get_agent_state", GetAgentState, object)
_SHOWN = {"agent_id", "agent_name", "status", "events", "failure"}
_AGENT_NAME: TypeAdapter[str] = TypeAdapter(AgentName)
_AGENT_ID: TypeAdapter[str] = TypeAdapter(AgentId)
_OPERATION: TypeAdapter[str] = TypeAdapter(OperationName)


class AgentsLink(AgentsOfChat):
    """The agents of chat `key`, for the tool calls of the reply that stands at `place` in the turn of `ref`."""

    def __init__(self, ref: TurnRef, key: str, place: int) -> None:
        self._ref = ref
        self._key = key
        self._place = place

    async def start(self, call_id: str, name: str, given: object = None, *, chosen: bool = False) -> str:
        """Start an agent. Durable: an awakeable, and a call of the chat, which sends the start."""
        agent_id = f"{_checked(_AGENT_NAME, name)}-{self._digest(call_id, name)}"
        ctx = current_loop().ctx
        reply, answer = ctx.awakeable(type_hint=Started)
        started = wait_for(answer)
        request = StartAgent(
            **dict(self._ref),
            agent_id=agent_id,
            agent_name=name,
            input=to_json(given, f"The input of {name}"),
            reply=reply,
            chosen=chosen,
        )
        await asked(START_AGENT, request, self._key)
        try:
            await started
        except TerminalError as exc:
            AGENT_IS_OVER.send(ctx, self._key, AgentRef(agent_id=agent_id))
            raise refusal_of(exc) from exc
        return agent_id

    async def send(self, agent_id: str, event: str, given: object = None) -> int:
        """Send an event. Durable: a call of the chat and one of the agent's mailbox."""
        name = _checked(_OPERATION, event)
        data = await self._use(agent_id, given)
        delivery = Delivery(role="event", name=name, input=data)
        return Delivered.model_validate_json(await asked(mailbox.DELIVER, delivery, agent_id)).seq

    async def state(self, agent_id: str, name: str, given: object = None) -> Any:
        """Return a state. Durable: a call of the chat and one of the gateway of agents."""
        state_name = _checked(_OPERATION, name)
        data = await self._use(agent_id, given)
        request = GetAgentState(agent_id=agent_id, state_name=state_name, state_input=data)
        return json.loads(await asked(_STATE, request, None) or b"null")

    async def describe(self, agent_id: str) -> dict[str, Any]:
        """Return what is known of an agent. Durable: a call of the chat and one of the agent's mailbox."""
        await self._use(agent_id)
        described = AgentDescription.model_validate_json(await asked(mailbox.DESCRIBE, None, agent_id))
        return described.model_dump(mode="json", include=_SHOWN, exclude_none=True)

    async def running(self) -> list[dict[str, Any]]:
        """Return the agents of the chat. Durable: a call of it."""
        known = ChatAgents.model_validate_json(await asked(CHAT_AGENTS, None, self._key))
        return [agent.model_dump(mode="json") for agent in known.agents]

    async def stop(self, agent_id: str) -> None:
        """Ask an agent to end. Durable: a call of the chat and one of the agent's mailbox."""
        await self._use(agent_id)
        await asked(mailbox.CANCEL, StopRequest(), agent_id)

    async def _use(self, agent_id: str, given: object = None) -> Any:
        """Return `given` as JSON data, if the chat has this agent and it may be sent that."""
        _checked(_AGENT_ID, agent_id)
        data = to_json(given, "The input")
        await asked(USE_AGENT, UseAgent(agent_id=agent_id, input=data), self._key)
        return data

    def _digest(self, call_id: str, name: str) -> str:
        """Return what is the same whenever this call of a tool runs, and no other call's."""
        call = f"{self._key}\0{self._ref.invocation_id}\0{self._place}\0{call_id}\0{name}"
        return hashlib.sha256(call.encode(errors="replace")).hexdigest()[:20]


def _checked(adapter: TypeAdapter[str], text: str) -> str:
    """Return a name or an id if it is one. Errors: UsageError."""
    try:
        return adapter.validate_python(text)
    except ValidationError as exc:
        raise UsageError(f"Bad name or id. {problems_of(exc)}") from exc
