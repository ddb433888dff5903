"""The names of tools: safe for every LLM server, one for each tool, the same whatever else a server lists."""

import re

from hypothesis import given
from hypothesis import strategies as st

from app.mcp.names import SERVER_NAME, name_of, server_of

SERVERS = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,9}([_-][A-Za-z0-9]{1,5}){0,2}", fullmatch=True)
TOOLS = st.text(max_size=200)


def test_usual_names_stay_as_they_are() -> None:
    """A tool keeps its own name behind that of its server."""
    assert name_of("github", "get_file-contents") == "github__get_file-contents"


@given(SERVERS, TOOLS)
def test_every_name_is_safe(server: str, tool: str) -> None:
    """Whatever a tool is called, LLM servers take its name, and it leads back to its server."""
    assert SERVER_NAME.fullmatch(server)
    name = name_of(server, tool)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert server_of(name) == server


@given(SERVERS, TOOLS, SERVERS, TOOLS)
def test_two_tools_have_two_names(server: str, tool: str, other_server: str, other_tool: str) -> None:
    """No two tools share a name, neither of one server nor of two."""
    same = (server, tool) == (other_server, other_tool)
    assert (name_of(server, tool) == name_of(other_server, other_tool)) is same


def test_like_names_stay_apart() -> None:
    """Tools whose names differ only in what cannot be kept have names of their own."""
    names = {name_of("s", tool) for tool in ("a b", "a/b", "a_b", "a b ", "x" * 100, "x" * 101, "", "é")}
    assert len(names) == 8


def test_other_names_are_no_tools_of_servers() -> None:
    """Names without a server, or with what no name has, are not those of tools of servers."""
    assert [server_of(name) for name in ("execute_task", "__x", "a__", "a__b c", "a__" + "b" * 64, "a__b__c")] == [
        None, None, None, None, None, "a",
    ]  # fmt: skip
