"""What a client of Chat Completions asks for, checked: which chat, which message, in which mode; or a task.

Pure: no I/O. Of the messages only the user's last one counts: the chat itself remembers the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationError

from app.errors import UsageError
from app.turns.modes import Mode
from app.turns.transcript import AssistantItem, Item, UserItem
from app.values import Stored, problems_of, quoted
from app.web.agui.request import MAX_ID_CHARS, read_mode
from app.web.uploads.parts import InParts, read_content

HOW_TO_NAME_A_CHAT = (
    "This request names no chat. Send its id in the header X-Chat-Id or as metadata.chat_id. In Open WebUI and "
    "LibreChat that is a header of the connection, see docs/protocols.md"
)
REFUSED = {  # what would change the answer if it were done
    "tools": "The agent calls tools of its own: send no `tools`",
    "functions": "The agent calls tools of its own: send no `functions`",
    "response_format": "The agent answers in plain text: send no `response_format`",
    "audio": "The agent answers in plain text: send no `audio`",
}
TASK_INSTRUCTIONS = "Do exactly what the message asks for."


class ChatCompletionRequest(Stored):
    """The body of a request, as far as it counts here. What else is in it, as `temperature`, changes nothing."""

    model: str = ""
    messages: list[dict[str, Any]] = Field(min_length=1)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    n: int | None = None
    tools: Any = None
    functions: Any = None
    response_format: Any = None
    audio: Any = None

    @property
    def include_usage(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))


@dataclass(frozen=True)
class Asked:
    """What a request is about. With `task` it is none of a chat's business, and the rest is None."""

    task: str | None
    chat_id: str | None
    message_id: str | None
    mode: Mode | None


def read_body(body: Any) -> ChatCompletionRequest:
    """Return a request that can be served. Errors: UsageError with what is wrong and what to do."""
    try:
        request = ChatCompletionRequest.model_validate(body)
    except ValidationError as exc:
        raise UsageError(f"This is no request of Chat Completions. {problems_of(exc)}.") from exc
    for name, why in REFUSED.items():
        value = getattr(request, name)
        if value and value != {"type": "text"}:
            raise UsageError(why)
    if request.n not in (None, 1):
        raise UsageError(f"n is {request.n}: the agent gives one answer")
    return request


def read_asked(headers: Mapping[str, str], metadata: Mapping[str, Any] | None) -> Asked:
    """Return what a request is about: a header counts before the metadata. Errors: UsageError."""
    task = _named(headers, metadata, "task")
    if task is not None:
        return Asked(task, None, None, None)
    chat_id = _named(headers, metadata, "chat_id")
    if chat_id is None:
        raise UsageError(HOW_TO_NAME_A_CHAT)
    message_id = _named(headers, metadata, "message_id")
    if message_id is not None and len(message_id) > MAX_ID_CHARS:
        raise UsageError(f"The id of the message has {len(message_id)} characters, the limit is {MAX_ID_CHARS}")
    mode = _named(headers, metadata, "mode")
    return Asked(None, chat_id, message_id, None if mode is None else read_mode(mode, "The mode"))


def last_said(request: ChatCompletionRequest) -> InParts:
    """Return the user's last message. Errors: UsageError if there is none, or it is more than text and files."""
    said = [message for message in request.messages if message.get("role") == "user"]
    if not said:
        raise UsageError("There is no message of role `user`: the agent answers the last one of these")
    return read_content(said[-1].get("content"))


def as_items(request: ChatCompletionRequest) -> tuple[str, list[Item]]:
    """Return the instructions and the conversation of a task. Errors: UsageError for what is more than text."""
    instructions: list[str] = []
    items: list[Item] = []
    for number, message in enumerate(request.messages):
        text = _text_of(message.get("content"))
        role: Literal["assistant"] | Any = message.get("role")
        if role in ("system", "developer"):
            instructions.append(text)
        elif role == "assistant":
            items.append(AssistantItem(content=text))
        else:
            items.append(UserItem(message_id=str(number), content=text))
    return "\n\n".join(instructions) or TASK_INSTRUCTIONS, items


def _named(headers: Mapping[str, str], metadata: Mapping[str, Any] | None, name: str) -> str | None:
    """Return a value, None if it is empty or a template that the client has not filled in."""
    values = (headers.get(f"x-{name.replace('_', '-')}", "").strip(), (metadata or {}).get(name))
    filled = [value for value in values if value not in (None, "", "None") and not str(value).startswith("{{")]
    if filled and not isinstance(filled[0], str):
        raise UsageError(f"{name} is {quoted(filled[0])}: it must be a text")
    return filled[0] if filled else None


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise UsageError("A task has parts that are no text: it is done with text only, no images and no files")
    return "\n".join(part["text"] for part in parts)
