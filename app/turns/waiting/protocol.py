"""What clients say about messages that wait, and what ChatService answers: the shapes of every request and answer.

Shapes only. Names of fields are stored in journals and known to clients: they change only with a migration note.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from app.turns.protocol import MessageId, Receipt, Text
from app.values import Absent, Input, Stored

WhatWaits = Literal["withdraw", "hold", "send"]
"""What `stop` does with the messages that wait: drop them, set them aside, or start the next turn with them."""

# From clients to ChatService


class StopRequest(Input):
    """Which turn to stop, the open one if absent; and what becomes of the messages that wait."""

    turn_id: int | None = Field(None, gt=0)
    queue: WhatWaits = "withdraw"
    rollback: bool = Field(False, description="Undo what the turn has done, as far as its tools can")


class ResumeRequest(Input):
    """Which held messages to give to the agent; all of them if absent."""

    message_ids: tuple[MessageId, ...] | None = None


class EditRequest(Input):
    """New text for a message that the agent has not been given yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message_id": "…", "content": "do this instead"}]})

    message_id: MessageId
    content: Text


class MessageRequest(Input):
    """Names a message that the agent has not been given yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message_id": "…"}]})

    message_id: MessageId


# From ChatService to clients


class StopAnswer(Stored):
    """`stopped` is false if there was nothing to stop; `withdrawn` are the messages that will not be answered.

    With `hold`, `held` are the messages that this has set aside. With `send`, `sent` are those with which turn
    `next_turn_id` begins.
    """

    stopped: bool
    turn_id: int | None = None
    withdrawn: tuple[str, ...] = ()
    held: tuple[str, ...] | None = Absent
    sent: tuple[str, ...] | None = Absent
    next_turn_id: int | None = Absent


class ResumeAnswer(Stored):
    """What became of the messages that were held, in order; it is empty if none of them was."""

    resumed: tuple[Receipt, ...] = ()


class ChangeAnswer(Stored):
    """`applied`, or `already_taken` if the message waits no more: the agent has it, or it was withdrawn."""

    result: Literal["applied", "already_taken"]
