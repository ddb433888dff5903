"""Operation: one method or function that takes at most one input, and the check of that input.

Reads signatures at import time and type hints at the first call. Calls nothing by itself.
"""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from app.background.declare.foreign import adapter_of, as_json
from app.errors import DefinitionError, UsageError
from app.text import clean_data
from app.values import problems_of, quoted

logger = logging.getLogger("background")

_TOO_LONG_INTEGER = 10**4300  # Python's limit for the digits of an integer
_LONG_INTEGER = "it has an integer of more than 4300 digits; make it text, for example hex(number)"
_warned: set[str] = set()
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Operation:
    """A callable with a name that clients know. Error messages call it `title`."""

    name: str
    title: str
    function: Callable[..., Any]
    parameter: inspect.Parameter | None
    may_miss_input: bool = False  # it then gets None, whatever its type hint says

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str, title: str, method: bool = False) -> "Operation":
        """Return the operation of a function. A method of an agent may be called without its input.

        Errors: DefinitionError if it needs more than one input.
        """
        parameters = list(inspect.signature(function).parameters.values())[1 if method else 0 :]
        inputs = [p for p in parameters if p.kind in _POSITIONAL]
        needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
        needed = [p for p in needed if p.kind is not p.VAR_KEYWORD]
        if len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
            names = ", ".join(p.name for p in needed)
            raise DefinitionError(f"{title} takes {names}: give it one input, for example a dict or a pydantic model")
        return cls(name, title, function, inputs[0] if inputs else None, may_miss_input=method)

    def arguments(self, value: Any) -> tuple[Any, ...]:
        """Return what to call `function` with for the input `value`, which came as JSON.

        Errors: UsageError if it does not fit the type hint.
        """
        if self.parameter is None:
            if value is not None:
                raise UsageError(f"{self.title} takes no input, got {quoted(value)}: leave it out")
            return ()
        if value is None and self.parameter.default is not self.parameter.empty:
            return ()
        if value is None and self.may_miss_input:
            return (None,)
        return (self._checked(value, self.parameter.name),)

    @property
    def input_type(self) -> Any:
        """The type hint of the input, None if it takes none."""
        return self._hints.get(self.parameter.name, Any) if self.parameter else None

    def require_input(self, value: Any) -> None:
        """Check that an input is there if the type hint does not take None. Errors: UsageError."""
        if value is None and self.parameter is not None and self.parameter.default is self.parameter.empty:
            self._checked(value, self.parameter.name)

    def _checked(self, value: Any, name: str) -> Any:
        try:
            return self._input.validate_python(value)
        except ValidationError as exc:
            raise UsageError(f"Bad input for {self.title}. {problems_of(exc, within=name)}.") from exc

    def result(self, value: Any) -> Any:
        """Return a JSON value as what the return annotation promises.

        A null is returned as it is, and logged once: the effect has happened, and many functions return nothing.
        Errors: UsageError for any other value that does not fit.
        """
        try:
            return self._output.validate_python(value)
        except ValidationError as exc:
            if value is not None:
                raise UsageError(
                    f"The result of {self.title} does not fit. {problems_of(exc, within='return')}."
                ) from exc
        if self.title not in _warned:
            _warned.add(self.title)
            logger.warning("The result of %s is None, against its annotation", self.title)
        return None

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self.function)
        except NameError as exc:
            raise DefinitionError(f"A type hint of {self.title} cannot be resolved: {exc}; import that name") from exc

    @cached_property
    def _input(self) -> TypeAdapter[Any]:
        return adapter_of(self._hints.get(self.parameter.name, Any) if self.parameter else Any)

    @cached_property
    def _output(self) -> TypeAdapter[Any]:
        return adapter_of(self._hints.get("return", Any))


def to_json(value: Any, what: str) -> Any:
    """Return `value` as plain JSON data: models, dataclasses, datetimes and the like become what JSON has.

    Errors: UsageError names `what` if JSON cannot carry it, and the way out.
    """
    try:
        data = clean_data(to_jsonable_python(value, fallback=as_json))
        _require_short_integers(data)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{what} cannot be stored as JSON: {_why_no_json(exc)}") from exc
    return data


def _require_short_integers(data: Any) -> None:
    """Check that no integer is too long for writers and readers of JSON. Errors: ValueError."""
    if isinstance(data, int) and abs(data) >= _TOO_LONG_INTEGER:
        raise ValueError(_LONG_INTEGER)
    for item in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        _require_short_integers(item)


def _why_no_json(exc: ValueError | RecursionError) -> str:
    """Return what is wrong with a value, and the way out."""
    if isinstance(exc, UnicodeDecodeError):
        return "it has bytes that are no UTF-8; make them text, for example base64.b64encode(data).decode()"
    if "integer string conversion" in str(exc):  # Python's own words, for a key
        return _LONG_INTEGER
    if "id repeated" in str(exc):
        return "it contains itself; leave the reference back out"
    if isinstance(exc, RecursionError) or "depth" in str(exc):
        return "it is nested too deeply; make it flatter, for example a list of items that name their parent"
    if isinstance(exc, (PydanticSerializationError, UnicodeEncodeError)):  # the latter for a key that is no text
        return f"{exc}; use dicts, lists, pydantic models"
    return str(exc)
