"""Restack: the client of background agents, named as in the reference. Talks to Restate's ingress; starts a service.

Shapes requests and errors; decides nothing.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx
import restate

from app.background import admin
from app.background.operation import to_json
from app.background.protocol import (
    DEFAULT_QUEUE,
    FRONT_DOOR,
    AgentDescription,
    AgentEvent,
    AgentList,
    Status,
)
from app.background.schedule_spec import ScheduleSpec
from app.background.schedules import Schedule, ScheduleList
from app.background.serve import services
from app.errors import AdminUnavailable, AgentError, AgentFailed, Conflict, NotFound, UsageError
from app.settings import get_settings

_ATTEMPTS = 5
_RETRY_AFTER = timedelta(milliseconds=200)
_ERRORS: dict[int, type[AgentError]] = {400: UsageError, 404: NotFound, 409: Conflict}


class Restack:
    """Starts agents, sends them events, looks at them and ends them.

    Every request carries an idempotency key and is sent again when the connection breaks: it takes effect once.
    Within `async with Restack() as client` connections are kept; without, each request makes one of its own.
    Errors of all methods: NotFound, Conflict, UsageError with the sentence of the server; AgentFailed for a handler or
    an agent that failed; httpx.TransportError when Restate cannot be reached.
    """

    def __init__(self, *, ingress_url: str | None = None) -> None:
        self._url = ingress_url or get_settings().restate_ingress_url
        self._open: httpx.AsyncClient | None = None  # within `async with`

    async def __aenter__(self) -> Self:
        self._open = _http(self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._open is not None:
            await self._open.aclose()
            self._open = None

    # Agents

    async def schedule_agent(
        self,
        agent_name: str,
        agent_id: str,
        agent_input: Any = None,
        task_queue: str = DEFAULT_QUEUE,
        schedule: ScheduleSpec | None = None,
        event: AgentEvent | None = None,
    ) -> str:
        """Start an agent and return its run_id. With `event`: start it unless it runs, and send the event, in one.

        With `schedule`: start it again and again; `agent_id` names the schedule and is returned.
        """
        body = {"agent_name": agent_name, "agent_id": agent_id, "agent_input": agent_input, "task_queue": task_queue}
        started = await self._ask("schedule_agent", **body, schedule=schedule, event=event)
        run_id: str = started["run_id"]
        return run_id

    async def send_agent_event(
        self,
        event_name: str,
        agent_id: str,
        run_id: str | None = None,
        event_input: Any = None,
        *,
        wait_for_completion: bool = False,
    ) -> Any:
        """Send an event; return its number at once, or with `wait_for_completion` what its handler returns."""
        return await self._ask(
            "send_agent_event",
            agent_id=agent_id,
            event_name=event_name,
            event_input=event_input,
            run_id=run_id,
            wait_for_completion=wait_for_completion,
        )

    async def get_agent_state(
        self, agent_id: str, state_name: str, run_id: str | None = None, state_input: Any = None
    ) -> Any:
        """Return what an `@agent.state` method says; it has seen all events that were accepted before."""
        body = {"agent_id": agent_id, "state_name": state_name, "state_input": state_input, "run_id": run_id}
        return await self._ask("get_agent_state", **body)

    async def get_agent_result(self, agent_id: str, run_id: str | None = None) -> Any:
        """Wait for the end of an agent and return its result."""
        return await self._ask("get_agent_result", agent_id=agent_id, run_id=run_id)

    async def describe_agent(self, agent_id: str) -> AgentDescription:
        """Return status, run, parent, children and the reason of a failure."""
        return AgentDescription.model_validate(await self._ask("describe_agent", agent_id=agent_id))

    async def list_agents(
        self, agent_name: str | None = None, status: Status | None = None, limit: int = 100
    ) -> tuple[AgentDescription, ...]:
        """Return agents by id."""
        answer = await self._ask("list_agents", agent_name=agent_name, status=status, limit=limit)
        return AgentList.model_validate(answer).agents

    async def cancel_agent(self, agent_id: str, run_id: str | None = None) -> None:
        """Ask an agent to end; its `finally` blocks run and may take steps."""
        await self._ask("cancel_agent", agent_id=agent_id, run_id=run_id)

    async def terminate_agent(self, agent_id: str, run_id: str | None = None) -> None:
        """End an agent at once; none of its code runs any more."""
        await self._ask("terminate_agent", agent_id=agent_id, run_id=run_id)

    async def purge_agent(self, agent_id: str) -> None:
        """Erase what is known of an agent that has ended."""
        await self._ask("purge_agent", agent_id=agent_id)

    async def describe_schedule(self, schedule_id: str) -> Schedule:
        """Return when a schedule is due, and what it has started, skipped, coalesced and missed."""
        return Schedule.model_validate(await self._ask("describe_schedule", schedule_id=schedule_id))

    async def list_schedules(self) -> tuple[Schedule, ...]:
        """Return schedules by id."""
        return ScheduleList.model_validate(await self._ask("list_schedules")).schedules

    async def delete_schedule(self, schedule_id: str) -> None:
        """Start nothing any more; the agents that it has started go on."""
        await self._ask("delete_schedule", schedule_id=schedule_id)

    # The same in the words of workflows

    async def schedule_workflow(
        self,
        workflow_name: str,
        workflow_id: str,
        workflow_input: Any = None,
        task_queue: str = DEFAULT_QUEUE,
        schedule: ScheduleSpec | None = None,
    ) -> str:
        """Start a workflow and return its run_id, or with `schedule` the id of the schedule."""
        return await self.schedule_agent(workflow_name, workflow_id, workflow_input, task_queue, schedule)

    async def get_workflow_result(self, workflow_id: str, run_id: str | None = None) -> Any:
        """Wait for the end of a workflow and return its result."""
        return await self.get_agent_result(workflow_id, run_id)

    async def _ask(self, handler: str, **body: Any) -> Any:
        """Call a handler of BackgroundAgents, again if the connection breaks."""
        content = to_json(body, f"The input of {handler}")
        headers = {"idempotency-key": uuid.uuid4().hex}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await self._post(f"/{FRONT_DOOR}/{handler}", json=content or None, headers=headers)
                break
            except httpx.TransportError:
                if attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(_RETRY_AFTER.total_seconds() * attempt)
        if not answer.is_success:
            raise _error(answer)
        return answer.json() if answer.content else None

    async def _post(self, path: str, **request: Any) -> httpx.Response:
        if self._open is not None:
            return await self._open.post(path, **request)
        async with _http(self._url) as http:
            return await http.post(path, **request)

    # A service

    async def start_service(
        self,
        *,
        agents: Sequence[type] = (),
        workflows: Sequence[type] = (),
        functions: Sequence[Callable[..., Any]] = (),
        task_queue: str = DEFAULT_QUEUE,
    ) -> None:
        """Serve agents, workflows and functions at HOST:PORT until SIGINT or SIGTERM, and register that with Restate.

        Errors: ValueError if there is nothing to serve; DefinitionError; UsageError when the port is taken.
        """
        # Here, as nothing else of this package serves anything.
        from app.place import Place
        from app.serving import serve_until_stopped

        if not (agents or workflows or functions):
            raise ValueError("start_service() has nothing to serve: pass agents=, workflows= or functions=")
        settings = get_settings()
        app = restate.app(services(agents=agents, workflows=workflows, functions=functions, task_queue=task_queue))
        place = Place(settings.host, settings.port, "PORT")
        registering = asyncio.create_task(_register_once_served(f"http://{place}"))
        try:
            await serve_until_stopped(app, place)
        finally:
            registering.cancel()


async def _register_once_served(url: str) -> None:
    """Register the deployment at `url`; Restate asks it what it serves, so that must be up."""
    while True:
        try:
            await admin.register(url)
        except (httpx.HTTPError, AdminUnavailable):
            await asyncio.sleep(_RETRY_AFTER.total_seconds())
        else:
            return


def _http(url: str) -> httpx.AsyncClient:
    # No timeout for answers: a result may be months away. Certificates take 20 ms to load: only if needed.
    return httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(10, read=None), verify=url.startswith("https"))


def _error(answer: httpx.Response) -> AgentError:
    """Return the error that an answer stands for."""
    try:
        message = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text
    return _ERRORS.get(answer.status_code, AgentFailed)(message)
