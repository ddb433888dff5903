"""Schemas of agents and workflows, in the form of the published library: what `run` takes and returns.

Pure. Restate has schemas of its own.
"""

import inspect
from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

__all__ = ["explore_class_details", "extract_openapi_schema"]


def explore_class_details(cls: Any) -> dict[str, Any]:
    """Return name, description and the schemas of input and output of a class or a function."""
    run = getattr(cls, "run", None) if inspect.isclass(cls) else None
    annotations = dict(inspect.get_annotations(run, eval_str=True)) if run is not None else {}
    output = annotations.pop("return", None)
    inputs = [annotation for annotation in annotations.values() if inspect.isclass(annotation)]
    return {
        "name": getattr(cls, "__name__", "Unknown"),
        "type": "class" if inspect.isclass(cls) else "function",
        "input_schema": extract_openapi_schema(inputs[-1], cls.__name__) if inputs else {},
        "output_schema": extract_openapi_schema(output, cls.__name__) if inspect.isclass(output) else {},
        "description": inspect.getdoc(cls) or "",
        "mcp": False,
    }


def extract_openapi_schema(cls: Any, namespace_prefix: str = "") -> dict[str, Any]:
    """Return the JSON schema of a pydantic model or a dataclass, with its definitions named `<prefix>_<name>`.

    Anything else has none: {}.
    """
    if not (isinstance(cls, type) and (issubclass(cls, BaseModel) or is_dataclass(cls))):
        return {}
    prefix = f"{namespace_prefix}_" if namespace_prefix else ""
    schema = TypeAdapter(cls).json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    if prefix and "$defs" in schema:
        schema["$defs"] = {f"{prefix}{name}": definition for name, definition in schema["$defs"].items()}
    return schema
