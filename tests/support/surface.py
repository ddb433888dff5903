"""What a package offers: its public names, their parameters, fields and members. Imports nothing of ours.

`python tests/support/surface.py > tests/unit/background/published_surface.json`, with an interpreter that has
`restack-ai` (`pip install restack-ai`), writes down the surface of the published library.
"""

import dataclasses
import enum
import importlib
import inspect
import json
import pkgutil
import re
import sys
import types
import typing
from typing import Any

PACKAGE = "restack_ai"
OWNERS = (PACKAGE, "temporalio")  # what it defines, and what it passes on of the library below it
NAMESPACES = ("agent", "converter", "function", "workflow")  # modules that are public names of another
VALUES = (str, bytes)
# What functions return, of which code reads the fields.
RETURNED = {
    "agent_info()": "temporalio.workflow:Info",
    "agent_info().parent": "temporalio.workflow:ParentInfo",
    "function_info()": "temporalio.activity:Info",
    "get_external_agent_handle()": "temporalio.workflow:ExternalWorkflowHandle",
    "Restack.get_agent_handle()": "temporalio.client:WorkflowHandle",
    "Restack.get_agent_handle().describe()": "temporalio.client:WorkflowExecutionDescription",
    "Restack.get_agent_handle().start_update()": "temporalio.client:WorkflowUpdateHandle",
}


def parameters(function: Any, *, method: bool = False) -> list[str]:
    """Return the parameters of a callable in order: `name`, or `name=` if it is given by name, `*name`, `**name`.

    A `**name` of which the body asks for certain keys is spelt out.
    """
    try:
        given = list(inspect.signature(function).parameters.values())[1 if method else 0 :]
    except (TypeError, ValueError):
        return []
    found = []
    for parameter in given:
        keys = _named_keys(function) if parameter.kind is parameter.VAR_KEYWORD else []
        found += keys or [_spelling(parameter)]
    return found


def _spelling(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.KEYWORD_ONLY:
        return f"{parameter.name}="
    stars: dict[Any, str] = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    return stars.get(parameter.kind, "") + parameter.name


def _named_keys(function: Any) -> list[str]:
    """Return the keys that the body of a function with `**kwargs` asks for."""
    try:
        source = inspect.getsource(function)
    except (TypeError, OSError):
        return []
    return sorted(f"{name}=" for name in set(re.findall(r"kwargs\.get\(\s*\"(\w+)\"", source)))


def fields(cls: type) -> list[str]:
    """Return what an instance of `cls` can be asked for, methods left out."""
    names = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    names |= set(getattr(cls, "model_fields", {}))
    names |= {name for name, value in inspect.getmembers(cls) if isinstance(value, property)}
    if not issubclass(cls, enum.Enum):
        names |= {name for part in cls.__mro__ for name in inspect.get_annotations(part) if part is not object}
    return sorted(name for name in names if not name.startswith(("_", "model_")))


def methods(cls: type) -> dict[str, list[str]]:
    """Return the public methods of a class with their parameters."""
    found = inspect.getmembers(cls, lambda member: inspect.isfunction(member) or inspect.ismethod(member))
    own = [(name, value) for name, value in found if value.__module__.split(".")[0] not in ("pydantic", "builtins")]
    return {
        name: parameters(value, method=not inspect.ismethod(value)) for name, value in own if not name.startswith("_")
    }


def describe(value: Any) -> dict[str, Any]:
    """Return what is public of one name."""
    if isinstance(value, type) and issubclass(value, enum.Enum):
        return {"kind": "enum", "fields": sorted(value.__members__)}
    if typing.is_typeddict(value):
        return {"kind": "keys", "fields": sorted(value.__annotations__)}
    if isinstance(value, type):
        return {"kind": "class", "call": parameters(value), "fields": fields(value), "methods": methods(value)}
    if isinstance(value, types.ModuleType):
        inner = {name: function for name, function in vars(value).items() if inspect.isfunction(function)}
        package = value.__name__.split(".")[0]
        own = {name: f for name, f in inner.items() if f.__module__.split(".")[0] == package and name[0] != "_"}
        return {"kind": "namespace", "methods": {name: parameters(function) for name, function in sorted(own.items())}}
    if callable(value):
        return {"kind": "function", "call": parameters(value)}
    if isinstance(value, VALUES):
        return {"kind": "value"}
    return {"kind": "namespace", "methods": methods(type(value)), "fields": fields(type(value))}


def public(module: types.ModuleType, owners: tuple[str, ...]) -> dict[str, Any]:
    """Return the public names of a module: those that it lists, and those that its owners define."""
    listed = set(getattr(module, "__all__", ()))
    found = {}
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or (isinstance(value, types.ModuleType) and name not in NAMESPACES):
            continue
        owner = value.__name__ if isinstance(value, types.ModuleType) else _owner(value)
        if name in listed or owner.split(".")[0] in owners or (isinstance(value, VALUES) and name.isupper()):
            found[name] = describe(value)
    return found


def _owner(value: Any) -> str:
    owner = getattr(value, "__module__", None) or type(value).__module__
    return str(owner)


def main() -> None:
    package = importlib.import_module(PACKAGE)
    names = [PACKAGE, *(found.name for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."))]
    surface = {name.removeprefix(PACKAGE): public(importlib.import_module(name), OWNERS) for name in sorted(names)}
    returned = {}
    for what, path in RETURNED.items():
        module, name = path.split(":")
        returned[what] = describe(getattr(importlib.import_module(module), name))
    text = json.dumps({"modules": surface, "returned": returned}, indent=1)
    sys.stdout.write(re.sub(r"\[[^][]*\]", lambda found: " ".join(found[0].split()), text) + "\n")  # a list is a line


if __name__ == "__main__":
    main()
