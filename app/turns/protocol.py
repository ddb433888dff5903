"""What ChatService and AgentSession say to each other and to who sends messages: the shapes of requests and answers.

Shapes only. Names of fields are stored in journals and known to clients: they change only with a migration note.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from app.turns.compaction.summary import Summary
from app.turns.modes import Decision, Mode
from app.turns.transcript import Approval, Item, Message, TurnStatus, Undone, Usage, UserItem, Wait
from app.values import Absent, Input, Stored

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
MessageId = Annotated[str, StringConstraints(min_length=1, max_length=128)]

# From clients to ChatService


class FileRef(Input):
    """Names a file that was uploaded for this chat."""

    file_id: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class UserMessage(Input):
    """A message of the user."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"role": "user", "content": "do something"}]}, title="UserMessage"
    )

    role: Literal["user"] = "user"
    attachments: Annotated[tuple[FileRef, ...], Field(max_length=1000)] = ()
    content: Annotated[str, StringConstraints(strip_whitespace=True)]
    mode: Mode | None = Field(None, description="What to do if a turn is open; the mode of the chat if absent")
    message_id: MessageId | None = Field(None, description="Makes sending it again safe")

    @field_validator("content")
    @classmethod
    def _says_something(cls, content: str, info: ValidationInfo) -> str:
        """Refuse an empty message, but for one that brings files."""
        if not content and not info.data.get("attachments"):
            raise PydanticKnownError("string_too_short", {"min_length": 1})
        return content

    @property
    def file_ids(self) -> tuple[str, ...]:
        """The files that it brings."""
        return tuple(file.file_id for file in self.attachments)


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
    summary_share: float = 0.0  # of both; 0 of runs of the version before, which ask for no summary
    approval_timeout_s: float | None = None
    max_turn_tokens: int = Field(0, exclude_if=lambda tokens: tokens == 0)


class Context(Stored):
    """What the LLM sees at the start of a turn: earlier turns, oldest first, and the messages of this one.

    A `summary` stands for the turns that came before `history`.
    """

    history: tuple[tuple[Item, ...], ...]
    current: tuple[Item, ...]
    turn_ids: tuple[int, ...] = ()  # of the earlier turns
    summary: Summary | None = Absent


class MemoryRef(Stored):
    """Names a state of the working memory: its last turn (0: none), the run that wrote it, and a digest of it.

    Run and digest are "" where they are not known. A run that was replaced may have written a memory of the same turn.
    `without` are turns that were rolled back: where they were interrupted they must be left out. `summary` is the turn
    up to which it has a summary in place of the turns, 0 without one.
    """

    last: int = 0
    invocation_id: str = ""
    digest: str = ""
    without: tuple[int, ...] = ()
    summary: int = Field(0, exclude_if=lambda covers: covers == 0)

    def is_met_by(self, found: "MemoryRef") -> bool:
        """Return whether `found` is the memory that this names; where nothing is to be remembered, any memory is."""
        same_run = self.last == found.last and self.invocation_id in ("", found.invocation_id)
        same_run = same_run and self.summary == found.summary
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

    `digest` is that of the working memory with this turn. `doorbell` comes from runs of the version before. If the
    memory is so full that earlier turns should be summed up, `sum_up` is the last of them. If it `listens`, the
    answer is a signal with that number.
    """

    outcome: TurnStatus
    may_go_on: bool = False
    digest: str = ""
    doorbell: str | None = None
    error: str | None = None
    may_undo: bool = False
    undone: tuple[Undone, ...] = ()
    sum_up: int = Field(0, exclude_if=lambda turn_id: turn_id == 0)
    listens: int = Field(0, exclude_if=lambda number: number == 0)


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
