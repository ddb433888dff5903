"""Operation: one method or function that takes at most one input, and the check of that input.

Reads signatures at import time and type hints at the first call; calls nothing by itself.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from app.errors import DefinitionError, UsageError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Operation:
    """A callable with a name that clients know; `title` is what error messages call it."""

    name: str
    title: str
    function: Callable[..., Any]
    parameter: inspect.Parameter | None

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str, title: str, method: bool = False) -> "Operation":
        """Read the signature of `function`.

        Errors: DefinitionError if it needs more than one input.
        """
        parameters = list(inspect.signature(function).parameters.values())[1 if method else 0 :]
        inputs = [p for p in parameters if p.kind in _POSITIONAL]
        needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
        needed = [p for p in needed if p.kind is not p.VAR_KEYWORD]
        if len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
            names = ", ".join(p.name for p in needed)
            raise DefinitionError(f"{title} takes {names}: give it one input, for example a dict or a pydantic model")
        return cls(name, title, function, inputs[0] if inputs else None)

    def arguments(self, value: Any) -> tuple[Any, ...]:
        """Return what to call `function` with for the input `value`, which came as JSON.

        Errors: UsageError if it does not fit the type hint.
        """
        if self.parameter is None:
            if value is not None:
                raise UsageError(f"{self.title} takes no input, got {_short(value)}: leave it out")
            return ()
        if value is None and self.parameter.default is not self.parameter.empty:
            return ()
        try:
            return (self._input.validate_python(value),)
        except ValidationError as exc:
            raise UsageError(f"Bad input for {self.title}. {_explain(exc, self.parameter.name)}") from exc

    def result(self, value: Any) -> Any:
        """Return a JSON value as what the return annotation promises."""
        return self._output.validate_python(value)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self.function)
        except NameError as exc:
            raise DefinitionError(f"A type hint of {self.title} cannot be resolved: {exc}; import that name") from exc

    @cached_property
    def _input(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._hints.get(self.parameter.name, Any) if self.parameter else Any)

    @cached_property
    def _output(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._hints.get("return", Any))


def to_json(value: Any, what: str) -> Any:
    """Return `value` as plain JSON data: models, dataclasses, datetimes and the like become what JSON has.

    Errors: UsageError names `what` if JSON cannot carry it.
    """
    try:
        return to_jsonable_python(value)
    except PydanticSerializationError as exc:
        raise UsageError(f"{what} cannot be stored as JSON: {exc}; use dicts, lists, pydantic models") from exc


def _explain(exc: ValidationError, parameter: str) -> str:
    problems = []
    for error in exc.errors(include_url=False, include_context=False):
        field = ".".join([parameter, *(str(part) for part in error["loc"])])
        problems.append(f"{field}: {error['msg']}, got {_short(error['input'])}")
    return f"{'; '.join(problems)}."


def _short(value: Any) -> str:
    return repr(str(value)[:80])
