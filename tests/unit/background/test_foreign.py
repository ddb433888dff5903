"""Inputs and results of types that pydantic does not know."""

from typing import Any

import pytest

from app.background.declare.definition import definition_of_function
from app.background.declare.operation import to_json
from app.errors import UsageError

struct = pytest.importorskip("google.protobuf.struct_pb2")


def test_protobuf_message_goes_through_json() -> None:
    """What a function returns as a protobuf message comes back as one."""
    Struct = struct.Struct  # noqa: N806 - a class

    def rooms() -> Struct: ...  # type: ignore[valid-type]

    message = Struct()
    message.update({"name": "blue", "seats": 4})
    stored = to_json(message, "What it returns")
    assert stored == {"name": "blue", "seats": 4.0}
    assert definition_of_function(rooms).result(stored) == message


class Handle:
    """Of a library; pydantic cannot check it."""


def test_type_that_nobody_knows_is_not_checked() -> None:
    """An annotation that cannot be checked is no error, neither before nor after the effect."""

    def use(handle: Handle) -> Handle:
        return handle

    operation = definition_of_function(use)
    assert operation.arguments({"any": 1}) == ({"any": 1},)
    assert operation.result({"any": 1}) == {"any": 1}


@pytest.mark.parametrize("value", [Handle(), {"a": Handle()}, [object()]])
def test_value_that_json_cannot_carry(value: Any) -> None:
    """A value that cannot be stored is named, and what to use instead."""
    with pytest.raises(UsageError, match=r"The input cannot be stored as JSON: .*; use dicts, lists, pydantic models"):
        to_json(value, "The input")
