"""The registry of tools: `@tool` makes a frozen definition of an async function, checked when it is imported.

Runs no turns: who calls a tool decides what its failure means.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model

from app.errors import DefinitionError, UsageError
from app.llm import ToolSpec
from app.values import problems_of

MAX_QUOTED_CHARS = 200  # of wrong arguments, in the sentence for the model
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # what every LLM server takes


@dataclass(frozen=True)
class Tool:
    """A tool that the LLM may call."""

    spec: ToolSpec
    run: Callable[..., Awaitable[str]]
    arguments_model: type[BaseModel]

    @property
    def name(self) -> str:
        return self.spec.name

    async def call(self, arguments: str) -> str:
        """Run the tool with `arguments`, the JSON text that the LLM wrote. Return its result.

        Errors: UsageError with a sentence for the LLM when the arguments do not fit, and whatever the tool raises.
        """
        parsed = self._parse(arguments)
        return await self.run(**{name: getattr(parsed, name) for name in self.arguments_model.model_fields})

    def _parse(self, arguments: str) -> BaseModel:
        try:
            # Some LLMs write nothing for no arguments.
            return self.arguments_model.model_validate_json(arguments or "{}")
        except ValidationError as exc:
            problems = problems_of(exc, whole="the arguments")
            raise UsageError(
                f"Wrong arguments for {self.name}: {problems}. You sent {arguments[:MAX_QUOTED_CHARS]!r}; "
                f"send a JSON object with {_fields(self.arguments_model)}."
            ) from exc


def tool(function: Callable[..., Awaitable[str]]) -> Tool:
    """Define a tool: an async function with annotated parameters that returns text. Its docstring is for the LLM.

    Errors: DefinitionError when the function is not that.
    """
    name = getattr(function, "__name__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise DefinitionError(f"The tool {name!r} is not an async function; declare it with `async def`.")
    if not _NAME.fullmatch(name):
        raise DefinitionError(f"The tool name {name!r} will not do; use up to 64 of a-z, 0-9 and _, a letter first.")
    description = inspect.getdoc(function)
    if not description:
        raise DefinitionError(f"The tool {name!r} has no docstring; say in it what the tool does, for the LLM.")
    model = _arguments_model(name, function)
    return Tool(ToolSpec(name, description, _json_schema(name, model)), function, model)


def by_name(*tools: Tool) -> Mapping[str, Tool]:
    """Return `tools` by name.

    Errors: DefinitionError when two have the same name.
    """
    named = {each.name: each for each in tools}
    if len(named) < len(tools):
        raise DefinitionError(f"Two of the tools {[each.name for each in tools]!r} have the same name; rename one.")
    return named


def _arguments_model(name: str, function: Callable[..., Awaitable[str]]) -> type[BaseModel]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise DefinitionError(f"The tool {name!r} has an annotation that cannot be resolved: {exc}.") from exc
    if hints.pop("return", None) is not str:
        raise DefinitionError(f"The tool {name!r} does not return text; annotate it with `-> str`.")
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DefinitionError(f"The tool {name!r} takes {str(parameter)!r}; give every parameter a plain name.")
        if parameter.name not in hints:
            raise DefinitionError(f"The parameter {parameter.name!r} of the tool {name!r} has no annotation; add one.")
        if parameter.name.startswith("_") or hasattr(BaseModel, parameter.name):
            raise DefinitionError(
                f"The parameter {parameter.name!r} of the tool {name!r} is a reserved name; rename it."
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    try:
        return create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    except PydanticUserError as exc:
        raise DefinitionError(f"The tool {name!r} has a parameter that JSON cannot carry: {exc.message}") from exc


def _json_schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except PydanticUserError as exc:
        raise DefinitionError(f"The tool {name!r} has a parameter that JSON cannot carry: {exc.message}") from exc


def _fields(model: type[BaseModel]) -> str:
    names = [f"{name!r}" for name in model.model_fields]
    return f"the fields {', '.join(names)}" if names else "no fields"
