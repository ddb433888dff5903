"""Sweeps files that were uploaded and never used, once an hour, as long as a process lives.

Decides nothing: what is swept is the matter of the stores.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from app.errors import FilesUnavailable
from app.files.chosen import get_files

EVERY_S = 3600

logger = logging.getLogger("files")


@asynccontextmanager
async def sweeping(every_s: float = EVERY_S) -> AsyncIterator[None]:
    """Sweep now and then, for the time of the block."""
    task = asyncio.create_task(_sweep(every_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep(every_s: float) -> None:
    while True:
        try:
            if swept := await get_files().sweep():
                logger.info("Swept %d files that no message had used for a day", swept)
        except (OSError, FilesUnavailable) as exc:  # a disk that is away now may be back in an hour
            logger.warning("Files that no message has used cannot be swept: %s", exc)
        await asyncio.sleep(every_s)
