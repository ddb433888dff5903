"""What a tool call asks the user in its middle, and what comes back: durable, for days if need be.

Knows the form of an answer; not how a person is asked.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError
from pydantic import create_model as new_model

from app.errors import UsageError
from app.values import problems_of

MAX_FIELDS = 50
MAX_CHOICES = 500
_PLAIN: dict[object, Any] = {"integer": StrictInt, "number": StrictInt | StrictFloat, "boolean": StrictBool}
_ANY = StrictBool | StrictInt | StrictFloat | StrictStr | list[StrictStr] | None


@dataclass(frozen=True)
class Told:
    """What became of a question: an `answer`, or `why` there is none. `declined`: a person has refused to answer."""

    answer: dict[str, Any] | None = None
    declined: bool = False
    why: str = ""


async def _nobody(_message: str, _form: dict[str, Any], _asked_at: float) -> Told:
    return Told(why="there is nobody to ask")


Ask = Callable[[str, dict[str, Any], float], Awaitable[Told]]
asks: ContextVar[Ask] = ContextVar("how a tool call asks the user", default=_nobody)


async def ask_user(message: str, form: dict[str, Any], asked_at: float) -> Told:
    """Ask the user, and wait for the answer. `form` is the JSON schema of it: an object of plain fields.

    `asked_at` is when, in seconds since 1970, as a step has recorded it.
    Durable: one message, one signal, a timer with a timeout.
    """
    return await asks.get()(message, form, asked_at)


def check_form(form: object) -> None:
    """Raise UsageError if `form` is nothing that a person can fill in."""
    _model_of(form)


def check_answer(form: Mapping[str, Any], answer: dict[str, Any]) -> None:
    """Raise UsageError with a sentence for the person if `answer` does not fit the form."""
    model, names = _model_of(form)
    try:
        model.model_validate(answer)
    except ValidationError as exc:
        fields = ", ".join(map(repr, names)) or "no fields"
        raise UsageError(
            f"Wrong answer: {problems_of(exc, whole='the answer')}. Send an object with {fields}."
        ) from exc


def _model_of(form: object) -> tuple[type[BaseModel], list[str]]:
    """Return what checks an answer. The names of the fields are a server's: they stand as aliases only."""
    properties = form.get("properties", {}) if isinstance(form, Mapping) and form.get("type") == "object" else None
    if not isinstance(form, Mapping) or not isinstance(properties, Mapping):
        raise UsageError("The form is no object of fields.")
    required = form.get("required") or []
    if len(properties) > MAX_FIELDS or not isinstance(required, list):
        raise UsageError(f"The form has more than {MAX_FIELDS} fields, or does not say which must be filled in.")
    fields: dict[str, Any] = {}
    for number, (name, field) in enumerate(properties.items()):
        default = ... if name in required else None
        fields[f"f{number}"] = (_type_of(name, field), Field(default, alias=name))
    return new_model("answer", __config__=ConfigDict(extra="forbid"), **fields), list(properties)


def _type_of(name: str, field: object) -> Any:
    """Return the type of a field. One of a kind that is not known may be anything plain: its server checks it."""
    if not isinstance(field, Mapping):
        raise UsageError(f"The field {name[:80]!r} of the form says nothing of itself.")
    kind = field.get("type")
    if kind == "object" or "properties" in field or "$ref" in field:
        raise UsageError(f"The field {name[:80]!r} of the form is no plain one.")
    if kind == "array":
        many: Any = list
        length = Field(min_length=_whole(field, "minItems"), max_length=_whole(field, "maxItems"))
        return Annotated[many[_choices(name, field.get("items")) or StrictStr], length]
    choices = _choices(name, field)
    if choices is not None:
        return choices
    if kind == "string":
        return Annotated[StrictStr, Field(min_length=_whole(field, "minLength"), max_length=_whole(field, "maxLength"))]
    if kind in ("integer", "number"):
        return Annotated[_PLAIN[kind], Field(ge=_number(field, "minimum"), le=_number(field, "maximum"))]
    return _PLAIN.get(kind, _ANY)


def _choices(name: str, field: object) -> Any:
    """Return the type of a field that is one of several texts, None for any other."""
    if not isinstance(field, Mapping):
        return None
    given = field.get("enum")
    titled = field.get("oneOf") or field.get("anyOf")
    if given is None and isinstance(titled, list) and all(isinstance(each, Mapping) for each in titled):
        given = [each["const"] for each in titled if "const" in each] or None
    if given is None:
        return None
    if not isinstance(given, list) or not 0 < len(given) <= MAX_CHOICES or not all(isinstance(c, str) for c in given):
        raise UsageError(
            f"The choices of the field {name[:80]!r} of the form are no list of up to {MAX_CHOICES} texts."
        )
    return Literal[tuple(given)]


def _number(field: Mapping[str, Any], limit: str) -> float | None:
    value = field.get(limit)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(field: Mapping[str, Any], limit: str) -> int | None:
    value = field.get(limit)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
