"""The private handlers of a chat: what ChatService and AgentSession say to each other, and to themselves.

Names are stored in journals: they change only with a migration note.
"""

from types import NoneType

from app.address import ObjectAddress
from app.turns.agents.protocol import AgentMessage, AgentRef, ChatAgents, StartAgent, UseAgent
from app.turns.approval.protocol import ApprovalRef
from app.turns.compaction.protocol import SummaryReport, SummaryRequest, SummaryWork, WorkRequest
from app.turns.protocol import (
    BeginAnswer,
    BeginTurn,
    EndTurn,
    EraseRequest,
    ProbeRequest,
    Ready,
    Receipt,
    Report,
    TakeInput,
    TakenInput,
    TurnEnd,
    TurnRef,
    TurnResult,
    TurnStart,
)
from app.turns.transcript import ChatAgent, Resolution

CHAT_SERVICE = "ChatService"
AGENT_SESSION = "AgentSession"
CHAT_SUMMARY = "ChatSummary"

# From ChatService to AgentSession

RUN = ObjectAddress(AGENT_SESSION, "run", TurnStart, TurnResult)
SETTLE = ObjectAddress(AGENT_SESSION, "settle", TurnRef, NoneType)
PROBE = ObjectAddress(AGENT_SESSION, "probe", ProbeRequest, NoneType)

FORGET = ObjectAddress(AGENT_SESSION, "forget", NoneType, NoneType)


def ring_name(number: int) -> str:
    """Return the name of the signal that is ring number 1, 2, … of a run.

    Not one name for all: a run that is suspended while it waits for a name of which the journal holds an earlier signal
    is resumed at once (measured).
    """
    return f"ring-{number}"


def end_name(number: int) -> str:
    """Return the name of the signal by which a run hears what became of end number 1, 2, … that it has reported."""
    return f"end-{number}"


def decision_name(approval_id: str) -> str:
    """Return the name of the signal by which a run hears how an approval was resolved."""
    return f"approval-{approval_id}"


# From ChatService to ChatSummary, and back

SUM_UP = ObjectAddress(CHAT_SUMMARY, "sum_up", SummaryRequest, NoneType)
SUMMARY_WORK = ObjectAddress(CHAT_SERVICE, "summary_work", WorkRequest, SummaryWork)
KEEP_SUMMARY = ObjectAddress(CHAT_SERVICE, "keep_summary", SummaryReport, NoneType)

# From AgentSession to ChatService

BEGIN_TURN = ObjectAddress(CHAT_SERVICE, "begin_turn", BeginTurn, BeginAnswer)
READY = ObjectAddress(CHAT_SERVICE, "ready", Ready, NoneType)
TAKE_INPUT = ObjectAddress(CHAT_SERVICE, "take_input", TakeInput, TakenInput)
RECORD = ObjectAddress(CHAT_SERVICE, "record", Report, NoneType)
END_TURN = ObjectAddress(CHAT_SERVICE, "end_turn", EndTurn, TurnEnd)
EXPIRE_APPROVAL = ObjectAddress(CHAT_SERVICE, "expire_approval", ApprovalRef, Resolution)
SETTLE_TURN = ObjectAddress(CHAT_SERVICE, "settle_turn", TurnRef, NoneType)

# From ChatService to itself

ERASE_JOURNALS = ObjectAddress(CHAT_SERVICE, "erase_journals", EraseRequest, NoneType)

# From runs to ChatService, about background agents, and from these

START_AGENT = ObjectAddress(CHAT_SERVICE, "start_agent", StartAgent, NoneType)
USE_AGENT = ObjectAddress(CHAT_SERVICE, "use_agent", UseAgent, ChatAgent)
CHAT_AGENTS = ObjectAddress(CHAT_SERVICE, "chat_agents", NoneType, ChatAgents)
HEAR_AGENT = ObjectAddress(CHAT_SERVICE, "hear_agent", AgentMessage, Receipt)
AGENT_IS_OVER = ObjectAddress(CHAT_SERVICE, "agent_is_over", AgentRef, NoneType)
WATCH_AGENT = ObjectAddress(CHAT_SERVICE, "watch_agent", AgentRef, NoneType)
