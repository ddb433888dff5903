"""The text of a result."""

from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from mcp_types import CallToolResult

from app.mcp.answer import cut, text_of_result


def text_of(*content: dict[str, Any], structured: object = None, limit: int = 1000) -> str:
    result = CallToolResult.model_validate({"content": content, "structuredContent": structured})
    return text_of_result(result.content, result.structured_content, limit)


def test_texts_are_joined() -> None:
    """Text blocks stand below each other, lone surrogates replaced; nothing at all is said to be nothing."""
    assert text_of({"type": "text", "text": "a"}, {"type": "text", "text": "b\ud83d"}) == "a\nb\ufffd"
    assert text_of() == "The tool gave no result, and no error."


def test_data_is_json_once() -> None:
    """Structured data becomes JSON, unless a text says the same."""
    assert text_of(structured={"a": "é"}) == '{"a": "é"}'
    assert text_of({"type": "text", "text": '{"a":1}'}, structured={"a": 1}) == '{"a":1}'
    assert text_of({"type": "text", "text": "one"}, structured={"result": "one"}) == "one"
    assert text_of({"type": "text", "text": "one"}, structured={"a": 1}) == 'one\n{"a": 1}'
    assert text_of({"type": "text", "text": "[" * 100_000}, structured=[1], limit=200_000).endswith("\n[1]")


def test_what_is_no_text_is_a_sentence() -> None:
    """Images, sound and files are named with their type and size; a text file is shown."""
    assert text_of({"type": "image", "data": "A" * 400, "mimeType": "image/png"}) == (
        "[image, image/png, 300 bytes: it cannot be shown here]"
    )
    assert text_of({"type": "resource_link", "uri": "file:///a", "name": "a"}) == "[resource a: file:///a]"
    assert text_of({"type": "resource", "resource": {"uri": "file:///a", "text": "hello"}}) == (
        "[resource file:///a]\nhello"
    )
    blob = {"uri": "file:///a", "blob": "A" * 40, "mimeType": "application/pdf"}
    assert (
        text_of({"type": "resource", "resource": blob}) == "[resource file:///a, application/pdf, 30 bytes: not shown]"
    )


def test_a_result_is_cut_with_its_note() -> None:
    """A long result and the note of its length have the limit together, so that nobody cuts it again."""
    assert cut("x" * 2000, 100).endswith("x\n[cut off: 2000 characters]")
    assert len(cut("x" * 2000, 100)) == 100
    assert cut("x" * 100, 100) == "x" * 100
