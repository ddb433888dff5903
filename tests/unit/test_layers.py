"""The house of DESIGN.md, section 3: imports point one way, files are small, one file reads the environment."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.hosting.stack import ROOT

APP = ROOT / "app"
MAX_LINES = 320
MAX_FILES = 16  # side by side in one folder
# The module that the published library has under this name; code written for it imports it from here.
PUBLISHED_NAMES = {APP / "background" / "utils.py"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "base", "core", "manager", "misc"}

# From the ground up; a module imports its own layer and those below it. A name stands for a module or a whole folder,
# the longest one that fits decides.
LAYERS = (
    ("text", "turns.modes"),
    ("errors", "values", "address"),
    ("settings", "turns.transcript", "live.events"),
    ("turns.compaction.fitting", "turns.compaction.summary"),
    ("boundary", "engine", "durable", "turns.context", "live", "files"),
    ("hosting",),
    ("llm",),
    ("tools",),
    (
        "turns.protocol",
        "turns.control",
        "turns.reading",
        "turns.waiting.protocol",
        "turns.agents.protocol",
        "turns.compaction.protocol",
    ),
    ("turns.rollback", "turns.calls.budget"),
    ("turns.approval.protocol", "turns.approval.words", "turns.approval.asking", "turns.tool_calls"),
    ("turns.addresses", "turns.moves"),
    ("turns.waiting", "turns.approval", "turns.agents", "turns.compaction.rules"),
    ("turns.conversation",),
    ("turns.store", "turns.link", "turns.memory"),
    ("turns.effects", "turns.calls", "turns"),
    ("turns.arriving",),
    ("mcp",),  # of the turns it knows nothing
    # Background agents: what is said and declared, where handlers are, what runs, who comes in from outside.
    ("background.published", "background.declare.names", "background.failure", "background.engine.standstill"),
    ("background.event", "background.schedules.calendar", "background.schedules.spec"),
    ("background.protocol",),
    ("background.query", "background.declare", "background.schedules.protocol", "background.gateway.protocol"),
    ("background.engine",),
    (
        "background.mailbox.addresses",
        "background.run.addresses",
        "background.functions.addresses",
        "background.schedules.addresses",
    ),
    ("background.functions.served",),
    ("background.mailbox", "background.run", "background.functions"),  # they know each other's addresses
    ("background.schedules",),
    ("background.gateway",),
    ("background.sensitive_codec", "background.agent", "background.workflow", "background.function"),
    ("background.serve",),
    ("background.client",),
    ("background",),
    ("chat_agents.asking", "chat_agents.ending", "chat_agents.offered"),
    ("chat_agents.link", "chat_agents.chat", "chat_agents"),
    ("chat", "agent_session"),  # neither imports the other: they know each other's addresses
    ("chat_for_agents",),
    ("agents",),
    ("web.refusals",),
    ("web.caller", "web.limits", "web.origin"),
    ("web.jwt_issuer", "web.auth", "web.files", "web.ingress", "web.watch"),
    ("web.gateway",),
    ("web",),
    ("web.agui",),
    ("web.openai", "web.mcp"),
    ("web.agents",),
    ("web.app",),
    ("hosting.stack", "hosting.rollout", "hosting.workers"),
    ("terminal",),  # a client: it knows the gateway by its routes only
    ("main", "cli"),
)
# Rooms of one layer that know each other's addresses, and nothing else of each other.
APART = ("chat", "agent_session", "background.mailbox", "background.run", "background.functions")
# What must know nothing of the others, although their layer would allow it.
STRANGERS = {
    "durable": ("turns", "settings", "llm"),
    "llm": ("durable", "boundary"),
    "background": ("chat", "agent_session", "turns", "llm", "tools"),
    "turns": ("background", "mcp"),
    "mcp": ("turns", "boundary", "hosting"),
    "terminal": ("web", "chat", "agent_session", "background", "hosting", "durable", "engine", "settings"),
}


def files() -> list[Path]:
    return sorted(path for path in APP.rglob("*.py") if path != APP / "__init__.py")


@cache
def modules() -> dict[str, Path]:
    """Return the files of app/ by their dotted names, without the `app.`."""
    return {name_of(path): path for path in files()}


def name_of(path: Path) -> str:
    parts = path.relative_to(APP).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of app/ that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "app":
            package = ".".join((node.module or "").split(".")[1:])
            for alias in node.names:
                inner = f"{package}.{alias.name}".lstrip(".")
                yield inner if inner in modules() else package
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("app.") for alias in node.names if alias.name.startswith("app."))


def fits(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def room_of(module: str) -> str:
    """Return the longest name in LAYERS that fits a module."""
    rooms = [name for names in LAYERS for name in names if fits(module, name)]
    assert rooms, f"app/{module} has no layer yet: give it one in LAYERS"
    return max(rooms, key=len)


def layer_of(module: str) -> int:
    return next(rank for rank, names in enumerate(LAYERS) if room_of(module) in names)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(APP)))
def test_imports_point_down(path: Path) -> None:
    """A file imports its own layer and those below it, and no stranger."""
    module = name_of(path)
    for other in imported(path):
        assert layer_of(other) <= layer_of(module), f"{module} must not import {other}"
        rooms = {room_of(module), room_of(other)}
        assert len(rooms.intersection(APART)) < 2, f"{module} must know {other} by its address only"
        for name, strangers in STRANGERS.items():
            if fits(module, name):
                assert not any(fits(other, stranger) for stranger in strangers), f"{module} must not know {other}"


def test_no_circles() -> None:
    """No file comes back to itself through what it imports, within a layer either."""
    imports = {name: {other for other in imported(path) if other != name} for name, path in modules().items()}
    assert circle_in(imports) is None


def circle_in(imports: dict[str, set[str]]) -> list[str] | None:
    """Return the modules of a circle, None if there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        found = next((c for other in sorted(imports.get(name, ())) if (c := visit(other, [*way, name]))), None)
        done.add(name)
        return found

    return next((found for name in sorted(imports) if (found := visit(name, []))), None)


