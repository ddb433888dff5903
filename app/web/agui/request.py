"""What a client of AG-UI asks for, checked: which chat, which message, in which mode.

Pure: no I/O. Refuses what it cannot do as asked, before anything is stored; what changes nothing it names.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError
from pydantic.alias_generators import to_camel

from app.errors import UsageError
from app.turns.modes import Mode
from app.turns.reading.protocol import HistoryEntry
from app.values import Stored, problems_of, quoted
from app.web.uploads.parts import DataUrl, read_content

MAX_ID_CHARS = 128  # as ChatService has it
IGNORED = ("tools", "context", "state")  # of the input: the agent has its own, and shares none
_VERSION = re.compile(r"(\d{1,9})\.\d{1,9}")


@dataclass(frozen=True, slots=True)
class Client:
    """Who watches: the ids of its thread and run, whether it speaks 1.0, the ids of the messages that it has."""

    thread_id: str
    run_id: str
    speaks_1_0: bool = False
    known: tuple[str, ...] = ()


class RunInput(Stored, alias_generator=to_camel):
    """The input of a run, as far as it counts here. What else is in it is left alone."""

    thread_id: str
    run_id: str = Field(min_length=1, max_length=MAX_ID_CHARS)
    parent_run_id: str | None = None
    protocol_version: Any = None
    messages: list[dict[str, Any]] = Field(default_factory=list)
    forwarded_props: Any = None
    tools: Any = None
    context: Any = None
    state: Any = None
    resume: Any = None

    @property
    def client(self) -> Client:
        """Who asks."""
        known = tuple(message["id"] for message in self.messages if isinstance(message.get("id"), str))
        return Client(self.thread_id, self.run_id, speaks_1_0=_speaks_1_0(self.protocol_version), known=known)

    @property
    def ignored(self) -> list[str]:
        """The fields that bring something and change nothing."""
        return [name for name in IGNORED if getattr(self, name)]


@dataclass(frozen=True)
class NewMessage:
    """The message that a run brings. `mode` None: that of the chat."""

    content: str
    message_id: str
    mode: Mode | None = None
    files: tuple[DataUrl, ...] = ()

    def to_body(self, attachments: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
        """Return it as `process_user_message` takes it; `attachments` are its files, which are stored by then."""
        mode = {} if self.mode is None else {"mode": self.mode}
        files = {"attachments": [*attachments]} if attachments else {}
        return {"content": self.content, "message_id": self.message_id, **mode, **files}


def read_input(body: Any) -> RunInput:
    """Return the input of a run. Errors: UsageError with what is wrong."""
    try:
        return RunInput.model_validate(body)
    except ValidationError as exc:
        raise UsageError(f"This is no RunAgentInput of AG-UI. {problems_of(exc)}.") from exc


def message_of(run: RunInput) -> NewMessage:
    """Return the message of a run: the last one, which must be the user's.

    Errors: UsageError with what is wrong and what to do.
    """
    if not run.messages:
        raise UsageError("The run has no messages: send at least one, of role `user`; or use `connect` to watch")
    last = run.messages[-1]
    if last.get("role") != "user":
        raise UsageError(
            f"The last message has the role {quoted(last.get('role'))}: it must be `user`. "
            "Tools of the client are not called by this agent, so none has a result to bring"
        )
    message_id = last.get("id")
    if not isinstance(message_id, str) or not 0 < len(message_id) <= MAX_ID_CHARS:
        raise UsageError(f"The last message needs an `id` of 1 to {MAX_ID_CHARS} characters, got {quoted(message_id)}")
    said = read_content(last.get("content"), "The last message")
    return NewMessage(said.text, message_id, _mode_of(run.forwarded_props), said.files)


def new_message_of(run: RunInput, known: Iterable[HistoryEntry]) -> NewMessage | None:
    """Return the message that a run brings beside its answers, None if the chat has it. Errors: UsageError."""
    last = run.messages[-1] if run.messages else {}
    if last.get("role") != "user" or last.get("id") in {entry.message_id for entry in known}:
        return None
    return message_of(run)


def read_mode(value: object, where: str) -> Mode:
    """Return a mode, written in any case. Errors: UsageError with the modes there are."""
    known = ", ".join(Mode)
    if not isinstance(value, str) or value.upper() not in list(Mode):
        raise UsageError(f"{where} is {quoted(value)}: it must be one of {known}")
    return Mode(value.upper())


def _mode_of(forwarded: Any) -> Mode | None:
    value = forwarded.get("mode") if isinstance(forwarded, dict) else None
    return None if value is None else read_mode(value, "forwardedProps.mode")


def _speaks_1_0(version: Any) -> bool:
    found = _VERSION.fullmatch(version) if isinstance(version, str) else None
    return found is not None and int(found[1]) >= 1
