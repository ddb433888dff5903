"""`app/values.py`: values that change by their own fields only, and the words for one that does not fit."""

import ast
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator

from app.hosting.local_server import ROOT
from app.values import Input, Stored, problems_of, quoted


class Point(Stored):
    x: int
    y: int = 0


class Line(Stored):
    start: Point
    names: tuple[str, ...] = ()
    by_name: dict[str, int] = Field(default_factory=dict)


class Round(BaseModel):
    kind: Literal["round"]


class Square(BaseModel):
    kind: Literal["square"]


Shape = Annotated[Round | Square, Field(discriminator="kind")]


def wrong(kind: Any, value: object) -> ValidationError:
    """Return what pydantic has against a value."""
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(value)
    return raised.value


def test_changed_is_a_copy() -> None:
    """`changed` returns a copy with the other value, and leaves the first as it is."""
    point = Point(x=1)
    assert (point.changed(x=2), point) == (Point(x=2), Point(x=1))


@pytest.mark.parametrize("fields", [{"z": 1}, {"x": 1, "Y": 2}, {"model_config": {}}])
def test_changed_refuses_what_is_no_field(fields: dict[str, Any]) -> None:
    """A misspelt field is refused, with the ones that there are."""
    with pytest.raises(TypeError, match=r"^Point has no field \w+; it has x, y$"):
        Point(x=1).changed(**fields)


def test_stored_reads_newer_state() -> None:
    """State that a newer version has written, with a field more, is read by this one."""
    assert Point.model_validate_json('{"x": 1, "y": 2, "z": 3}') == Point(x=1, y=2)


def test_values_are_frozen() -> None:
    """No field of a value is set from outside."""
    for value in (Point(x=1), Input()):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(value, "x", 2)  # noqa: B010 - mypy sees the plain assignment


def test_problem_names_field_and_value() -> None:
    """A problem is the path of the field, what is wrong with it, and what it was."""
    error = wrong(Line, {"start": {"x": "one"}, "names": ["a", 7]})
    assert problems_of(error) == (
        "start.x: Input should be a valid integer, unable to parse string as an integer, got 'one'; "
        "names.1: Input should be a valid string, got '7'"
    )


def test_within_and_whole_name_the_value() -> None:
    """`within` comes before the fields, `whole` is the name of a value that is wrong itself."""
    assert problems_of(wrong(Point, {"x": None}), within="input").startswith("input.x: ")
    assert problems_of(wrong(Point, 7), within="input").startswith("input: ")
    assert problems_of(wrong(Point, 7), whole="the body").startswith("the body: ")
    assert problems_of(wrong(Point, 7)).startswith("it: ")


def test_missing_field_shows_no_value() -> None:
    """Of a field that is missing nothing can be shown."""
    assert problems_of(wrong(Point, {})) == "x: Field required"


@pytest.mark.parametrize(("count", "more"), [(10, ""), (11, "; and 1 more"), (5000, "; and 4990 more")])
def test_ten_problems_are_named(count: int, more: str) -> None:
    """Ten problems are named, and the others counted."""
    sentence = problems_of(wrong(Line, {"start": {"x": 1}, "names": [0] * count}))
    assert sentence.count("Input should be a valid string") == 10
    assert sentence.endswith("got '0'" + more)


def test_half_a_character_can_be_sent() -> None:
    """A lone surrogate in a value or the name of a field does not keep the sentence from being sent."""
    for error in (wrong(Point, {"x": "\ud800"}), wrong(Input, {"\ud800": 1})):
        problems_of(error).encode()


class Picky(BaseModel):
    word: str

    @field_validator("word")
    @classmethod
    def _refuse(cls, word: str) -> str:
        raise ValueError(f"no word: {word}")


HOSTILE = ["\x1b[2J\x1b[0m", "a\nINFO:chat:forged", "\x9b31m", "\u202eevil", "a\u2028b", "\0"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_drives_a_terminal(text: str) -> None:
    """Neither a field's name, nor a value, nor a sentence that repeats one has control characters."""
    errors = [
        wrong(Point, {"x": text}),
        wrong(Line, {"start": {"x": 1}, "by_name": {text: "one"}}),
        wrong(Shape, {"kind": text}),
        wrong(Picky, {"word": text}),
        wrong(Point, {"x": [text]}),
    ]
    for error in errors:
        sentence = problems_of(error, whole="the body")
        assert sentence.isprintable()
        sentence.encode()


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        list(range(10**6)),
        {"a" * 10**6: ["b" * 10**6] * 100},
        [[[[[[["deep"] * 100] * 100] * 100] * 100] * 100] * 100],
        b"x" * 10**6,
        10**4300,
        [10**5000],
    ],
    ids=["text", "list", "dict", "deep", "bytes", "number", "list of a number"],
)
def test_huge_value_is_quoted_in_part(value: object) -> None:
    """Of a value of any size some eighty characters are shown, and no more are written out before."""
    assert len(quoted(value)) < 200
    assert len(problems_of(wrong(Point, value))) < 400
    assert len(problems_of(wrong(Line, {"start": value}))) < 400


def test_long_name_is_cut() -> None:
    """Of the name of a field eighty characters are shown, and how long it was."""
    sentence = problems_of(wrong(Line, {"start": {"x": 1}, "by_name": {"n" * 5000: "one"}}))
    assert sentence.startswith("by_name.nnn")
    assert "… (5008 characters): " in sentence
    assert len(sentence) < 300


# What no type checker sees: the names of fields in calls of `changed` and of those that pass them on to it

PASS_ON = {"changed", "_set", "_change", "_control"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of app/, each with its place."""
    for path in sorted((ROOT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def called(call: ast.Call) -> str:
    """Return the last name of what is called."""
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def kinds_of(kind: type[Stored]) -> Iterator[type[Stored]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds_of(each)


def test_only_changed_copies_with_other_values() -> None:
    """`model_copy(update=…)`, which takes any name, stands in `Stored.changed` alone."""
    updates = [
        place
        for place, call in calls()
        if called(call) == "model_copy" and (call.args or any(given.arg != "deep" for given in call.keywords))
    ]
    assert [place.partition(":")[0] for place in updates] == ["app/values.py"]


def test_changed_names_fields() -> None:
    """Each name that `changed` is given anywhere in app/ is the name of a field of a stored value."""
    import app.main  # noqa: F401 - so that all stored values are defined

    fields = {name for kind in kinds_of(Stored) if kind.__module__.startswith("app.") for name in kind.model_fields}
    given = [(place, each.arg) for place, call in calls() if called(call) in PASS_ON for each in call.keywords]
    assert [(place, name) for place, name in given if name is not None and name not in fields] == []
    assert len(given) > 20
