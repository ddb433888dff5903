"""Which store the settings choose: a folder, or a bucket of an S3-compatible server. Knows how neither works."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from app.errors import UsageError
from app.files.folder import FOLDER, FolderFiles
from app.files.store import Files
from app.settings import Settings, get_settings, variable

ROOT = Path(__file__).resolve().parents[2]
S3 = "s3://"
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[\w.=-]+)*)/?", re.ASCII)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
# What the client is given, and the variables that say it: those of `.env` it would not see itself.
_OPTIONS = {
    "endpoint": _ENDPOINTS,
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
}


@cache
def get_files() -> Files:
    """Return the files of this process."""
    return files_of(get_settings())


def files_of(settings: Settings) -> Files:
    """Return the files where `settings` say. Errors: UsageError with the cure where they cannot be there."""
    require_files(settings)
    place = str(settings.files_dir or settings.restate_data / FOLDER)
    max_bytes, max_chat_bytes = settings.max_file_bytes, settings.max_chat_file_bytes
    match = _BUCKET.fullmatch(place)
    if match is None:
        return FolderFiles(ROOT / place, max_bytes=max_bytes, max_chat_bytes=max_chat_bytes)
    from app.files.s3 import S3Files  # an optional package

    options = {name: value for name, variables in _OPTIONS.items() if (value := _first(variables)) is not None}
    return S3Files(match[1], match[2].strip("/"), options, max_bytes=max_bytes, max_chat_bytes=max_chat_bytes)


def require_files(settings: Settings) -> None:
    """Raise UsageError with the cure if FILES_DIR cannot be used. It may hold a password, so it is not shown."""
    place = str(settings.files_dir or "")
    if not re.match(r"\w+://", place, re.ASCII):
        return
    if not _BUCKET.fullmatch(place):
        raise UsageError("FILES_DIR must be a folder, or s3://bucket/prefix; keys are AWS_ACCESS_KEY_ID and so on.")
    if not find_spec("obstore"):
        raise UsageError(
            "FILES_DIR needs a package that is not installed here. Install it with `pip install --require-hashes "
            "-r requirements-s3.txt`, or name a folder."
        )
    endpoint = _first(_ENDPOINTS)
    if endpoint is None:
        return
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise UsageError("AWS_ENDPOINT_URL must be the address of an S3-compatible server: http:// or https://.")
    if _first(_CREDENTIALS) is None:  # else the client looks for those of a machine at Amazon, and waits long
        raise UsageError("FILES_DIR needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as AWS_ENDPOINT_URL is set.")


def _first(names: tuple[str, ...]) -> str | None:
    """Return the first of these variables that says something."""
    return next((value for name in names if (value := variable(name))), None)
