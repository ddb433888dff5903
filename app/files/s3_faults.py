"""Failures of an S3-compatible server: the one place where those of the client become ours.

The client's own words may have the id of a key and what was signed: they are neither shown nor logged.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from app.errors import FilesUnavailable

_CODE = re.compile(r"<Code>(\w{1,60})</Code>", re.ASCII)
_STATUS = re.compile(r"status code: (\d{3})", re.ASCII)
_EXPIRED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_AWAY = "The store of files does not answer; try again in a moment"

logger = logging.getLogger("files")


@contextmanager
def told(bucket: str) -> Iterator[None]:
    """Say in a sentence what goes wrong in the block: nothing but the client works there. Errors: FilesUnavailable."""
    try:
        yield
    except (BaseError, OSError, ValueError) as exc:
        code = code_of(exc)
        status = match[1] if (match := _STATUS.search(str(exc))) else "none"
        logger.warning("The store of files: %s, status %s, code %s", type(exc).__name__, status, code or "none")
        # From none: a traceback would show the client's own words.
        raise FilesUnavailable(_sentence(exc, status, code, bucket)) from None


def code_of(exc: BaseException) -> str:
    """Return the code of an error that the server has answered, empty for none."""
    match = _CODE.search(str(exc))
    return match[1] if match else ""


def _sentence(exc: BaseException, status: str, code: str, bucket: str) -> str:
    if code == "NoSuchBucket":
        return f"The store of files has no bucket {bucket!r}: create it, or name another in FILES_DIR"
    if code in _ELSEWHERE or "incorrectly configured region" in str(exc):
        return f"The bucket {bucket!r} of FILES_DIR is in another region: set AWS_REGION"
    if code in _EXPIRED or status in ("401", "403"):
        return (
            f"The store of files refuses the service: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they "
            f"may list, read, write and delete in the bucket {bucket!r}"
        )
    if status == "none" or status.startswith("5") or status == "429":
        return _AWAY
    if not code:
        return "AWS_ENDPOINT_URL does not answer as an S3-compatible server: check it"
    return f"The store of files refused a request ({code}); try again in a moment"
