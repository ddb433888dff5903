"""What the Restate server of this machine gets: its folder, its logs, and its part of the environment."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import UsageError
from app.hosting.local_server import (
    LOG,
    erase_data,
    open_log,
    prepare_data,
    require_startable,
    server_variables,
    space_warning,
)
from app.hosting.place import Place

INGRESS = Place("127.0.0.1", 1, "RESTATE_INGRESS_URL")
ADMIN = Place("127.0.0.1", 2, "RESTATE_ADMIN_URL")


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_server_sees_its_own_settings_only() -> None:
    """The server gets what programs need and what it names itself; no key, no setting of ours, in any spelling."""
    present = {
        "PATH": "/bin",
        "HOME": "/root",
        "LC_ALL": "C",
        "RUST_LOG": "info",
        "https_proxy": "http://proxy",
        "RESTATE_WORKER__INVOKER__ABORT_TIMEOUT": "1h",
        "OPENAI_API_KEY": "sk-secret",
        "openai_api_key": "sk-secret",
        "OPENAI_BASE_URL": "http://llm",
        "RESTATE_IDENTITY_KEYS": "publickeyv1_x",
        "RESTATE_DATA": "data",
        "restate_server": "/bin/false",
        "ANTHROPIC_API_KEY": "sk-other",
        "DATABASE_URL": "postgres://me:secret@db",
    }
    assert server_variables(present, ingress=INGRESS, admin=ADMIN) == {
        "PATH": "/bin",
        "HOME": "/root",
        "LC_ALL": "C",
        "RUST_LOG": "info",
        "https_proxy": "http://proxy",
        "RESTATE_WORKER__INVOKER__ABORT_TIMEOUT": "1h",
        "RESTATE_INGRESS__BIND_ADDRESS": "127.0.0.1:1",
        "RESTATE_ADMIN__BIND_ADDRESS": "127.0.0.1:2",
    }


def test_new_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """A data folder that is made cannot be looked into by others."""
    assert prepare_data(tmp_path / "deep" / "data") is None
    assert mode(tmp_path / "deep" / "data") == 0o700


@pytest.mark.parametrize("content", [(), ("local", LOG, f"{LOG}.1")])
def test_open_data_folder_is_closed(tmp_path: Path, content: tuple[str, ...]) -> None:
    """A data folder of the version before, open to others, is closed."""
    for name in content:
        (tmp_path / name).touch()
    tmp_path.chmod(0o755)

    assert prepare_data(tmp_path) is None
    assert mode(tmp_path) == 0o700


def test_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    """A folder that holds other things keeps its permissions, and a warning says so."""
    (tmp_path / "photos").mkdir()
    tmp_path.chmod(0o755)

    warning = prepare_data(tmp_path)

    assert warning is not None
    assert warning.startswith(f"Warning: others can look into {tmp_path} (drwxr-xr-x)")
    assert mode(tmp_path) == 0o755


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """A path that is a file is refused with the setting to change."""
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(UsageError, match="Set RESTATE_DATA to another folder"):
            prepare_data(wrong)


def test_last_logs_are_kept(tmp_path: Path) -> None:
    """Each start has a log of its own; the four before it are kept, the newest first."""
    for number in range(7):
        with open_log(tmp_path) as log:
            log.write(f"start {number}")

    kept = {name: (tmp_path / name).read_text() for name in sorted(os.listdir(tmp_path))}
    assert kept == {
        LOG: "start 6",
        f"{LOG}.1": "start 5",
        f"{LOG}.2": "start 4",
        f"{LOG}.3": "start 3",
        f"{LOG}.4": "start 2",
    }


def test_log_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """A folder in the place of a log is left alone, and named with the setting to change."""
    (tmp_path / f"{LOG}.4" / "full").mkdir(parents=True)
    (tmp_path / f"{LOG}.3").touch()
    with pytest.raises(UsageError, match="Cannot write"):
        open_log(tmp_path)


# Takes the lock of a file as RocksDB does, says so, and holds it until its input ends.
HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_data_in_use_is_neither_erased_nor_used_again(tmp_path: Path) -> None:
    """While a process holds a database of the folder nothing of it is erased or started; afterwards both go."""
    database = tmp_path / "local" / "db"
    database.mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database / "LOCK")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UsageError) as refused:
            erase_data(tmp_path)
        assert refused.value.message == f"A Restate server uses {tmp_path}: stop it first."
        with pytest.raises(UsageError) as refused:
            require_startable(tmp_path)
        assert refused.value.message == (
            f"A Restate server uses {tmp_path} already: stop it, or set RESTATE_DATA to another folder."
        )
        assert (database / "LOCK").exists()

    require_startable(tmp_path)
    assert erase_data(tmp_path)
    assert not database.exists()


def test_path_too_long_for_a_socket_is_one_sentence(tmp_path: Path) -> None:
    """A folder whose socket the system would not take is refused with the path, its bytes and the setting."""
    longest = 107 if sys.platform == "linux" else 103
    fits = tmp_path / ("ü" + "x" * (longest - len(bytes(tmp_path)) - len("/ü/local/fabric.sock".encode())))
    assert len(bytes(fits / "local" / "fabric.sock")) == longest
    require_startable(fits)

    too_long = fits.with_name(fits.name + "x")
    with pytest.raises(UsageError) as refused:
        require_startable(too_long)
    assert f"{too_long}/local/fabric.sock, of {longest + 1} bytes" in refused.value.message
    assert refused.value.message.endswith("Set RESTATE_DATA to a folder with a shorter path.")


def test_little_space_is_said(tmp_path: Path) -> None:
    """Before the disk is full, which the server itself says in its log only."""
    assert space_warning(tmp_path, 2**30) is None
    warning = space_warning(tmp_path, 5 * 2**20 + 1)
    assert warning is not None
    assert warning.startswith(f"Warning: only 5 MiB are free at {tmp_path}.")
