"""The registry of tools: `@tool` makes a frozen definition of an async function, checked when it is imported.

Runs no turns: who calls a tool decides what its failure means.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict, Unpack, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError, create_model

from app.durable import RetryPolicy, get_logger
from app.errors import DefinitionError, UsageError
from app.llm import ToolSpec
from app.tools.calling import attempted, text_of
from app.tools.context import ToolContext
from app.values import problems_of

logger = get_logger("tools")

MAX_QUOTED_CHARS = 200  # of wrong arguments, in the sentence for the model
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # what every LLM server takes


Run = Callable[..., Awaitable[Any]]


class ToolOptions(TypedDict, total=False):
    """How a tool is called. What is left out does not apply.

    `needs_approval`: a person must approve a call before it is made; a function of the arguments, by name, says which
    ones. It must be pure: a replay asks it again. `compensate(result, **arguments)` undoes a call when its turn is
    rolled back: an async function that runs in a step, with `retry`.
    Units: `timeout` is for one call, all its attempts together. `retry` says when a call that failed runs again. With
    `parallel=False` no other call of the iteration runs meanwhile.
    """

    needs_approval: bool | Callable[..., bool]
    compensate: Run | None
    timeout: timedelta | None
    retry: RetryPolicy | None
    parallel: bool


@dataclass(frozen=True)
class Called:
    """What a tool was given, checked, and what it returned."""

    arguments: dict[str, Any]
    result: Any


@dataclass(frozen=True)
class Tool:
    """A tool that the LLM may call. `context` names the parameter that gets the ToolContext."""

    spec: ToolSpec
    run: Run
    arguments_model: type[BaseModel]
    result: TypeAdapter[Any]
    context: str | None = None
    needs_approval: bool | Callable[..., bool] = False
    compensate: Run | None = None
    timeout: timedelta | None = None
    retry: RetryPolicy | None = None
    parallel: bool = True

    @property
    def name(self) -> str:
        return self.spec.name

    def asks(self, arguments: str) -> bool:
        """Return whether a person must approve a call with `arguments`. One whose arguments do not fit needs nobody."""
        if self.needs_approval is False:
            return False
        try:
            fields = self.parse(arguments)
        except UsageError:
            return False
        try:
            return self.needs_approval is True or bool(self.needs_approval(**fields))
        except Exception:
            logger.exception("Bug in needs_approval of the tool %s: a person is asked", self.name)
            return True

    async def call(self, arguments: str, context: ToolContext | None = None) -> str:
        """Run the tool with `arguments`, the JSON text that the LLM wrote. Return its result as text.

        Errors: UsageError with a sentence for the LLM when the arguments do not fit, ToolTimedOut, AgentError when the
        result does not fit, and whatever the tool raises.
        """
        return self.text_of(await self.called(arguments, context))

    async def called(self, arguments: str, context: ToolContext | None = None) -> "Called":
        """Run the tool as `call` does; return what it was given and what it returned."""
        fields = self.parse(arguments)
        known = fields if self.context is None else {**fields, self.context: context or ToolContext()}
        value = await attempted(lambda: self.run(**known), timeout=self.timeout, retry=self.retry)
        return Called(fields, value)

    def text_of(self, called: "Called") -> str:
        """Return the result of a call as text.

        Errors: AgentError when it does not fit.
        """
        return text_of(self.result, called.result)

    def parse(self, arguments: str) -> dict[str, Any]:
        """Return the checked arguments by name.

        Errors: UsageError with a sentence for the LLM.
        """
        try:
            # Some LLMs write nothing for no arguments.
            parsed = self.arguments_model.model_validate_json(arguments or "{}")
        except ValidationError as exc:
            problems = problems_of(exc, whole="the arguments")
            raise UsageError(
                f"Wrong arguments for {self.name}: {problems}. You sent {arguments[:MAX_QUOTED_CHARS]!r}; "
                f"send a JSON object with {_fields(self.arguments_model)}."
            ) from exc
        return {name: getattr(parsed, name) for name in self.arguments_model.model_fields}


@overload
def tool(function: Run) -> Tool: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Run], Tool]: ...
def tool(function: Run | None = None, **options: Unpack[ToolOptions]) -> Tool | Callable[[Run], Tool]:
    """Define a tool: an async function with annotated parameters. Its docstring is for the LLM, as is what it returns.

    Shapes: text is returned as it is, any other JSON value or pydantic model as JSON. A parameter that is annotated
    with `ToolContext` is none of the LLM's: it gets the context of the call.
    Errors: DefinitionError when the function is not that.
    """
    return (lambda decorated: _defined(decorated, options)) if function is None else _defined(function, options)


def _defined(function: Run, options: ToolOptions) -> Tool:
    name = getattr(function, "__name__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise DefinitionError(f"The tool {name!r} is not an async function; declare it with `async def`.")
    if not _NAME.fullmatch(name):
        raise DefinitionError(f"The tool name {name!r} will not do; use up to 64 of a-z, 0-9 and _, a letter first.")
    description = inspect.getdoc(function)
    if not description:
        raise DefinitionError(f"The tool {name!r} has no docstring; say in it what the tool does, for the LLM.")
    _check_options(name, options)
    _check_compensation(name, function, options.get("compensate"))
    hints = _hints(name, function)
    result = _result(name, hints)
    context = _context_parameter(name, hints)
    model = _arguments_model(name, function, hints)
    return Tool(ToolSpec(name, description, _json_schema(name, model)), function, model, result, context, **options)


def by_name(*tools: Tool) -> Mapping[str, Tool]:
    """Return `tools` by name.

    Errors: DefinitionError when two have the same name.
    """
    named = {each.name: each for each in tools}
    if len(named) < len(tools):
        raise DefinitionError(f"Two of the tools {[each.name for each in tools]!r} have the same name; rename one.")
    return named


def _check_options(name: str, options: ToolOptions) -> None:
    approval = options.get("needs_approval", False)
    if not (isinstance(approval, bool) or callable(approval)) or inspect.iscoroutinefunction(approval):
        raise DefinitionError(
            f"The tool {name!r} has needs_approval={approval!r}; give it a bool, or a plain function of the arguments."
        )
    timeout = options.get("timeout")
    if timeout is not None and not (isinstance(timeout, timedelta) and timeout > timedelta(0)):
        raise DefinitionError(f"The tool {name!r} has timeout={timeout!r}; give it a timedelta above 0, or None.")
    retry = options.get("retry")
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise DefinitionError(f"The tool {name!r} has retry={retry!r}; give it a RetryPolicy, or None.")


def _check_compensation(name: str, function: Run, compensate: Run | None) -> None:
    """Raise DefinitionError if `compensate` cannot be called with the result and the arguments of the tool."""
    if compensate is None:
        return
    cure = "give it an async function of the result, and of the arguments by name"
    if not inspect.iscoroutinefunction(compensate):
        raise DefinitionError(f"The tool {name!r} has compensate={compensate!r}; {cure}.")
    hints = _hints(name, function)
    arguments = {key: None for key in inspect.signature(function).parameters if hints.get(key) is not ToolContext}
    try:
        inspect.signature(compensate).bind(None, **arguments)
    except TypeError as exc:
        raise DefinitionError(f"The compensation of the tool {name!r} does not fit ({exc}); {cure}.") from exc


def _hints(name: str, function: Run) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise DefinitionError(f"The tool {name!r} has an annotation that cannot be resolved: {exc}.") from exc


def _result(name: str, hints: dict[str, Any]) -> TypeAdapter[Any]:
    """Return what writes the results of a tool, and take its annotation off `hints`."""
    cure = "annotate it with what it returns: `-> str`, or what JSON can carry"
    if "return" not in hints:
        raise DefinitionError(f"The tool {name!r} does not say what it returns; {cure}.")
    annotation = hints.pop("return")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        adapter.json_schema(mode="serialization")
    except PydanticUserError as exc:
        raise DefinitionError(f"The tool {name!r} returns what JSON cannot carry ({exc.message}); {cure}.") from exc
    return adapter


def _context_parameter(name: str, hints: dict[str, Any]) -> str | None:
    """Return the name of the parameter that gets the context, and take it off `hints`."""
    names = [parameter for parameter, hint in hints.items() if hint is ToolContext]
    if len(names) > 1:
        raise DefinitionError(f"The tool {name!r} takes ToolContext as {names!r}; one of them is enough.")
    for parameter in names:
        del hints[parameter]
    return names[0] if names else None


def _arguments_model(name: str, function: Run, hints: dict[str, Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DefinitionError(f"The tool {name!r} takes {str(parameter)!r}; give every parameter a plain name.")
        if parameter.annotation is not parameter.empty and parameter.name not in hints:
            continue  # the context
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
