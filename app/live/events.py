"""What happens in a chat while somebody watches: values that come and go, none of which is stored.

Pure: no I/O. A text is addressed by where it will stand in the turn's transcript, and by the attempt that writes it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextId:
    """Names a text that an LLM call writes.

    `index` is the place in the turn's transcript, counted from 0, at which the reply will stand. `attempt` is another
    one whenever the call is made again, by a retry or after a crash; it is "" for what is recorded.
    """

    turn_id: int
    index: int
    attempt: str


@dataclass(frozen=True, slots=True)
class ChatChanged:
    """The record of the chat has changed: whoever shows it must read it again. `forgotten`: it was erased."""

    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class CallStarted:
    """An LLM call has begun. `read` are the ids of the turn's messages that the LLM sees for the first time."""

    text_id: TextId
    read: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextAdded:
    """Text of a running LLM call. `offset` counts the characters before it."""

    text_id: TextId
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class ThoughtAdded:
    """What the LLM of a running call thinks. `offset` counts the characters of thought before it."""

    text_id: TextId
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """An LLM call is over: complete, failed, or aborted. Its text, if it is kept, is in the record soon."""

    text_id: TextId


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool call runs. `text_id` is that of the reply that asked for it; `arguments` is the JSON text of the LLM."""

    text_id: TextId
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A running tool says how far it is."""

    turn_id: int
    call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool call is over; `outcome` is that of its item in the transcript."""

    turn_id: int
    call_id: str
    content: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Resync:
    """Events were lost, as they came faster than they were taken. All that runs now is told again after this."""


LiveEvent = ChatChanged | CallStarted | TextAdded | ThoughtAdded | CallEnded | ToolStarted | ToolProgress | ToolEnded
