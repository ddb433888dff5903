"""The README says what the code says."""

from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.settings import Settings
from app.stack import ROOT

README = (ROOT / "README.md").read_text()


def shown(field: FieldInfo) -> str:
    """Return the default of a setting as the README shows it."""
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
    assert "\n".join(rows) in README, "the table should be:\n" + "\n".join(rows)


def test_every_file_it_names_exists() -> None:
    """Paths in the README lead somewhere."""
    named = {word.strip("`,.()") for word in README.split() if word.startswith(("`app/", "`tests/"))}
    assert named
    assert [path for path in sorted(named) if not (ROOT / Path(path)).exists()] == []
