"""What was said and done in a chat: messages, items and turns as values, in the form in which they are stored.

Pure: no I/O, no Restate. Fields are only ever added, with a default, so that new code reads old state.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from app.text import shorten
from app.turns.modes import Mode
from app.values import Stored

FROM_AGENT = "The background agent"  # how a message begins, as the LLM sees it, that an agent has sent
LOGGED_ITEMS = 5  # of what the LLM sees
LOGGED_CHARS = 200  # of a text in a log line; the chat itself is in get_chat_history


class Attachment(Stored):
    """A file that came with a message: all that is known of it here. Its content is in the folder of files."""

    file_id: str
    name: str
    media_type: str
    bytes: int


class Message(Stored):
    """What a person sent. `number` counts the messages of a chat as they are sent or resumed; before that was, 0.

    With a `source`, the background agent of this id has sent it.
    """

    message_id: str
    content: str
    mode: Mode = Mode.INTERRUPT
    number: int = 0
    source: str | None = Field(None, exclude_if=lambda value: value is None)
    attachments: tuple[Attachment, ...] = Field((), exclude_if=lambda files: not files)

    @property
    def item(self) -> "UserItem":
        """What the LLM is given."""
        return UserItem(
            message_id=self.message_id, content=self.content, source=self.source, attachments=self.attachments
        )


class ToolCall(Stored):
    """A tool call that the LLM asked for; `arguments` is the JSON text exactly as it wrote it."""

    call_id: str
    name: str
    arguments: str


class Finish(StrEnum):
    """Why the LLM stopped writing."""

    STOP = "stop"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    ABORTED = "aborted"  # we ended the call; the text is what had arrived
    BROKEN = "broken"  # the server did not finish the reply; the text is what had arrived

    @property
    def partial(self) -> bool:
        return self in (Finish.LENGTH, Finish.CONTENT_FILTER, Finish.ABORTED, Finish.BROKEN)


class ToolOutcome(StrEnum):
    """How a tool call ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"  # never started
    UNKNOWN = "unknown"  # ended by us: it may have run


class UserItem(Stored):
    kind: Literal["user"] = "user"
    message_id: str
    content: str
    source: str | None = Field(None, exclude_if=lambda value: value is None)
    attachments: tuple[Attachment, ...] = Field((), exclude_if=lambda files: not files)

    @property
    def said(self) -> str:
        """The text as the LLM sees it. That of an agent is quoted line by line: nothing in it can look like the
        user's own words."""
        if self.source is None:
            return self.content
        quoted = "\n".join(f"> {line}" for line in self.content.splitlines())
        return f"{FROM_AGENT} {self.source} says (the user has not written this):\n{quoted}"


class Thought(Stored):
    """What the LLM thought before a reply. `text` is for people; `sealed`, as JSON, for the server `maker` alone.

    What is sealed is given back in later calls of the same turn. It stays in the journal of the run.
    """

    text: str = ""
    sealed: str = Field("", exclude_if=lambda value: not value)
    maker: str = Field("", exclude_if=lambda value: not value)


class AssistantItem(Stored):
    kind: Literal["assistant"] = "assistant"
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = Finish.STOP
    thought: Thought | None = Field(None, exclude_if=lambda thought: thought is None)

    @property
    def shown(self) -> "AssistantItem":
        """The item without what only the LLM server can read."""
        if self.thought is None or not self.thought.sealed:
            return self
        return self.changed(thought=Thought(text=self.thought.text) if self.thought.text else None)


class ToolItem(Stored):
    kind: Literal["tool"] = "tool"
    call_id: str
    name: str
    content: str
    outcome: ToolOutcome = ToolOutcome.OK


Item = Annotated[UserItem | AssistantItem | ToolItem, Field(discriminator="kind")]


