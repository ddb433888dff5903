"""Tool calls of one reply, put together from what real servers send."""

import pytest

from app.llm.calls import CallDrafts


def put_together(*fragments: dict[str, object]) -> list[tuple[str, str, str]]:
    drafts = CallDrafts()
    for fragment in fragments:
        drafts.add(fragment)
    return [(call.call_id, call.name, call.arguments) for call in drafts.result()]


def fragment(
    call_id: object = None, name: object = None, arguments: object = None, *, index: object = 0
) -> dict[str, object]:
    """Return a fragment of a call; what is None is left out."""
    fields = {"name": name, "arguments": arguments}
    function = {key: value for key, value in fields.items() if value is not None}
    call = {"index": index, "id": call_id, "function": function}
    return {key: value for key, value in call.items() if value is not None}


ONE = [("a", "work", '{"x": 1}')]


@pytest.mark.parametrize(
    "fragments",
    [
        [fragment("a", "work", ""), fragment(None, None, '{"x"'), fragment(None, None, ": 1}")],
        [fragment("a", "work", '{"x"'), fragment("a", "work", ": 1}")],
        [fragment("a", "work", '{"x"'), fragment("a", "work", ": 1}"), fragment("a", "work", "")],
        [fragment("a", "work"), fragment("", "", '{"x"'), fragment("", "", ": 1}")],
        [fragment(None, "work", '{"x"'), fragment("a", None, ": 1}")],
        [fragment("", "work", '{"x"'), fragment("", None, ": 1}"), fragment("a")],
        [fragment("a", "work", '{"x"'), fragment("b", None, ": 1}"), fragment("c", None, "")],
        [fragment("a", "work", '{"x"'), fragment("b", "work", ": 1}")],
        [fragment("a", "work", {"x": 1})],
        [fragment("a", "wo", ""), fragment(None, "rk", ""), fragment(None, None, '{"x": 1}')],
        [fragment("a", "work", '{"x"', index=None), fragment(None, None, ": 1}", index=None)],
        [fragment("a", "work", '{"x"', index=None), fragment("a", None, ": 1}", index=None)],
        [fragment("a", "work", '{"x"', index=None), fragment("b", None, ": 1}", index=None)],
        [fragment("a", "work", '{"x"', index="0"), fragment(None, None, ": 1}", index="0")],
    ],
    ids=[
        "as-specified",
        "id-and-name-repeated",
        "and-a-last-one-without-arguments",
        "empty-id-and-name-later",
        "late-id",
        "id-at-the-end",
        "new-id-in-every-fragment",
        "new-id-and-name-in-every-fragment",
        "arguments-as-an-object",
        "name-in-pieces",
        "no-index",
        "no-index-and-id-repeated",
        "no-index-and-new-ids",
        "index-as-text",
    ],
)
def test_one_call(fragments: list[dict[str, object]]) -> None:
    """However a server cuts and repeats it, one call comes out."""
    assert put_together(*fragments) == ONE


@pytest.mark.parametrize(
    "second",
    [
        fragment("b", "play", '{"y": 2}'),
        fragment(None, "play", '{"y": 2}'),
        fragment("a", "play", '{"y": 2}'),
        fragment("", "play", {"y": 2}),
        fragment("b", "play", '{"y": 2}', index=1),
        fragment("b", "play", '{"y": 2}', index=None),
        fragment(None, "play", '{"y": 2}', index=None),
    ],
)
def test_two_calls(second: dict[str, object]) -> None:
    """A name after arguments that are complete starts another call, whatever index and id it has."""
    first, other = put_together(fragment("a", "work", '{"x": 1}'), second)
    assert (first, other[1:]) == (ONE[0], ("play", '{"y": 2}'))
    assert other[0] not in ("", "a")


def test_two_calls_of_one_tool_with_one_index() -> None:
    """The same name again after complete arguments is another call, cut in fragments too."""
    parts = [
        fragment("a", "work", '{"x"'),
        fragment(None, None, ": 1}"),
        fragment("b", "work", ""),
        fragment("b", None, "{}"),
    ]
    assert put_together(*parts) == [*ONE, ("b", "work", "{}")]


def test_calls_that_arrive_in_turns() -> None:
    """Fragments of calls with different indexes may alternate."""
    parts = [
        fragment("a", "work", '{"x"'),
        fragment("b", "play", "{", index=1),
        fragment(arguments=": 1}"),
        fragment(arguments="}", index=1),
    ]
    assert put_together(*parts) == [*ONE, ("b", "play", "{}")]


def test_ids_and_names_that_are_numbers() -> None:
    """An id that is a number is its text."""
    assert put_together(fragment(7, "work", "{}"), fragment(0, "work", "{}", index=1)) == [
        ("7", "work", "{}"),
        ("0", "work", "{}"),
    ]


def test_halves_of_characters_are_joined() -> None:
    """Halves of an emoji in two fragments become one; a lone half becomes U+FFFD, in ids and names too."""
    parts = [fragment("a\ud800", "wo\udc00rk", '{"x": "\ud83d'), fragment(None, None, '\ude42 \ud83d"}')]
    assert put_together(*parts) == [("a\ufffd", "wo\ufffdrk", '{"x": "\U0001f642 \ufffd"}')]


def test_chars_are_counted() -> None:
    """The length of names and arguments is known while they arrive."""
    drafts = CallDrafts()
    drafts.add(fragment("a", "work", "12345"))
    drafts.add(fragment(None, None, "678"))
    assert drafts.chars == 12


def test_what_is_no_call() -> None:
    """A fragment whose function is no object is refused."""
    with pytest.raises(ValueError, match="function"):
        put_together({"index": 0, "function": "work"})
