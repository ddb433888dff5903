"""The README and docs/ say what the code says, and lead somewhere."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.hosting.stack import ROOT
from app.settings import Settings
from tests.support.pages import PAGES, shows

LINK = re.compile(r"\]\(([^)#]+)?(?:#([^)]+))?\)|src=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
MAX_README_WORDS = 1300


def shown(field: FieldInfo) -> str:
    """Return the default of a setting as the page shows it."""
    default = field.default
    assert not isinstance(default, SecretStr)
    if default is None:
        return "–"
    return "see `app/settings.py`" if len(str(default)) > 40 else f"`{default}`"


def test_every_setting_is_in_the_table() -> None:
    """The table of settings has every variable with its default and description, in the order of settings.py."""
    rows = [
        f"| `{name.upper()}` | {shown(field)} | {field.description} |" for name, field in Settings.model_fields.items()
    ]
    assert "\n".join(rows) in (ROOT / "docs/configuration.md").read_text(), "the table should be:\n" + "\n".join(rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_it_names_exists(page: Path) -> None:
    """Paths in backticks and links lead somewhere, to a heading that is there."""
    text = page.read_text()
    named = {found.strip("`,.()").partition(":")[0] for found in re.findall(r"`(?:app|tests|docs)/[^`\s]*`", text)}
    new = set(re.findall(r"^# (\S+\.py)$", text, re.MULTILINE))  # files that the page has its reader write
    assert [path for path in sorted(named - new) if not (ROOT / path).exists()] == []
    for file, heading, image in LINK.findall(text):
        if (file or image).startswith(("http:", "https:")):
            continue
        target = (page.parent / (file or image)).resolve() if file or image else page
        assert target.exists(), f"{page.name} links to {file or image}"
        if heading:
            assert heading in {anchor(title) for title in HEADING.findall(target.read_text())}, heading


NAMED_CODE = re.compile(r"`(app/[\w/]+\.py): ?([\w.]+)`")
STEPS = [(page, *found) for page in PAGES for found in NAMED_CODE.findall(page.read_text())]


@pytest.mark.parametrize(("page", "file", "name"), STEPS, ids=lambda part: getattr(part, "stem", part))
def test_all_code_it_names_exists(page: Path, file: str, name: str) -> None:
    """A function, a class, a method or a constant that a page names is defined in that file."""
    assert name in set(defined_in(ast.parse((ROOT / file).read_text()))), page.name


def defined_in(node: ast.Module | ast.ClassDef, within: str = "") -> Iterator[str]:
    """Yield what a module defines, what its classes do as `Class.name`."""
    for part in node.body:
        match part:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield within + part.name
            case ast.ClassDef():
                yield within + part.name
                yield from defined_in(part, f"{within}{part.name}.")
            case ast.Assign():
                yield from (within + target.id for target in part.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield within + name


def test_the_walks_name_code() -> None:
    """Each step of a walk names at least one function, with its file."""
    text = (ROOT / "docs/architecture.md").read_text()
    walks = re.findall(r"^## The walk of .*?(?=^## )", text, re.MULTILINE | re.DOTALL)
    steps = [
        step for walk in walks for step in re.findall(r"^\d+\. .*?(?=^\d+\. |^\S|^$)", walk, re.MULTILINE | re.DOTALL)
    ]
    assert len(walks) == 2
    assert len(steps) > 10
    assert [step for step in steps if not NAMED_CODE.search(step)] == []


def test_the_stored_keys_are_those_of_the_code() -> None:
    """The table of stored keys shows each as the code spells it."""
    text = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"\| `([\w/<>]+)` \| [^|]* \| `(app/[\w/]+)\.py: (\w+)` \|", text)
    assert len(rows) == 11
    for shown, file, name in rows:
        key = getattr(importlib.import_module(file.replace("/", ".")), name)
        assert shown == (key if isinstance(key, str) else key(shown.partition("/")[2])), name


def test_every_room_has_a_line() -> None:
    """The table of the architecture page has each folder of app/ and each file beside them, and no other."""
    app = ROOT / "app"
    folders = {f"{path.parent.relative_to(ROOT)}/" for path in app.rglob("__init__.py")} - {"app/"}
    files = {str(path.relative_to(ROOT)) for path in app.glob("*.py")} - {"app/__init__.py"}
    rows = re.findall(r"^\| `(app/[^`:]*)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(folders | files)


def anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_the_readme_is_short() -> None:
    """A newcomer reads it in five minutes; the rest is in docs/."""
    assert len((ROOT / "README.md").read_text().split()) <= MAX_README_WORDS


@pytest.mark.parametrize(
    ("expected", "seen", "same"),
    [
        ('{"a":…}', '{"a":1}', True),
        ('{"a":1,\n "b":2}', '{"a":1,"b":2}\n', True),
        ("…end", "the end", True),
        ('{"a":…}', '{"b":1}', False),
        ('{"a":1}', '{"a":1}{"b":2}', False),
    ],
)
def test_what_a_page_shows_is_compared(expected: str, seen: str, same: bool) -> None:
    """An ellipsis stands for anything; all else must be there."""
    assert shows(expected, seen) is same