def without_thoughts(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return items of a turn that is over: what was thought in it is no longer for the LLM."""
    return tuple(i.changed(thought=None) if isinstance(i, AssistantItem) and i.thought else i for i in items)


def text_of(item: Item) -> str:
    """Return an item as one line for the log."""
    return item.content if item.kind == "user" else f"{item.kind}: {item.content}"


def message_history(seen: Sequence[Item]) -> str:
    """Return the last of what the LLM sees for the log, each shortened: the rest was in the lines before."""
    left_out = f"… {len(seen) - LOGGED_ITEMS} earlier, " if len(seen) > LOGGED_ITEMS else ""
    last = [repr(shorten(text_of(item), LOGGED_CHARS)) for item in seen[-LOGGED_ITEMS:]]
    return f"message_history=[{left_out}{', '.join(last)}]"


class Usage(Stored):
    """Tokens that LLM calls used. `unmetered_calls` counts calls that reported none: unknown is not 0.

    A call that was interrupted before its end reports none. `cached_tokens` are a part of the prompt's,
    `reasoning_tokens` of the completion's; None if no call reported them.
    """

    calls: int = 0
    unmetered_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = Field(None, exclude_if=lambda value: value is None)
    reasoning_tokens: int | None = Field(None, exclude_if=lambda value: value is None)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            calls=self.calls + other.calls,
            unmetered_calls=self.unmetered_calls + other.unmetered_calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=_sum(self.cached_tokens, other.cached_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


class Wait(Stored):
    """What a turn waits for before it goes on by itself, and until when."""

    reason: str
    until: AwareDatetime


class Verdict(StrEnum):
    """What became of a tool call that a person had to approve."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"  # the turn ended before


class Resolution(Stored):
    """How the wait for an approval ended. `reason` is in the words of who rejected the call.

    `arguments` replace those of the call, as a whole. `answer` is that to its question, as JSON. `message_id` is the
    message by which it was rejected.
    """

    verdict: Verdict
    reason: str = ""
    arguments: str | None = Field(None, exclude_if=lambda value: value is None)
    answer: str | None = Field(None, exclude_if=lambda value: value is None)
    message_id: str | None = Field(None, exclude_if=lambda value: value is None)


class Question(Stored):
    """What a tool call asks the user in its middle. `answer_schema` is the form of the answer, as JSON schema.

    `asked_at` is when, in seconds since 1970. `number` counts the questions of a call from 1.
    """

    message: str
    answer_schema: dict[str, Any]
    asked_at: float
    number: int = 1


class Approval(Stored):
    """A tool call that a person must approve. `approval_id` names this very call: turn, run, place, tool and arguments.

    With a `question` the call has begun, and wants an answer before it goes on. Without a `resolution` it waits.
    """

    approval_id: str
    call_id: str
    name: str
    arguments: str
    expires_at: AwareDatetime | None = None
    question: Question | None = Field(None, exclude_if=lambda value: value is None)
    resolution: Resolution | None = Field(None, exclude_if=lambda value: value is None)


class Undone(Stored):
    """A tool call whose compensation was made; with an `error`, it failed in the end."""

    call_id: str
    name: str
    error: str | None = None


class TurnStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    LIMIT_REACHED = "limit_reached"
    WITHDRAWN = "withdrawn"


class Turn(Stored):
    """One turn. `pending` are messages that its run has not been given yet; `items` what the LLM has seen or said.

    `reported` counts the items that the run reported (assistant and tool items), so that a report that comes twice
    is stored once. `waiting_for` is what its run last said that it waits for, `approvals` all that it has asked for.
    """

    turn_id: int
    status: TurnStatus = TurnStatus.QUEUED
    mode: Mode = Mode.INTERRUPT
    invocation_id: str = ""
    pending: tuple[Message, ...] = ()
    items: tuple[Item, ...] = ()
    reported: int = 0
    usage: Usage = Usage()
    error: str | None = None
    waiting_for: Wait | None = None
    approvals: tuple[Approval, ...] = Field((), exclude_if=lambda approvals: not approvals)
    started_at: float | None = None  # seconds since 1970, of the first LLM call
    ended_at: float | None = None


class ChatAgent(Stored):
    """A background agent that a chat has started, in this turn, and that has not ended."""

    agent_id: str
    agent_name: str
    turn_id: int
