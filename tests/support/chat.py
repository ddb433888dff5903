"""A chat of the running application, as a client sees it, together with what the LLM server saw of it."""

import json
from collections.abc import Iterable
from typing import Any

import httpx

from tests.support.eventually import eventually
from tests.support.llm_server import LLMRequest, LLMServer, Plan, Script, echo
from tests.support.restate_server import RestateServer

ABORT_WITHIN_S = (
    0.5  # from a message to the disconnect at the LLM server; 10 ms are usual, the rest is for busy machines
)


def replies(*plans: Plan) -> Script:
    """Return a script that carries out `plans` in the order of the requests, then echoes."""
    remaining = list(plans)
    return lambda request: remaining.pop(0) if remaining else echo(request)


class Chat:
    """The chat `key`. `requests` are those that the LLM server got since this object was made."""

    def __init__(self, server: RestateServer, llm: LLMServer, http: httpx.AsyncClient, key: str) -> None:
        self.key = key
        self.server = server
        self._llm = llm
        self._http = http
        self._first_request = len(llm.requests)

    @property
    def always_replay(self) -> bool:
        """Whether nothing reaches a handler while one of its actions runs: a completion wins every race."""
        return self.server.always_replay

    # What clients do

    async def post(self, handler: str, body: object = None, *, content: bytes | None = None) -> httpx.Response:
        """Call a handler; without a body the request is empty. `content` is sent as it is."""
        url = f"{self.server.ingress_url}/ChatService/{self.key}/{handler}"
        if content is not None:
            return await self._http.post(url, content=content, headers={"content-type": "application/json"})
        return await (self._http.post(url) if body is None else self._http.post(url, json=body))

    async def call(self, handler: str, **body: object) -> Any:
        """Call a handler that must succeed; return its answer."""
        answer = await self.post(handler, body or None)
        assert answer.is_success, f"{handler}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def say(self, content: str, mode: str | None = None, **fields: object) -> dict[str, Any]:
        """Send a message; return the receipt."""
        modes = {} if mode is None else {"mode": mode}
        receipt: dict[str, Any] = await self.call(
            "process_user_message", role="user", content=content, **modes, **fields
        )
        return receipt

    async def begin(self, *plans: Plan, content: str = "first") -> LLMRequest:
        """Send the first message, whose LLM calls are answered with `plans`; return the first of these calls."""
        self.script(*plans)
        await self.say(content)
        return await self.asked(1)

    async def entries(self, **page: int) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = (await self.call("get_chat_history", **page))["entries"]
        return entries

    async def lines(self) -> list[tuple[str, str, str]]:
        """Return the history as (role, content, status)."""
        return [(entry["role"], entry["content"], entry["status"]) for entry in await self.entries()]

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = await self.call("get_status")
        return status

    async def idle(self, *, timeout_s: float = 20) -> list[tuple[str, str, str]]:
        """Wait until no turn is open; return the history as `lines` does."""

        async def not_busy() -> bool:
            status = await self.status()
            assert not status["busy"], status
            return True

        await eventually(not_busy, timeout_s=timeout_s)
        return await self.lines()

    async def turn(self, turn_id: int) -> dict[str, Any]:
        """Return the stored turn, open or closed, as Restate's introspection shows it."""
        state = await self.state()
        open_turns: list[dict[str, Any]] = json.loads(state["session"])["turns"]
        found = [turn for turn in open_turns if turn["turn_id"] == turn_id]
        turn: dict[str, Any] = found[0] if found else json.loads(state[f"turn/{turn_id}"])
        return turn

    async def state(self, service: str = "ChatService") -> dict[str, str]:
        """Return the stored state, key by key, as JSON texts."""
        query = f"SELECT key, value_utf8 FROM state WHERE service_name = '{service}' AND service_key = '{{}}'"  # noqa: S608 - ours
        return {row["key"]: row["value_utf8"] for row in await self._rows(query, self.key)}

    async def edit_state(self, changes: dict[str, str | None], service: str = "ChatService") -> None:
        """Change keys of the stored state through the admin API, as the Restate UI does; None removes one."""
        state = {name: text for name, text in (await self.state(service) | changes).items() if text is not None}
        body = {"object_key": self.key, "new_state": {name: list(text.encode()) for name, text in state.items()}}
        answer = await self._http.post(f"{self.server.admin_url}/services/{service}/state", json=body)
        assert answer.is_success, answer.text

        async def stored() -> bool:
            return await self.state(service) == state

        await eventually(stored)

    async def tools_started(self, count: int) -> None:
        """Wait until the run of the first open turn has started `count` tasks."""
        invocation_id = await self.running_invocation()

        async def started() -> bool:
            query = "SELECT count(*) AS n FROM sys_journal WHERE id = '{}' AND name = 'execute_task'"
            return bool((await self._rows(query, invocation_id))[0]["n"] >= count)

        await eventually(started)

    async def running_invocation(self) -> str:
        """Return the invocation of the first open turn, without a contact that would have the chat look after it."""
        session = json.loads((await self.state())["session"])
        invocation_id: str = session["open"][0]["invocation_id"]
        return invocation_id

    # What the LLM server does and sees

    def script(self, *plans: Plan) -> None:
        """Answer the next requests with `plans`, later ones with an echo of the user texts."""
        self._llm.script = replies(*plans)

    def script_by(self, script: Script) -> None:
        self._llm.script = script

    @property
    def requests(self) -> list[LLMRequest]:
        return self._llm.requests[self._first_request :]

    @property
    def texts(self) -> list[list[str]]:
        """The user texts of each request; texts that stand together are one, joined by a blank line."""
        return [request.user_texts for request in self.requests]

    async def asked(self, count: int, *, timeout_s: float = 10) -> LLMRequest:
        """Wait until the LLM server has got `count` requests; return the last of them."""
        await self._llm.until(lambda: len(self.requests) >= count, timeout_s)
        return self.requests[count - 1]

    async def streaming(self, count: int) -> LLMRequest:
        """Wait until the first chunk of the answer to request number `count` was sent; return the request."""
        request = await self.asked(count)
        await self._llm.until(lambda: request.bytes_sent > 0)
        return request

    async def aborted(self, request: LLMRequest, within_s: float = ABORT_WITHIN_S) -> None:
        """Wait for the client of `request` to go away."""
        await self._llm.until(lambda: request.disconnected_at is not None, within_s)

    # The end of a test

    async def close(self) -> None:
        """Forget the chat; check what holds in every test: well-formed requests, no fault of a script, nothing left."""
        await self.call("forget")
        await self.nothing_runs()
        for request in self.requests:
            request.check()
        assert not self._llm.faults, self._llm.faults

    async def nothing_runs(self, *, timeout_s: float = 10) -> None:
        """Wait until no invocation of this chat is left."""

        async def none_left() -> bool:
            left = await self.invocations()
            assert not left, left
            return True

        await eventually(none_left, timeout_s=timeout_s)

    async def invocations(self) -> list[dict[str, Any]]:
        """Return the invocations of this chat that are not completed."""
        query = "SELECT id, target FROM sys_invocation WHERE target_service_key = '{}' AND status <> 'completed'"
        return await self._rows(query, self.key)

    async def kept_invocations(self) -> dict[str, str]:
        """Return what Restate keeps of the invocations of this chat, also of completed ones: id to target."""
        rows = await self._rows("SELECT id, target FROM sys_invocation WHERE target_service_key = '{}'", self.key)
        return {row["id"]: row["target"] for row in rows}

    async def journals_of(self, invocation_ids: Iterable[str]) -> int:
        """Return how many journal entries there are of these invocations."""
        ids = ", ".join(f"'{each}'" for each in invocation_ids)
        return int((await self.server.query(f"SELECT count(*) AS n FROM sys_journal WHERE id IN ({ids})"))[0]["n"])  # noqa: S608 - ids of the server's

    async def _rows(self, query: str, value: str) -> list[dict[str, Any]]:
        """Return the rows of an introspection query about `value`, which is an id of our own making."""
        return await self.server.query(query.format(value))
