"""The form in which a user answers the question of a tool call."""

from typing import Any

import pytest

from app.errors import UsageError
from app.tools.asking import MAX_CHOICES, MAX_FIELDS, ask_user, check_answer, check_form


def form(*required: str, **fields: object) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required)}


TEXT = {"type": "string", "minLength": 2, "maxLength": 3}
NUMBER = {"type": "number", "minimum": 1, "maximum": 2.5}
WHOLE = {"type": "integer", "minimum": 1}
TITLED = {"type": "string", "oneOf": [{"const": "r", "title": "Red"}, {"const": "b", "title": "Blue"}]}
MANY = {"type": "array", "items": {"type": "string", "enum": ["r", "b"]}, "minItems": 1}


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (TEXT, ["ab", "abc"], ["a", "abcd", 12, None, True]),
        (NUMBER, [1, 2.5], [0, 3, "1", True]),
        (WHOLE, [1, 10**18], [0, 1.5, "1"]),
        ({"type": "boolean"}, [True, False], [1, "yes"]),
        ({"type": "string", "enum": ["x"]}, ["x"], ["y", None]),
        (TITLED, ["r"], ["Red", 1]),
        (MANY, [["r"], ["r", "b"]], [[], ["x"], "r"]),
        ({"type": "array"}, [["anything"]], [[1]]),
        ({"type": "unheard-of"}, ["x", 1, True, None], [{"deep": 1}]),
        ({"type": "string", "pattern": "(a+)+$"}, ["a" * 40 + "!"], [1]),  # no pattern of a server is run here
    ],
)
def test_fields_are_checked(field: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    """Each kind of field takes what fits, as it is, and nothing else."""
    check_form(form("f", f=field))
    for value in good:
        check_answer(form("f", f=field), {"f": value})
    for value in bad:
        with pytest.raises(UsageError, match="Wrong answer"):
            check_answer(form("f", f=field), {"f": value})


@pytest.mark.parametrize("name", ["model_config", "_x", "class", "", "f1", "with space", "<b>", "__proto__"])
def test_names_may_be_anything(name: str) -> None:
    """A field may have any name: it is only named in the sentence about it."""
    check_answer(form(name, **{name: WHOLE}), {name: 1})
    with pytest.raises(UsageError, match="Field required"):
        check_answer(form(name, **{name: WHOLE}), {})


def test_what_is_optional_may_be_left_out() -> None:
    """Only what the form requires must be there, and what it does not know is refused."""
    check_answer(form("a", a=WHOLE, b=TEXT), {"a": 1})
    with pytest.raises(UsageError, match="c: Extra inputs"):
        check_answer(form("a", a=WHOLE), {"a": 1, "c": 2})


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"type": "string"},
        {"type": "object", "properties": []},
        {"type": "object", "required": "a"},
        form(a={"type": "object"}),
        form(a={"$ref": "#"}),
        form(a="text"),
        form(a={"enum": []}),
        form(a={"enum": [1, 2]}),
        form(a={"enum": ["x"] * (MAX_CHOICES + 1)}),
        form(**{f"f{n}": TEXT for n in range(MAX_FIELDS + 1)}),
    ],
)
def test_what_is_no_form_is_refused(schema: object) -> None:
    """What no person could fill in is refused before anybody is asked."""
    with pytest.raises(UsageError):
        check_form(schema)


async def test_outside_of_a_turn_there_is_nobody_to_ask() -> None:
    """A tool that is called by hand gets no answer, and the reason."""
    told = await ask_user("What?", form(), 0.0)
    assert (told.answer, told.declined, told.why) == (None, False, "there is nobody to ask")
