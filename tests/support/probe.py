"""The Probe service of `durable_app.py` as a subprocess, and the log of what its actions really did."""

import itertools
from pathlib import Path
from typing import Any

import httpx

from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port, local_http
from tests.support.restate_server import RestateServer


class Probe:
    """The service. `label` marks what the current test makes it do."""

    def __init__(self, server: RestateServer, folder: Path, *, python: str, root: Path) -> None:
        port = free_port()
        self.server = server
        self.url = f"http://127.0.0.1:{port}"
        self.label = ""
        self._labels = itertools.count(1)
        self._actions = folder / "actions.log"
        self._actions.touch()
        self.process = Process(
            [python, "-m", "tests.support.durable_app", str(port)],
            env=bare_environment(ACTIONS_LOG=str(self._actions), PYTHONUNBUFFERED="1", HEAD_STARTS="true"),
            cwd=root,
            log=folder / "probe.log",
        )

    async def start(self) -> None:
        self.process.start()
        await self.process.answers(f"{self.url}/health")

    async def renew(self) -> None:
        self.label = f"t{next(self._labels)}"
        if self.process.exit_code is not None:
            await self.start()

    def kill9(self) -> None:
        self.process.kill9()

    async def call(self, handler: str) -> tuple[int, Any]:
        """Call a handler with the label; return the status and its result, or the message of its error."""
        async with local_http(60) as http:
            answer = await http.post(f"{self.server.ingress_url}/Probe/{handler}", json=self.label)
        return answer.status_code, _result(answer)

    async def result(self, handler: str) -> Any:
        """Call a handler that must succeed."""
        status, result = await self.call(handler)
        assert status == 200, result
        return result

    async def send(self, handler: str) -> str:
        """Start a handler; return its invocation."""
        async with local_http() as http:
            answer = await http.post(f"{self.server.ingress_url}/Probe/{handler}/send", json=self.label)
        invocation_id: str = answer.json()["invocationId"]
        return invocation_id

    async def signal(self, invocation_id: str, value: str) -> None:
        """Send a signal; it is on its way when this returns."""
        body = {"invocation_id": invocation_id, "value": value}
        async with local_http() as http:
            answer = await http.post(f"{self.server.ingress_url}/Probe/send_signal", json=body)
        assert answer.is_success, answer.text

    async def send_signal_later(self, invocation_id: str, value: str) -> str:
        """Have a signal sent once the service runs; return the invocation that will do it."""
        body = {"invocation_id": invocation_id, "value": value}
        async with local_http() as http:
            answer = await http.post(f"{self.server.ingress_url}/Probe/send_signal/send", json=body)
        sender: str = answer.json()["invocationId"]
        return sender

    async def outcome(self, invocation_id: str) -> tuple[int, Any]:
        """Wait for the end of an invocation; return the status and its result, or the message of its error."""
        async with local_http(60) as http:
            answer = await http.get(f"{self.server.ingress_url}/restate/invocation/{invocation_id}/attach")
        return answer.status_code, _result(answer)

    @property
    def actions(self) -> list[str]:
        """What the actions of this test did, in order, without the label."""
        prefix, lines = f"{self.label} ", self._actions.read_text().splitlines()
        marked = [line for line in lines if prefix in line]
        return [line.replace(prefix, "", 1) for line in marked]

    def note(self, what: str) -> None:
        """Note something that an action waits for."""
        with self._actions.open("a") as log:
            log.write(f"{self.label} {what}\n")

    def count(self, what: str) -> int:
        return self.actions.count(what)

    async def did(self, what: str) -> None:
        """Wait until an action did `what`, which may be the beginning of its note."""
        await eventually(lambda: any(action.startswith(what) for action in self.actions), timeout_s=20)

    def log(self) -> str:
        """The lines of the service's log that carry the label."""
        return "\n".join(line for line in self.process.log().splitlines() if self.label in line.split())


def _result(answer: httpx.Response) -> Any:
    body: Any = answer.json() if answer.content else None
    return body if answer.is_success else body["message"]
