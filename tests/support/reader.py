"""A newcomer who works through a page: pastes its blocks, one after the other, into a terminal in a fresh clone."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from app.hosting.stack import ROOT
from tests.support.eventually import eventually
from tests.support.pages import Block, shows
from tests.support.process import Process, bare_environment, free_port

# Installed once for the checkout; the clone uses the same.
_INSTALLED = (".venv", ".restate/node_modules")
_PASTE_S = 60

# A reader sees the status of a refused request in the answer; here it has to fail.
_PRELUDE = 'set -e; curl() { command curl --silent --show-error --fail-with-body --max-time 30 "$@"; }\n'


class Reader:
    """Works in `folder`, with the stack on ports of its own; what a page calls `localhost:8080` is its ingress."""

    def __init__(self, folder: Path, restate_binary: str) -> None:
        self.clone = folder / "clone"
        self._folder = folder
        self._ports = {name: str(free_port()) for name in ("9080", "8000", "8080", "9070", "9081", "9082")}
        self._env = bare_environment(
            PYTHONUNBUFFERED="1",
            PORT=self._ports["9080"],
            WEB_PORT=self._ports["8000"],
            RESTATE_INGRESS_URL=f"http://localhost:{self._ports['8080']}",
            RESTATE_ADMIN_URL=f"http://localhost:{self._ports['9070']}",
            RESTATE_SERVER=restate_binary,
        )
        self._stack: Process | None = None
        self._stale = False  # the code of the stack was changed since it was started
        self._groups: list[int] = []
        self._seen = ""

    def make_clone(self) -> None:
        """Copy what git knows of the checkout, and what is new in it."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.clone / name)
        for name in _INSTALLED:
            if (ROOT / name).exists():
                (self.clone / name).symlink_to((ROOT / name).resolve())
        # Older than what is installed, so that `make` installs nothing: it would do so through the links.
        for pins in (*self.clone.glob("requirements*.txt"), *self.clone.glob(".restate/package*.json")):
            os.utime(pins, (0, 0))

    async def read(self, block: Block) -> None:
        """Do what a reader does with a block. Errors: AssertionError names the block."""
        match block.language:
            case "python":
                assert block.file is not None, f"{block}: say in the first line which file this is"
                (self.clone / block.file).write_text(block.text)
                self._stale = self._stale or block.file.startswith("app/")
            case "shell":
                self._seen = await self._paste(block)
            case "dotenv":
                with (self.clone / ".env").open("a") as env:
                    env.write(block.text)
                self._stale = True
            case "json" | "text":
                assert shows(block.text, self._seen), f"{block} shows something else than was seen:\n{self._seen}"
            case _:
                raise AssertionError(f"{block}: nobody knows what to do with {block.language!r}")

    async def start_stack(self) -> None:
        """`make run`, until it says that it is ready; again if the code was changed."""
        if self._stack is not None and not self._stale:
            return
        if self._stack is not None:
            await self._end_stack()
        log = self._folder / "make-run.log"
        log.unlink(missing_ok=True)
        stack = self._stack = Process(["make", "run"], env=self._env, cwd=self.clone, log=log)
        stack.start()
        self._stale = False

        def ready() -> bool:
            assert stack.exit_code is None, f"`make run` ended:\n{stack.log()}"
            return "Ctrl-C stops everything" in stack.log()

        await eventually(ready, timeout_s=60)

    async def check_types(self, programs: list[str]) -> None:
        """Run mypy, strict, on files that were written. Errors: AssertionError with what it says."""
        mypy = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mypy", "--strict", *programs), cwd=self.clone, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await mypy.communicate()
        assert mypy.returncode == 0, said.decode()

    async def close(self) -> None:
        for group in self._groups:
            _signal_group(group, signal.SIGKILL)
        if self._stack is not None:
            await self._end_stack()

    async def _end_stack(self) -> None:
        assert self._stack is not None
        _signal_group(self._stack.pid, signal.SIGINT)  # as a terminal sends Ctrl-C
        await self._stack.exited(timeout_s=20)
        self._stack = None

    async def _paste(self, block: Block) -> str:
        """Run a block in bash, and return what it printed; what it leaves in the background ends with the reader."""
        await self.start_stack()
        script = re.sub(r"\b(9080|8000|8080|9070|9081|9082)\b", lambda port: self._ports[port[1]], block.text)
        output = self._folder / f"block-{block.line}.log"
        with output.open("wb") as log:
            bash = await asyncio.create_subprocess_exec(
                "bash",
                "-c",
                _PRELUDE + script,
                cwd=self.clone,
                env=self._env | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{self._env['PATH']}"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._groups.append(bash.pid)
        exit_code = await asyncio.wait_for(bash.wait(), _PASTE_S)
        assert exit_code == 0, f"{block} ended with {exit_code}:\n{output.read_text()}"
        if block.text.rstrip().endswith("&"):
            await eventually(
                lambda: any(said in output.read_text() for said in ("Serving on", "gateway listens on")), timeout_s=30
            )
        return output.read_text()


def _signal_group(group: int, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all of it has ended
        os.killpg(group, signum)