def test_circles_are_seen() -> None:
    """A circle is found however long it is, and none where two ways lead to one file."""
    assert circle_in({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) is None
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}) == ["b", "c", "d", "b"]


def test_files_are_small() -> None:
    """No file has more lines than fit in the head."""
    lengths = {str(path.relative_to(APP)): len(path.read_text().splitlines()) for path in files()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_folders_are_small() -> None:
    """No folder has more files side by side than a reader takes in."""
    folders = {path.parent for path in files()}
    sizes = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: size for name, size in sizes.items() if size > MAX_FILES} == {}


def test_named_files_exist() -> None:
    """A file that a comment or a docstring names is in its folder, or below app/."""
    for path in files():
        for name in re.findall(r"(?<![\w./-])((?:[a-z_]+/)*[a-z_]+\.py)\b", path.read_text()):
            homes = (path.parent / name, APP / name, ROOT / name, *(parent / name for parent in path.parents[1:3]))
            assert any(home.exists() for home in homes), f"{path.relative_to(ROOT)} names {name}, which is not there"


def test_names_say_something() -> None:
    """No module is called by a name that could hold anything."""
    assert [path for path in files() if path.stem in FORBIDDEN_NAMES and path not in PUBLISHED_NAMES] == []


def test_only_settings_read_the_environment() -> None:
    """`os.environ` is used in no file but stack.py, which passes it on to its children unread."""
    readers = [path.name for path in files() if re.search(r"\benviron\b|getenv", path.read_text())]
    assert set(readers) <= {"settings.py", "stack.py"}


# What all stand on, one box in the drawing of the house.
GROUND = (
    *("text", "errors", "values", "address", "settings", "turns.modes", "turns.transcript", "turns.context"),
    *("turns.compaction.fitting", "turns.compaction.summary"),
)


def test_the_drawing_shows_the_imports() -> None:
    """docs/architecture.md draws a way for every import between two rooms, and no arrow that is no import."""
    drawing = (ROOT / "docs/architecture.md").read_text()
    lines = re.findall(r"^ +(\w+) --> (.+)$", drawing, re.MULTILINE)
    drawn = {room: set(others.split(" & ")) for room, others in lines}
    imports: dict[str, set[str]] = {}
    for name, path in modules().items():
        others = {box_of(other) for other in imported(path)} - {box_of(name)}
        imports.setdefault(box_of(name), set()).update(others)
    assert {room: others - imports[room] for room, others in drawn.items() if others - imports[room]} == {}
    ways = {room: reached(drawn, room) for room in imports}
    assert {room: others - ways[room] for room, others in imports.items() if others - ways[room]} == {}


def box_of(module: str) -> str:
    return "ground" if any(fits(module, name) for name in GROUND) else module.split(".", maxsplit=1)[0]


def reached(arrows: dict[str, set[str]], start: str) -> set[str]:
    """Return the rooms that arrows lead to from `start`, one after the other."""
    found: set[str] = set()
    to_do = [start]
    while to_do:
        new = arrows.get(to_do.pop(), set()) - found
        found |= new
        to_do += new
    return found
