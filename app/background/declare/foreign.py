"""Types of inputs and results that pydantic does not know: protobuf messages become JSON and back, others stay JSON.

A message is known by its descriptor. Protobuf is imported when the first one is met, and need not be installed.
"""

import importlib
from typing import Annotated, Any

from pydantic import BeforeValidator, PydanticSchemaGenerationError, TypeAdapter
from pydantic_core import PydanticSerializationError


def adapter_of(hint: Any) -> TypeAdapter[Any]:
    """Return what checks a value against a type hint. A type that pydantic does not know is not checked."""
    try:
        return TypeAdapter(hint)
    except PydanticSchemaGenerationError:
        if isinstance(hint, type) and hasattr(hint, "DESCRIPTOR"):
            return TypeAdapter(Annotated[Any, BeforeValidator(lambda value: _message(hint, value))])
        return TypeAdapter(Any)


def as_json(value: Any) -> Any:
    """Return a value that pydantic does not know as JSON data.

    Errors: PydanticSerializationError if it is no protobuf message.
    """
    if hasattr(value, "DESCRIPTOR"):
        return _json_format().MessageToDict(value, preserving_proto_field_name=True)
    raise PydanticSerializationError(f"Unable to serialize unknown type: {type(value)}")


def _message(cls: type, value: Any) -> Any:
    return _json_format().ParseDict(value, cls()) if isinstance(value, dict) else value


def _json_format() -> Any:
    return importlib.import_module("google.protobuf.json_format")
