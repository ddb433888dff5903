"""The background agents of a chat: which ones it has, how many it may have, and how much they may say.

Pure: no I/O, no Restate. Only the chat that has started an agent knows it.
"""

from app.errors import Conflict, NotFound, TooManyPending
from app.turns.agents.protocol import StartAgent
from app.turns.control import AgentMessages
from app.turns.moves import Moves
from app.turns.transcript import ChatAgent


class Agents(Moves):
    """The part of a conversation that its background agents take part in."""

    def start_agent(self, request: StartAgent, limit: int) -> bool:
        """Note an agent that is being started; False if it was started before by the same call.

        Errors: Conflict for a run that does not run any more, TooManyPending where there are `limit` agents.
        """
        if self._fenced(request) is None:
            raise Conflict("The turn has ended: nothing is started for it any more")
        agents = self.session.agents
        if request.agent_id in [agent.agent_id for agent in agents]:
            return False
        if len(agents) >= limit:
            names = ", ".join(agent.agent_id for agent in agents)
            raise TooManyPending(
                f"This chat has {len(agents)} background agents that have not ended ({names}), the limit is {limit}: "
                "stop one, or raise MAX_CHAT_AGENTS"
            )
        agent = ChatAgent(agent_id=request.agent_id, agent_name=request.agent_name, turn_id=request.turn_id)
        self._set(agents=(*agents, agent))
        return True

    def agent(self, agent_id: str) -> ChatAgent:
        """Return an agent of this chat. Errors: NotFound for one that has ended, or that is none of its own."""
        found = next((agent for agent in self.session.agents if agent.agent_id == agent_id), None)
        if found is None:
            raise NotFound(
                f"This chat has no background agent {agent_id[:200]!r}: it has ended, or another chat has started it"
            )
        return found

    def agent_is_over(self, agent_id: str) -> None:
        """Forget an agent that has ended, or has not started."""
        left = tuple(agent for agent in self.session.agents if agent.agent_id != agent_id)
        if left != self.session.agents:
            self._set(agents=left)

    def count_agent_message(self, day: int, limit: int) -> None:
        """Count a message of an agent. Errors: TooManyPending for more than `limit` on this `day`."""
        known = self.session.agent_messages
        count = known.count if known is not None and known.day == day else 0
        if count >= limit:
            raise TooManyPending(
                f"The background agents of this chat have sent {count} messages today (UTC), the limit is {limit}: "
                "send fewer, or raise MAX_AGENT_MESSAGES"
            )
        self._set(agent_messages=AgentMessages(day=day, count=count + 1))
