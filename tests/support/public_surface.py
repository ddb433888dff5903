"""What users of the house may import, and how it is written down, the same under every Python version.

`python -m tests.support.public_surface > tests/unit/public_surface.txt` writes it down.
"""

import dataclasses
import enum
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from app import background, values

# What a tool may import. docs/tools.md shows the same.
TOOL_AUTHORS: Mapping[str, tuple[str, ...]] = {
    "app.tools.registry": ("Tool", "by_name", "tool"),
    "app.tools.context": ("ToolContext",),
    "app.tools.progress": ("progress",),
    "app.durable": ("RetryPolicy", "get_logger", "step"),
    "app.errors": ("NonRetryableError", "RetryableError", "StepFailed", "UsageError"),
    "app.settings": ("get_settings",),
}

# What an agent, a function or a client may import: what `app.background` itself declares.
AGENT_AUTHORS: Mapping[str, tuple[str, ...]] = {
    name: tuple(importlib.import_module(name).__all__)
    for name in (
        "app.background",
        "app.chat_agents",
        *(f"app.background.{module}" for module in background.PUBLIC_MODULES),
    )
}

PUBLIC = {"Tools": TOOL_AUTHORS, "Background agents": AGENT_AUTHORS}

_ANY_ADDRESS = "…"  # for a default whose text says nothing, or where it is in memory


def surface() -> str:
    """Return all public names with their signatures, a line for each thing that can be said of one."""
    lines: list[str] = []
    for title, modules in PUBLIC.items():
        lines += [f"# {title}", ""]
        described: dict[int, str] = {}
        for module, names in modules.items():
            lines += [f"## {module}", ""]
            named = {name: getattr(importlib.import_module(module), name) for name in sorted(names)}
            for name, value in named.items():
                if getattr(value, "__name__", name) == name:  # a second name of the same thing refers to this one
                    described.setdefault(id(value), f"{module}.{name}")
            for name, value in named.items():
                lines += _of(value, name, f"{module}.{name}", described)
            lines.append("")
    return "\n".join(lines)


def _of(value: Any, name: str, path: str, described: dict[int, str]) -> Iterator[str]:
    if isinstance(value, types.ModuleType):
        yield f"{name} is the module {value.__name__.removeprefix('app.')}"
    elif isinstance(value, str):
        yield f"{name} = {value!r}"
    elif (known := described.setdefault(id(value), path)) != path:
        yield f"{name} is {known}"
    elif isinstance(value, type):
        yield from _of_class(value, name)
    elif inspect.isfunction(value) or hasattr(value, "__wrapped__"):
        yield from _of_function(value, name)
    else:
        yield f"{name}: {_type(type(value))}"
        yield from _members(type(value))


def _of_function(function: Any, name: str) -> Iterator[str]:
    for overload in typing.get_overloads(function):
        yield f"@overload {name}{_signature(overload)}"
    yield f"{'async ' if inspect.iscoroutinefunction(function) else ''}def {name}{_signature(function)}"


def _of_class(cls: type, name: str) -> Iterator[str]:
    bases = ", ".join(_name(base) for base in cls.__bases__ if base not in (object, typing.Generic))
    yield f"class {name}" + (f"({bases})" if bases else "")
    if issubclass(cls, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in cls)
        return
    if not inspect.isabstract(cls) and not getattr(cls, "_is_protocol", False):
        yield f"    {name}{_signature(cls).partition(' -> ')[0]}"
    yield from _members(cls)


def _members(cls: type) -> Iterator[str]:
    """Yield the public attributes and methods of a class, with those that it has from others; not what values have."""
    members: dict[str, list[str]] = {}
    parts = [part for part in cls.__mro__ if part.__module__.startswith("app.") and part.__module__ != values.__name__]
    for part in reversed(parts):
        for name, annotation in inspect.get_annotations(part).items():
            members[name] = [f"{name}: {_type(annotation)}"]
        for name, member in vars(part).items():
            if isinstance(member, property):
                members[name] = [f"{name}: {_type(inspect.signature(member.fget).return_annotation)}"]  # type: ignore[arg-type]
            elif isinstance(member, classmethod | staticmethod):
                members[name] = [f"@{type(member).__name__} {line}" for line in _of_function(member.__func__, name)]
            elif inspect.isfunction(member):
                members[name] = list(_of_function(member, name))
            elif issubclass(cls, Exception) and isinstance(member, str | int):
                members[name] = [f"{name} = {member!r}"]
    for name in sorted(members):
        if not name.startswith(("_", "model_")):
            yield from (f"    {line}" for line in members[name])


def _signature(function: Any) -> str:
    """Return parameters and answer as one would write them, but for strings and quotes."""
    signature = inspect.signature(function)
    parameters: list[str] = []
    by_name = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            by_name = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not by_name:
            parameters.append("*")
            by_name = True
        parameters.append(_parameter(parameter))
    answer = signature.return_annotation
    return f"({', '.join(parameters)})" + ("" if answer is inspect.Signature.empty else f" -> {_type(answer)}")


def _parameter(parameter: inspect.Parameter) -> str:
    stars: dict[Any, str] = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    text = stars.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {_type(parameter.annotation)}"
    return text if parameter.default is parameter.empty else f"{text} = {_value(parameter.default)}"


def _type(annotation: Any) -> str:
    """Return a type by its name alone: where in the house it is defined is nobody's business."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is types.NoneType:
        return "None"
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, list):
        return f"[{', '.join(map(_type, annotation))}]"
    if annotation is ...:
        return "..."
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type, arguments))
    if origin is not None:
        return f"{_name(origin)}[{', '.join(map(_type, arguments))}]"
    return _name(annotation)


def _name(annotation: Any) -> str:
    return str(getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None) or annotation._name)


def _value(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if value is None or isinstance(value, str | bytes | int | float | tuple):
        return repr(value)
    if isinstance(value, timedelta):
        return f"timedelta(seconds={value.total_seconds():g})"
    if dataclasses.is_dataclass(value):
        fields = (f"{field.name}={_value(getattr(value, field.name))}" for field in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(fields)})"
    return _ANY_ADDRESS


def main() -> None:
    sys.stdout.write(surface())


if __name__ == "__main__":
    main()
