"""Lines of a stream: whole, however they arrive, and none longer than the limit."""

from hypothesis import given
from hypothesis import strategies as st

from app.mcp.lines import Lines, TooLong


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_lines_do_not_depend_on_the_pieces(pieces: list[bytes], limit: int) -> None:
    """The same bytes give the same lines, however they are cut; no kept line is longer than the limit."""
    data = b"".join(pieces) + b"\n"
    lines, other = Lines(limit), Lines(limit)
    found = [line for piece in [*pieces, b"\n"] for line in lines.feed(piece)]
    whole = list(other.feed(data))
    assert [line for line in found if isinstance(line, bytes)] == [line for line in whole if isinstance(line, bytes)]
    sizes = [len(line) for line in data.split(b"\n")[:-1]]
    assert [line.size if isinstance(line, TooLong) else len(line) for line in found] == sizes
    assert all(isinstance(line, TooLong) == (size > limit) for line, size in zip(found, sizes, strict=True))


def too_long(line: bytes) -> TooLong:
    lines = Lines(1000)
    found = [each for start in range(0, len(line), 700) for each in lines.feed(line[start : start + 700])]
    found += lines.feed(b"\n")
    (only,) = found
    assert isinstance(only, TooLong)
    return only


def test_a_long_answer_tells_whose_it_is() -> None:
    """The id of an answer is found at either end, where servers put it, and not in what a tool wrote."""
    text = b"x" * 5000
    assert too_long(b'{"jsonrpc":"2.0","id":7,"result":{"a":"' + text + b'"}}').request_id == 7
    assert too_long(b'{"id": 8, "jsonrpc": "2.0", "result": "' + text + b'"}').request_id == 8
    assert too_long(b'{"result":{"a":"' + text + b'"},"jsonrpc":"2.0","id":9}').request_id == 9
    assert too_long(b'{"result":{"a":"' + text + b'"},"id": 9 , "jsonrpc": "2.0" }').request_id == 9
    assert too_long(b'{"result":{"id":3,"a":"' + text + b'"}}').request_id is None
    assert too_long(text).request_id is None
