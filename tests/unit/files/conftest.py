"""A real S3-compatible server for the tests of stores."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.s3_server import S3Server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    """A server for all of them: each has a prefix of its own."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        await server.start()
        yield server
    finally:
        server.kill9()
