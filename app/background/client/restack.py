"""Restack: the client of background agents, named as in the reference. It also starts a service.

Shapes requests. What comes of them is decided by the front door and the mailboxes.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from app.background.client.handle import AgentHandle
from app.background.client.ingress import Ingress
from app.background.event import AgentEvent
from app.background.gateway.protocol import AgentList
from app.background.protocol import DEFAULT_QUEUE, AgentDescription, Status
from app.background.published.ignored import NO_WEBHOOKS, ignored, say_what_is_ignored
from app.background.published.options import CloudConnectionOptions, ResourceOptions, ServiceOptions
from app.background.schedules.protocol import Schedule, ScheduleList
from app.background.schedules.spec import ScheduleSpec
from app.settings import get_settings

if TYPE_CHECKING:
    from app.background.serve.own_service import Declared


class Restack:
    """Starts agents, sends them events, looks at them and ends them.

    Every request carries an idempotency key and is sent again when the connection breaks: it takes effect once.
    Within `async with Restack() as client` connections are kept. Without it each request makes one of its own.
    `options` are those of the published library. Restate needs none of them.
    Errors of all methods: NotFound, Conflict, UsageError with the sentence of the server; AgentFailed for a handler or
    an agent that failed; httpx.TransportError when Restate cannot be reached.
    """

    options: CloudConnectionOptions | None

    def __init__(self, options: CloudConnectionOptions | None = None, *, ingress_url: str | None = None) -> None:
        self.options = options
        say_what_is_ignored(options)
        self._ingress = Ingress(ingress_url or get_settings().restate_ingress_url)

    async def __aenter__(self) -> Self:
        await self._ingress.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._ingress.close()

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

        With `schedule`: start it again and again. `agent_id` names the schedule and is returned.
        """
        body = {"agent_name": agent_name, "agent_id": agent_id, "agent_input": agent_input, "task_queue": task_queue}
        started = await self._ingress.ask("schedule_agent", **body, schedule=schedule, event=event)
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
        """Send an event. Return its number at once, or with `wait_for_completion` what its handler returns."""
        return await self._ingress.ask(
            "send_agent_event",
            agent_id=agent_id,
            event_name=event_name,
            event_input=event_input,
            run_id=run_id,
            wait_for_completion=wait_for_completion,
        )

    async def start_agent_event(
        self, event_name: str, agent_id: str, run_id: str | None = None, event_input: Any = None
    ) -> str:
        """Send an event and return an id for `event_answer`. If the agent refuses it, `event_answer` raises that."""
        event = {"event_name": event_name, "agent_id": agent_id, "run_id": run_id, "event_input": event_input}
        sent = await self._ingress.ask("send_agent_event", to="/send", **event, wait_for_completion=True)
        event_id: str = sent["invocationId"]
        return event_id

    async def event_answer(self, event_id: str) -> Any:
        """Return what the handler of an event returns. It is known for a day after it was handled. Errors: NotFound."""
        return await self._ingress.request("GET", f"/restate/invocation/{quote(event_id, safe='')}/attach")

    async def get_agent_handle(self, agent_id: str, run_id: str | None = None) -> AgentHandle:
        """Return a handle of an agent, there or not. With `run_id` it is of that run only."""
        return AgentHandle(self, agent_id, run_id)

    async def get_agent_state(
        self, agent_id: str, state_name: str, run_id: str | None = None, state_input: Any = None
    ) -> Any:
        """Return what an `@agent.state` method says. It has seen all events that were accepted before."""
        body = {"agent_id": agent_id, "state_name": state_name, "state_input": state_input, "run_id": run_id}
        return await self._ingress.ask("get_agent_state", **body)

    async def get_agent_result(self, agent_id: str, run_id: str | None = None) -> Any:
        """Wait for the end of an agent and return its result."""
        return await self._ingress.ask("get_agent_result", agent_id=agent_id, run_id=run_id)

    async def describe_agent(self, agent_id: str) -> AgentDescription:
        """Return status, run, parent, children and the reason of a failure."""
        return AgentDescription.model_validate(await self._ingress.ask("describe_agent", agent_id=agent_id))

    async def list_agents(
        self, agent_name: str | None = None, status: Status | None = None, limit: int = 100
    ) -> tuple[AgentDescription, ...]:
        """Return agents by id."""
        answer = await self._ingress.ask("list_agents", agent_name=agent_name, status=status, limit=limit)
        return AgentList.model_validate(answer).agents

    async def cancel_agent(self, agent_id: str, run_id: str | None = None) -> None:
        """Ask an agent to end. Its `finally` blocks run and may take steps."""
        await self._ingress.ask("cancel_agent", agent_id=agent_id, run_id=run_id)

    async def terminate_agent(self, agent_id: str, run_id: str | None = None) -> None:
        """End an agent at once. None of its code runs any more."""
        await self._ingress.ask("terminate_agent", agent_id=agent_id, run_id=run_id)

    async def purge_agent(self, agent_id: str) -> None:
        """Erase what is known of an agent that has ended."""
        await self._ingress.ask("purge_agent", agent_id=agent_id)

    async def describe_schedule(self, schedule_id: str) -> Schedule:
        """Return when a schedule is due, and what it has started, skipped, coalesced and missed."""
        return Schedule.model_validate(await self._ingress.ask("describe_schedule", schedule_id=schedule_id))

    async def list_schedules(self) -> tuple[Schedule, ...]:
        """Return schedules by id."""
        return ScheduleList.model_validate(await self._ingress.ask("list_schedules")).schedules

    async def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule. The agents that it has started go on."""
        await self._ingress.ask("delete_schedule", schedule_id=schedule_id)

    # The same in the words of workflows

    async def schedule_workflow(
        self,
        workflow_name: str,
        workflow_id: str,
        workflow_input: Any = None,
        task_queue: str = DEFAULT_QUEUE,
        schedule: ScheduleSpec | None = None,
        event: AgentEvent | None = None,
        *,
        is_agent: bool = False,
    ) -> str:
        """Start a workflow and return its run_id, or with `schedule` the id of the schedule.

        `is_agent` changes nothing: the class says what it is.
        """
        del is_agent
        return await self.schedule_agent(workflow_name, workflow_id, workflow_input, task_queue, schedule, event)

    async def get_workflow_handle(self, workflow_id: str, run_id: str | None = None) -> AgentHandle:
        """Return a handle of a workflow, there or not. With `run_id` it is of that run only."""
        return await self.get_agent_handle(workflow_id, run_id)

    async def get_workflow_result(self, workflow_id: str, run_id: str | None = None) -> Any:
        """Wait for the end of a workflow and return its result."""
        return await self.get_agent_result(workflow_id, run_id)

    # A connection

    async def connect(self, connection_options: CloudConnectionOptions | None = None) -> None:
        """Return when Restate answers. Errors: httpx.TransportError, AgentFailed."""
        say_what_is_ignored(connection_options)
        await self._ingress.request("GET", "/restate/health")

    async def create_client(self, connection_options: CloudConnectionOptions | None = None) -> Self:
        """Connect, and return this client: there is none below it."""
        await self.connect(connection_options)
        return self

    def get_connection_options(self) -> dict[str, Any]:
        """Return where Restate is, in the form of the published library."""
        engine_id = (self.options.engine_id if self.options else None) or "local"
        return {"target_host": self._ingress.url, "metadata": {"restack-engineId": engine_id}}

    # A service

    async def create_service(
        self,
        workflows: Sequence[type] | None = None,
        agents: Sequence[type] | None = None,
        functions: Sequence[Callable[..., Any]] | None = None,
        task_queue: str | None = None,
        options: ServiceOptions | None = None,
        resources: ResourceOptions | None = None,
    ) -> "Declared":
        """Return what `run_service` serves. Nothing runs yet."""
        from app.background.serve.own_service import Declared

        return Declared(
            agents=agents or (),
            workflows=workflows or (),
            functions=functions or (),
            task_queue=task_queue or DEFAULT_QUEUE,
            options=options,
            resources=resources,
        )

    async def run_service(self, service: "Declared", webhook_url: str | None = None) -> None:
        """Serve what `create_service` has prepared, as `start_service` does."""
        # Here, as nothing else of this package serves anything.
        from app.background.serve.own_service import serve

        if webhook_url is not None:
            ignored("run_service(webhook_url=…)", NO_WEBHOOKS)
        if not (service.agents or service.workflows or service.functions):
            raise ValueError("start_service() has nothing to serve: pass agents=, workflows= or functions=")
        await serve(service)

    async def start_service(
        self,
        *,
        agents: Sequence[type] = (),
        workflows: Sequence[type] = (),
        functions: Sequence[Callable[..., Any]] = (),
        task_queue: str = DEFAULT_QUEUE,
        options: ServiceOptions | None = None,
        resources: ResourceOptions | None = None,
    ) -> None:
        """Serve agents, workflows and functions at HOST:PORT until SIGINT or SIGTERM, and register that with Restate.

        `options` limits what runs at the same time.
        Errors: ValueError if there is nothing to serve; DefinitionError; UsageError when the port is taken.
        """
        await self.run_service(await self.create_service(workflows, agents, functions, task_queue, options, resources))
