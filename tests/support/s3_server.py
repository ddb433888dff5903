"""A real S3-compatible server for tests: moto's, on a port of its own; it keeps all in memory."""

import sys
from importlib.util import find_spec
from pathlib import Path

from obstore.store import S3Store

from tests.support.missing import missing
from tests.support.process import Process, bare_environment, free_port, local_http

BUCKET = "files-of-chats"
ID, SECRET = "AKIATESTTESTTESTTEST", "secret-of-the-tests/never+shown"
_MAIN = "import sys; from moto.server import main; main(sys.argv[1:])"


class S3Server:
    """A server that can be killed and started again on the same port; it forgets all when it ends."""

    def __init__(self, folder: Path) -> None:
        if not find_spec("moto") or not find_spec("flask_cors"):
            missing("no moto: it is in requirements-dev.txt")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.settings = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }
        command = [sys.executable, "-c", _MAIN, "-H", "127.0.0.1", "-p", str(port)]
        self._process = Process(command, env=bare_environment(), cwd=folder, log=folder / "s3.log")

    async def start(self) -> None:
        """Start it, with a bucket that is empty."""
        self._process.start()
        await self._process.answers(f"{self.url}/moto-api/")
        async with local_http() as http:
            assert (await http.put(f"{self.url}/{BUCKET}")).is_success

    def paths(self, prefix: str = "") -> list[str]:
        """Return what is in the bucket, below a prefix."""
        pages = self.bucket(prefix).list()
        return sorted(each["path"] for page in pages for each in page)

    def bucket(self, prefix: str = "") -> S3Store:
        """Return the bucket, by a client of its own."""
        return S3Store(
            BUCKET,
            prefix=prefix or None,
            endpoint=self.url,
            access_key_id=ID,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def kill9(self) -> None:
        self._process.kill9()
