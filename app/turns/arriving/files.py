"""The files of a message, as a chat takes them in and forgets them. What is journaled of one is its id and its name.

Where files are, and what is taken, is not its matter.
"""

from collections.abc import Sequence
from datetime import timedelta

from restate import ObjectContext, RunOptions

from app.errors import FilesUnavailable, NotFound, UsageError
from app.files import get_files
from app.settings import Settings
from app.turns.transcript import Attachment
from app.values import Stored

_ATTEMPTS = 5  # at a disk or a store that does not answer


class _Found(Stored):
    """What was found, or the sentence that says what was not."""

    files: tuple[Attachment, ...] = ()
    missing: str | None = None
    failed: bool = False


async def brought_files(ctx: ObjectContext, file_ids: Sequence[str], settings: Settings) -> tuple[Attachment, ...]:
    """Return what is known of the files that a message brings, which are kept from here on.

    Durable: one step. Errors: UsageError for too many, or one twice; NotFound for one that is not of this chat;
    FilesUnavailable.
    """
    if len(file_ids) > settings.max_message_files:
        most = settings.max_message_files
        raise UsageError(f"The message brings {len(file_ids)} files, the limit is {most}: send less at a time")
    if len(set(file_ids)) < len(file_ids):
        raise UsageError("The message brings a file twice: name each once")
    found = await ctx.run_typed("files of the message", _find, RunOptions(), ctx.key(), tuple(file_ids))
    if found.missing is not None:
        raise FilesUnavailable(found.missing) if found.failed else NotFound(found.missing)
    return found.files


async def erase_files(ctx: ObjectContext) -> None:
    """Erase the files of a chat that is forgotten. Durable: one step."""
    retries: RunOptions[bool] = RunOptions(max_attempts=_ATTEMPTS, initial_retry_interval=timedelta(milliseconds=50))
    await ctx.run_typed("erase files", _erase, retries, ctx.key())


async def _find(key: str, file_ids: Sequence[str]) -> _Found:
    try:
        return _Found(files=tuple(await get_files().use(key, file_ids)))
    except NotFound as exc:
        return _Found(missing=exc.message)
    except FilesUnavailable as exc:
        return _Found(missing=exc.message, failed=True)
    except OSError as exc:
        return _Found(missing=f"The files of this message cannot be read ({exc.strerror}); try again", failed=True)


async def _erase(key: str) -> bool:
    await get_files().erase(key)
    return True
