"""The README and docs/ say what the code says, and lead somewhere."""

import re
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
