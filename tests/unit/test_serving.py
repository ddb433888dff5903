"""`app/hosting/serving.py`: what it says when it cannot serve. That it ends is in tests/acceptance/test_shutdown.py."""

import sys

import pytest

from app.errors import UsageError
from app.hosting.serving import require_installed


def test_a_server_that_is_not_installed_is_one_sentence_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """SERVER=granian without the package names the file that installs it, and the server that needs none."""
    monkeypatch.setitem(sys.modules, "granian", None)

    with pytest.raises(UsageError) as refused:
        require_installed("granian")

    assert "requirements-granian.txt" in refused.value.message
    assert "SERVER=hypercorn" in refused.value.message


def test_the_servers_of_the_tests_are_installed() -> None:
    """Both are here, so that what the tests say of them is true."""
    require_installed("hypercorn")
    require_installed("granian")
