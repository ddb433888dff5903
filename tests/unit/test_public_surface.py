"""What users of the house import is declared, frozen, and all that the documentation and the examples import."""

import ast
import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

from app.hosting.stack import ROOT
from tests.support.pages import PAGES, Block, blocks_of
from tests.support.public_surface import AGENT_AUTHORS, PUBLIC, TOOL_AUTHORS, surface

FROZEN = Path(__file__).parent / "public_surface.txt"
UPDATE = f".venv/bin/python -m tests.support.public_surface > {FROZEN.relative_to(ROOT)}"

# The examples, and the lists beside them, which import the examples too.
HOUSE = {"asking", "registry", "calling", "context", "slots", "in_flight"}  # what tools stand on, and is no tool
TOOLS = sorted(path for path in (ROOT / "app/tools").glob("*.py") if path.stem not in HOUSE)
AGENTS = sorted((ROOT / "app/agents").glob("*.py"))
PROGRAMS = [block for page in PAGES for block in blocks_of(page) if block.language == "python"]


def test_the_public_surface_is_frozen() -> None:
    """No public name goes, comes or changes its signature unnoticed."""
    before, now = FROZEN.read_text().splitlines(), surface().splitlines()
    changes = "\n".join(difflib.unified_diff(before, now, str(FROZEN.relative_to(ROOT)), "app", lineterm=""))
    if changes:
        pytest.fail(
            f"Programs of users depend on this:\n\n{changes}\n\nIf the change is meant: {UPDATE}", pytrace=False
        )


@pytest.mark.parametrize("module", [module for modules in PUBLIC.values() for module in modules])
def test_no_public_name_is_listed_twice(module: str) -> None:
    """A list of public names has each of them once, and none that is private."""
    for modules in PUBLIC.values():
        names = modules.get(module, ())
        assert len(set(names)) == len(names)
        assert [name for name in names if name.startswith("_")] == []


def imports(source: str) -> Iterator[tuple[str, str | None]]:
    """Yield what a program imports of app/: module and name, no name for a whole module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "app")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "app":
            yield from ((node.module or "", alias.name) for alias in node.names)


def not_public(source: str, public: Mapping[str, Collection[str]], *, siblings: str | None = None) -> list[str]:
    """Return what a program imports that is not `public`; a list of examples imports its `siblings`."""
    return [
        f"{module}.{name}"
        for module, name in imports(source)
        if not (name in public.get(module, ()) or f"{module}.{name}" in public or (name is None and module in public))
        and not (siblings is not None and module.rpartition(".")[0] == siblings)
    ]


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.stem)
def test_tools_import_what_a_tool_may(path: Path) -> None:
    """The tools of the house show what a tool of a user can do."""
    siblings = "app.tools" if path.stem == "__init__" else None
    assert not_public(path.read_text(), TOOL_AUTHORS, siblings=siblings) == []


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: path.stem)
def test_agents_import_what_an_agent_may(path: Path) -> None:
    """The agents of the house show what an agent of a user can do."""
    siblings = "app.agents" if path.stem == "__init__" else None
    assert not_public(path.read_text(), AGENT_AUTHORS, siblings=siblings) == []


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_the_documentation_imports_what_is_public(program: Block) -> None:
    """A program of a page imports nothing that may change."""
    public = TOOL_AUTHORS if program.page.stem == "tools" else AGENT_AUTHORS
    siblings = "app.tools" if program.file == "app/tools/__init__.py" else None
    assert not_public(program.text, public, siblings=siblings) == []


def test_every_public_name_of_a_tool_is_on_its_page() -> None:
    """docs/tools.md says what a tool may import: all of it, and nothing else."""
    rows = re.findall(r"^\| `(app\.[\w.]+)` \| ([^|]*) \|", (ROOT / "docs/tools.md").read_text(), re.MULTILINE)
    shown = {module: tuple(sorted(re.findall(r"`(\w+)`", names))) for module, names in rows}
    assert shown == {module: tuple(sorted(names)) for module, names in TOOL_AUTHORS.items()}


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("import asyncio\nfrom app.background import Restack, agent", []),
        ("from app.background.agent import defn", []),
        ("import app.background.workflow", []),
        ("from app.background import engine", ["app.background.engine"]),
        ("def f():\n    from app.background.run.step import step", ["app.background.run.step.step"]),
        ("import app.chat", ["app.chat.None"]),
        ("from app import chat", ["app.chat"]),
    ],
)
def test_what_is_not_public_is_seen(program: str, found: list[str]) -> None:
    """An import of a private module or name is found, wherever in a program it is."""
    assert not_public(program, AGENT_AUTHORS) == found
