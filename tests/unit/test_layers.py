"""The house of DESIGN.md, section 3: imports point one way, files are small, one file reads the environment."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.stack import ROOT

APP = ROOT / "app"
MAX_LINES = 320
# The module that the published library has under this name; code written for it imports it from here.
PUBLISHED_NAMES = {APP / "background" / "utils.py"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "base", "core", "manager", "misc"}

# From the ground up; a package or module may import its own layer and those below it.
LAYERS = (
    {"errors", "modes", "text"},
    {"settings", "transcript", "place", "serving", "stall_watch", "http2", "endpoint", "logs", "local_server"},
    {"durable", "context", "boundary", "admin", "journal_watch"},
    {"llm"},
    {"tools"},
    {"protocol", "history", "session", "moves", "conversation", "tool_calls", "unfit", "erasure"},
    {"chat", "chat_state", "chat_link", "attempts", "agent_session", "background"},
    {"background_agents"},
    {"stack", "rollout"},
    {"main"},
)
# What must know nothing of the others, although their layer would allow it.
STRANGERS = {
    "durable": {"modes", "transcript", "settings"},
    "background": {
        "chat",
        "chat_state",
        "chat_link",
        "attempts",
        "agent_session",
        "transcript",
        "modes",
        "llm",
        "tools",
    },
    "llm": {"durable", "boundary"},
}


def files() -> list[Path]:
    return sorted(path for path in APP.rglob("*.py") if path != APP / "__init__.py")


def unit_of(path: Path) -> str:
    """Return the module or package directly below app/ to which a file belongs."""
    return path.relative_to(APP).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Yield the units of app/ that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "app":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("app."))


def layer_of(unit: str) -> int:
    ranks = [rank for rank, units in enumerate(LAYERS) if unit in units]
    assert ranks, f"app/{unit} has no layer yet: give it one in LAYERS"
    return ranks[0]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(APP)))
def test_imports_point_down(path: Path) -> None:
    """A file imports its own layer and those below it, and no stranger."""
    unit = unit_of(path)
    for other in imported(path):
        assert layer_of(other) <= layer_of(unit), f"{unit} must not import {other}"
        assert other not in STRANGERS.get(unit, ()), f"{unit} must know nothing of {other}"


def test_files_are_small() -> None:
    """No file has more lines than fit in the head."""
    lengths = {str(path.relative_to(APP)): len(path.read_text().splitlines()) for path in files()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_names_say_something() -> None:
    """No module is called by a name that could hold anything."""
    assert [path for path in files() if path.stem in FORBIDDEN_NAMES and path not in PUBLISHED_NAMES] == []


def test_only_settings_read_the_environment() -> None:
    """`os.environ` is used in no file but stack.py, which passes it on to its children unread."""
    readers = [path.name for path in files() if re.search(r"\benviron\b|getenv", path.read_text())]
    assert set(readers) <= {"settings.py", "stack.py"}
