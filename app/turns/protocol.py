"""What ChatService and AgentSession say to each other and to their clients: the shapes of every request and answer.

Shapes only. Names of fields are stored in journals and known to clients: they change only with a migration note.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from app.turns.modes import Decision, Mode
from app.turns.transcript import Approval, Item, Message, TurnStatus, Undone, Usage, UserItem, Wait
from app.values import Input, Stored

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Absent = Field(None, exclude_if=lambda value: value is None)  # left out of the answer when it does not apply
MessageId = Annotated[str, StringConstraints(min_length=1, max_length=128)]

# From clients to ChatService


class UserMessage(Input):
    """A message of the user."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"role": "user", "content": "do something"}]}, title="UserMessage"
    )

    role: Literal["user"] = "user"
    content: Text
    mode: Mode | None = Field(None, description="What to do if a turn is open; the mode of the chat if absent")
    message_id: MessageId | None = Field(None, description="Makes sending it again safe")


class HistoryRequest(Input):
    """Which turns to show: the last `limit` ones before turn `before_turn`."""

    before_turn: int | None = Field(None, gt=0)
    limit: int = Field(50, gt=0, le=200)


class ModeRequest(Input):
    """The mode of the chat; null gives it back to the service's `MODE`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"mode": "QUEUE"}]})

    mode: Mode | None


# From ChatService to clients


class Receipt(Stored):
    """What became of a message."""

    message_id: str
    turn_id: int
    decision: Decision


class HistoryEntry(Stored):
    """One line of the chat. `status` is that of its turn, `queued` for a message that still waits.

    `index` is its place in the transcript of the turn, counted from 0. What is no part of that has none.
    `held`: it waits for `resume` and belongs to no turn. `turn_id` is then one more than that of the last turn.
    `reasoning` is what the LLM thought before it said this, as far as its server tells.
    """

    role: Literal["user", "assistant", "tool", "system"]
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

    `held` are the messages that are given to no turn until they are resumed, in order. `usage` is what all its LLM
    calls used, without those that a version reported which did not count them together.
    """

    mode: Mode
    busy: bool
    last_turn_id: int
    open_turns: list[OpenTurnStatus]
    held: list[WaitingMessage] = Field(default_factory=list)
    usage: Usage | None = Absent


class ModeAnswer(Stored):
    mode: Mode


# From ChatService to AgentSession


class Limits(Stored):
    """Limits of one turn; part of its input, so that a changed setting cannot break the replay of an open turn."""

    max_iterations: int
    tool_concurrency: int
    max_tool_result_chars: int
    llm_attempts: int
    context_tokens: int = 24_000
    context_turns: int = 50
    approval_timeout_s: float | None = None


class Context(Stored):
    """What the LLM sees at the start of a turn: earlier turns, oldest first, and the messages of this one."""

    history: tuple[tuple[Item, ...], ...]
    current: tuple[Item, ...]
    turn_ids: tuple[int, ...] = ()  # of the earlier turns


class MemoryRef(Stored):
    """Names a state of the working memory: its last turn (0: none), the run that wrote it, and a digest of it.

    Run and digest are "" where they are not known. A run that was replaced may have written a memory of the same turn.
    `without` are turns that were rolled back: where they were interrupted they must be left out.
    """

    last: int = 0
    invocation_id: str = ""
    digest: str = ""
    without: tuple[int, ...] = ()

    def is_met_by(self, found: "MemoryRef") -> bool:
        """Return whether `found` is the memory that this names; where nothing is to be remembered, any memory is."""
        same_run = self.last == found.last and self.invocation_id in ("", found.invocation_id)
        return self.last == 0 or (same_run and found.digest != "" and self.digest in ("", found.digest))


class TurnStart(Stored):
    """Input of a run. Without `messages` the run asks for them with `begin_turn`, and if its memory is not `memory`."""

    turn_id: int
    limits: Limits
    messages: tuple[UserItem, ...] = ()
    memory: MemoryRef | None = None


class Ring(Stored):
    """Why a run is rung. `content` is the beginning of the message, for the log."""

    steer: bool
    content: str


# From AgentSession to ChatService. `turn_id` and `invocation_id` fence every one of them.


class TurnRef(Stored):
    """Names a turn and the run that speaks for it."""

    turn_id: int
    invocation_id: str


class ProbeRequest(Stored):
    """Names runs that may be dead."""

    turns: tuple[TurnRef, ...]


class BeginTurn(TurnRef):
    """Asks what a turn begins with. `memory` is what the run has in memory."""

    memory: MemoryRef | None = None


class BeginAnswer(Stored):
    """What a turn begins with, None if it was withdrawn meanwhile; the run has been rung `rings` times for it.

    With `remembered`, the earlier turns are what the run has in memory, without some of them.
    """

    context: Context | None
    remembered: MemoryRef | None = None
    rings: int = 0


class Ready(TurnRef):
    """Registers the doorbell of a run of the version before."""

    doorbell: str
    steer_only: bool = False


class TakeInput(TurnRef):
    """Asks for the waiting messages; `doorbell` comes from runs of the version before."""

    doorbell: str | None = None


class TakenInput(Stored):
    """Messages that the turn now has, in order; the run has been rung `rings` times for them and those before."""

    messages: tuple[Message, ...] = ()
    rings: int = 0


class Report(TurnRef):
    """What a turn produced since its last report; `offset` counts the items reported before.

    `waiting_for` is what the turn waits for from here on; the next report ends that. `asks` are tool calls that it
    wants to have approved.
    """

    offset: int
    items: tuple[Item, ...]
    usage: Usage = Usage()
    started_at: float | None = None
    ended_at: float | None = None
    waiting_for: Wait | None = None
    asks: tuple[Approval, ...] = Field((), exclude_if=lambda asks: not asks)


class EndTurn(Report):
    """The last report of a turn. If it `may_go_on`, messages that came meanwhile are given to it.

    If it `may_undo`, it has calls with a compensation, and waits for the answer; `undone` are those that were made.

    `digest` is that of the working memory with this turn. `doorbell` comes from runs of the version before.
    """

    outcome: TurnStatus
    may_go_on: bool = False
    digest: str = ""
    doorbell: str | None = None
    error: str | None = None
    may_undo: bool = False
    undone: tuple[Undone, ...] = ()


class TurnEnd(TakenInput):
    """Answer to `end_turn`: the status in which the turn closed, or None and the messages with which it goes on.

    `undo`: it is to be rolled back; it stays open until its run has undone what it can, and has ended it again.
    """

    closed: TurnStatus | None = None
    undo: bool = False


class TurnResult(Stored):
    """Output of a run; `withdrawn` also if the chat knows this run no more."""

    turn_id: int
    status: TurnStatus


# From ChatService to itself


class EraseRequest(Stored):
    """What is left of a chat after `forget`: the journals of its invocations, up to that of `forget` itself."""

    forget_id: str
