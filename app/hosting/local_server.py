"""The Restate server of this machine: its binary, its command, what it sees of the environment, its data and its logs.

Prepares what a start needs. Starts nothing.
"""

import os
import platform
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from app.errors import UsageError
from app.files.folder import FOLDER
from app.hosting.place import Place
from app.settings import Settings

if sys.platform != "win32":
    import fcntl

ROOT = Path(__file__).resolve().parent.parent.parent

LOG = "restate.log"
_LITTLE_SPACE = 256 * 2**20  # bytes; of a new folder the server takes 40 MiB
_NODE = "local"  # its folder: the node-name of restate.toml
_SOCKET = "fabric.sock"  # there, of the server's parts with each other
_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103  # at most, of any unix socket
_KEPT_LOGS = 4  # of earlier starts, beside the one that is written

# What of the environment the server is shown: what programs need to run and what it names itself. Not the key of the
# LLM, which would be in its memory, its crash reports and /proc.
_SHOWN = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NO_COLOR"}
_SHOWN |= {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "DO_NOT_TRACK"}
# AWS: it calls services on Lambda, and keeps snapshots on S3.
_SHOWN_PREFIXES = ("RESTATE_", "RUST_", "LC_", "XDG_", "OTEL_", "AWS_", "MALLOC_", "_RJEM_")


def find_restate_server(configured: str | None = None) -> str:
    """Return the path of a `restate-server`: the configured one, the pinned one in `.restate`, the one on PATH.

    Errors: UsageError says how to get one.
    """
    candidates = [configured] if configured else [str(_pinned("restate-server")), "restate-server"]
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    raise UsageError(
        f"No restate-server at {' or '.join(candidates)}. `make run` installs the pinned one; "
        "RESTATE_SERVER names another."
    )


def find_restate_cli() -> str:
    """Return the command `restate`: the pinned one in `.restate` if it is there."""
    return shutil.which(_pinned("restate")) or "restate"


def server_command(binary: str) -> list[str]:
    """Return the command that runs the server in its data folder."""
    options = ["--no-logo", "--log-disable-ansi-codes", "true"]
    return [binary, *options, "--config-file", str(ROOT / "restate.toml"), "--base-dir", "."]


def server_variables(present: Mapping[str, str], *, ingress: Place, admin: Place) -> dict[str, str]:
    """Return what the server gets of the variables that are present, and where it listens.

    Its own settings are passed on (RESTATE_WORKER__…), those of this application are not.
    """
    ours = {name.upper() for name in Settings.model_fields}
    shown = {
        name: value
        for name, value in present.items()
        if (name.upper() in _SHOWN or name.upper().startswith(_SHOWN_PREFIXES)) and name.upper() not in ours
    }
    return {
        **shown,
        "RESTATE_INGRESS__BIND_ADDRESS": str(ingress),
        "RESTATE_ADMIN__BIND_ADDRESS": str(admin),
    }


def prepare_data(folder: Path) -> str | None:
    """Make the data folder readable by its owner alone: it holds every chat. Return a warning where that is not done.

    Errors: UsageError if it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        present = folder.stat()
        if not present.st_mode & 0o077:
            return None
        if present.st_uid == os.geteuid() and _is_ours(folder):
            folder.chmod(0o700)
            return None
    except OSError as error:
        raise UsageError(f"Cannot use {folder}: {error.strerror}. Set RESTATE_DATA to another folder.") from error
    return (
        f"Warning: others can look into {folder} ({stat.filemode(present.st_mode)}), which holds every chat. As "
        "it holds other things too, it was left so: `chmod 700` it, or set RESTATE_DATA to a folder of its own."
    )


def require_startable(folder: Path) -> None:
    """Raise UsageError unless a server can start with a data folder. One that is in use, or too deep, is refused.

    A server would say the first in its log alone, and wait without end for the second.
    """
    if _is_used(folder):
        raise UsageError(f"A Restate server uses {folder} already: stop it, or set RESTATE_DATA to another folder.")
    socket = folder.resolve() / _NODE / _SOCKET
    length = len(os.fsencode(socket))
    if length > _SOCKET_PATH_BYTES:
        raise UsageError(
            f"The path of Restate's socket would be {socket}, of {length} bytes; the system takes "
            f"{_SOCKET_PATH_BYTES} at most. Set RESTATE_DATA to a folder with a shorter path."
        )


def space_warning(folder: Path, free_bytes: int) -> str | None:
    """Return a warning if little space is left for the data, None if there is enough.

    On a full disk the server stays up and answers nothing, and its writes stay off until it is started again.
    """
    if free_bytes >= _LITTLE_SPACE:
        return None
    return (
        f"Warning: only {free_bytes // 2**20} MiB are free at {folder}. When none are left, requests hang without an "
        "answer: make room, then start again."
    )


def erase_data(folder: Path) -> bool:
    """Erase what the server has stored and logged in its data folder. Return whether there was any.

    Errors: UsageError while a server uses it, on whatever ports, or if it cannot be erased.
    """
    if _is_used(folder):
        raise UsageError(f"A Restate server uses {folder}: stop it first.")
    try:
        ours = [entry for entry in folder.iterdir() if _is_of_server(entry)] if folder.is_dir() else []
        for entry in ours:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except OSError as error:
        raise UsageError(f"Cannot erase {error.filename}: {error.strerror}.") from error
    return bool(ours)


def open_log(folder: Path) -> IO[str]:
    """Return a new log to write to. The last ones stay as restate.log.1, .2 … with the newest first.

    Errors: UsageError if it cannot be written.
    """
    log = folder / LOG
    try:
        for number in range(_KEPT_LOGS, 0, -1):
            older = folder / (f"{LOG}.{number - 1}" if number > 1 else LOG)
            if older.exists():
                older.replace(folder / f"{LOG}.{number}")
        return log.open("w")
    except OSError as error:
        raise UsageError(f"Cannot write {log}: {error.strerror}. Set RESTATE_DATA to another folder.") from error


def _pinned(name: str) -> Path:
    """Return where a program of Restate's is once it is installed. It runs without Node, unlike the one in .bin."""
    system = platform.system().lower()
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return ROOT / f".restate/node_modules/@restatedev/{name}-{system}-{machine}/bin/{name}"


def _is_used(folder: Path) -> bool:
    """Return whether a running server holds the data in a folder.

    Errors: UsageError if that cannot be seen.
    """
    if sys.platform == "win32":
        return False  # no such locks, and no such server
    for path in (folder / _NODE).glob("**/LOCK"):  # one of each database of the server
        try:
            with path.open("r+b") as lock:
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    return True
        except FileNotFoundError:
            continue  # erased since
        except OSError as error:
            raise UsageError(f"Cannot see whether {path} is in use: {error.strerror}.") from error
    return False


def _is_ours(folder: Path) -> bool:
    """Return whether a folder holds nothing but what our server writes: RESTATE_DATA may be /tmp by mistake."""
    return all(_is_of_server(entry) or entry.name == FOLDER for entry in folder.iterdir())


def _is_of_server(entry: Path) -> bool:
    return entry.name.startswith(LOG) or entry.name == _NODE
