"""The base classes of values that are stored and of values that clients send, and the words for one that does not fit.

Pure: no I/O, no Restate.
"""

from collections.abc import Iterator
from reprlib import Repr
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from pydantic_core import to_json as json_of

from app.text import clean_data, printable, shorten

_SHOWN_PROBLEMS = 10
_SHOWN_CHARS = 80

# How a value is quoted in a sentence. A list of four million numbers is not first written out and then cut.
_brief = Repr()
_brief.maxlevel, _brief.maxlist, _brief.maxdict, _brief.maxstring = 3, 10, 6, _SHOWN_CHARS


Absent = Field(None, exclude_if=lambda value: value is None)  # left out of an answer when it does not apply


class Stored(BaseModel):
    """A frozen value that is stored or journaled. Unknown fields are ignored, so that a rollback reads newer state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def changed(self, **fields: Any) -> Self:
        """Return a copy with other values in `fields`, which are not checked.

        Errors: TypeError for the name of no field.
        """
        if unknown := fields.keys() - type(self).model_fields.keys():
            known = ", ".join(type(self).model_fields)
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}; it has {known}")
        return self.model_copy(update=fields)


class Input(BaseModel):
    """What a client sends. Unknown fields are refused: a misspelt field must not be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def problems_of(exc: ValidationError, *, whole: str = "it", within: str = "") -> str:
    """Return what is wrong with a value, ten problems of it at most. Nothing in it drives a terminal.

    `whole` is what the value itself is called, `within` what comes before the names of its fields.
    """
    more = exc.error_count() - _SHOWN_PROBLEMS
    return "; ".join(_problems(exc, whole, within)) + (f"; and {more} more" if more > 0 else "")


def quoted(value: object) -> str:
    """Return the beginning of a value, in quotes. Nothing in it drives a terminal."""
    return repr((value if isinstance(value, str) else _written(value))[:_SHOWN_CHARS])


def to_json(adapter: TypeAdapter[Any], value: object, *, strict: bool = False) -> bytes:
    """Return `value` as JSON. Text that UTF-8 cannot encode is cleaned, which is rare and dear.

    Errors: pydantic_core.PydanticSerializationError for what JSON cannot carry; if `strict`, also for what does not fit
    the type of the adapter.
    """
    warnings: Literal["error"] | bool = "error" if strict else True
    try:
        return adapter.dump_json(value, warnings=warnings)
    except (PydanticSerializationError, UnicodeEncodeError) as exc:
        if "surrogates" not in str(exc):
            raise
    try:
        plain = adapter.dump_python(value, mode="json", warnings=warnings)
    except (PydanticSerializationError, UnicodeEncodeError):  # the key of a dict
        plain = adapter.dump_python(value, warnings=warnings)
    return json_of(clean_data(plain))


def _problems(exc: ValidationError, whole: str, within: str) -> Iterator[str]:
    """Yield one sentence for each of the first ten things that are wrong."""
    for error in exc.errors(include_url=False, include_context=False)[:_SHOWN_PROBLEMS]:
        path = ".".join(str(part) for part in (within, *error["loc"]) if part != "")
        field = printable(shorten(path, _SHOWN_CHARS)) or whole
        got = "" if error["type"] in ("missing", "json_invalid") else f", got {quoted(error['input'])}"
        # Some of pydantic's sentences repeat what was sent, the tag of a union for one.
        yield f"{field}: {printable(shorten(error['msg'], 4 * _SHOWN_CHARS))}{got}"


def _written(value: object) -> str:
    try:
        return _brief.repr(value)
    except ValueError:  # there is an integer in it of more digits than Python writes
        return f"a value of type {type(value).__name__}"
