"""What people are shown of a chat: the shapes of its history and status, and of how one asks for them.

Names of fields are known to clients: they change only with a migration note.
"""

from typing import Literal

from pydantic import Field

from app.turns.compaction.protocol import SummaryStatus
from app.turns.modes import Mode
from app.turns.transcript import Approval, Attachment, ChatAgent, TurnStatus, Usage, Wait
from app.values import Absent, Input, Stored


class HistoryRequest(Input):
    """Which turns to show: the last `limit` ones before turn `before_turn`."""

    before_turn: int | None = Field(None, gt=0)
    limit: int = Field(50, gt=0, le=200)


class HistoryEntry(Stored):
    """One line of the chat. `status` is that of its turn, `queued` for a message that still waits.

    `index` is its place in the transcript of the turn, counted from 0. What is no part of that has none.
    `held`: it waits for `resume` and belongs to no turn. `turn_id` is then one more than that of the last turn.
    `source`: not the user but the background agent of this id has sent it.
    A `summary` is what the LLM sees of all turns up to this one, in place of them.
    `attachments` are the files that a message brought.
    `reasoning` is what the LLM thought before it said this, as far as its server tells.
    """

    role: Literal["user", "assistant", "tool", "system", "summary"]
    content: str
    turn_id: int
    status: TurnStatus
    partial: bool = False
    index: int | None = Absent
    message_id: str | None = Absent
    tool_calls: list[dict[str, str]] | None = Absent
    tool_call_id: str | None = Absent
    outcome: str | None = Absent
    held: bool | None = Absent
    source: str | None = Absent
    attachments: tuple[Attachment, ...] | None = Absent
    reasoning: str | None = Absent


class TurnUsage(Stored):
    """What the LLM calls of one turn used."""

    turn_id: int
    usage: Usage


class History(Stored):
    """Lines of the chat, oldest first; `next_before_turn` asks for the ones before, null at the beginning.

    `approvals` are the tool calls of the open turns that wait to be approved. `turns` are those that called the LLM,
    `usage` is that of the whole chat.
    """

    entries: list[HistoryEntry]
    next_before_turn: int | None = None
    approvals: list[Approval] | None = Absent
    turns: list[TurnUsage] | None = Absent
    usage: Usage | None = Absent


class WaitingMessage(Stored):
    message_id: str
    content: str
    mode: Mode
    source: str | None = Absent
    attachments: tuple[Attachment, ...] | None = Absent


class OpenTurnStatus(Stored):
    """An open turn; `waiting_for` is there while the turn waits before it tries something again.

    `approvals` are the tool calls that a person must approve before they are made.
    """

    turn_id: int
    status: TurnStatus
    stopping: bool
    invocation_id: str
    waiting: list[WaitingMessage]
    waiting_for: Wait | None = Absent
    approvals: list[Approval] | None = Absent
    usage: Usage | None = Absent


class ChatStatus(Stored):
    """The state of a chat; `mode` is the one that the next message gets if it brings none.

    `held` are the messages that are given to no turn until they are resumed, in order. `agents` are the background
    agents that the chat has started and that have not ended. `summary` is there in a chat that has got so long that
    earlier turns are summed up. `usage` is what all its LLM calls used, without those that a version reported which
    did not count them together.
    """

    mode: Mode
    busy: bool
    last_turn_id: int
    open_turns: list[OpenTurnStatus]
    held: list[WaitingMessage] = Field(default_factory=list)
    agents: list[ChatAgent] | None = Absent
    summary: SummaryStatus | None = Absent
    usage: Usage | None = Absent
