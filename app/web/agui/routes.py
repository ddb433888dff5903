"""The routes of AG-UI: the native stream of a chat, and run, connect, stop and info for clients of other makers.

Whose chats are whose is decided by `chat_of` and `require_chat`.
"""

from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ag_ui.core import AgentCapabilities
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.errors import NotFound, UsageError
from app.turns.protocol import Receipt
from app.values import quoted
from app.web.agui.goal import ChatAtRest, MessageAnswered
from app.web.agui.interrupts.answered import decisions_of
from app.web.agui.interrupts.resuming import answered_in, resolve
from app.web.agui.open_runs import OpenRuns
from app.web.agui.request import RunInput, message_of, new_message_of, read_input
from app.web.agui.run import RunEvents
from app.web.agui.stopping import stop_chat, stop_message
from app.web.agui.stream import joined, native_events, run_events, streamed
from app.web.caller import chat_of, require_chat, segment
from app.web.chats import body_of
from app.web.gateway import gateway_of
from app.web.ingress import NEW_MESSAGE
from app.web.listing import require_room
from app.web.uploads.parts import stored

AGENT_ID = "default"  # the one that CopilotKit asks for unless it is told otherwise
CAPABILITIES = AgentCapabilities.model_validate(
    {
        "identity": {"name": AGENT_ID, "type": "interruptible-agents"},
        "transport": {"streaming": True, "resumable": True},
        "tools": {"supported": True, "parallelCalls": True, "clientProvided": False},
        "reasoning": {"supported": True, "streaming": True, "encrypted": False},
        "state": {"snapshots": False, "deltas": False, "memory": True, "persistentState": False},
        "multimodal": {"input": {"image": True, "audio": False, "video": False, "pdf": True, "file": True}},
        "humanInTheLoop": {"supported": True, "interventions": True, "approvals": True, "interrupts": True},
    }
)


def routes() -> list[Route]:
    """Return the routes of AG-UI."""
    return [
        Route("/chats/{key}/events", watch, methods=["GET"]),
        Route("/info", info, methods=["GET"]),
        Route("/agent/{agent}/run", run, methods=["POST"]),
        Route("/agent/{agent}/connect", connect, methods=["POST"]),
        Route("/agent/{agent}/stop/{key}", stop, methods=["POST"]),
    ]


async def watch(request: Request) -> Response:
    """Stream what happens in a chat, without end; `Last-Event-ID` goes on behind that event."""
    key, gateway = chat_of(request), gateway_of(request)
    events = native_events(gateway, key, request.headers.get("last-event-id"))
    async with AsyncExitStack() as held:
        await held.enter_async_context(gateway.stream(request))
        return streamed(request, events, held)


async def info(_request: Request) -> Response:
    """Say which agents there are, as CopilotKit's runtime does."""
    capabilities = CAPABILITIES.model_dump(mode="json", by_alias=True)
    described = {
        "name": AGENT_ID,
        "className": "HttpAgent",
        "description": "The agent of this service. A thread is a chat.",
        "capabilities": capabilities,
    }
    return JSONResponse(
        {
            "version": _version(),
            "agents": {AGENT_ID: described},
            "audioFileTranscriptionEnabled": False,
            "mode": "sse",
        }
    )


async def run(request: Request) -> Response:
    """Send the last message of a run, or what a person has decided, and stream the chat until that turn is over, or
    waits for a person."""
    _require_agent(request)
    asked = read_input(await body_of(request))
    key = require_chat(request, asked.thread_id)
    if asked.resume:
        return await _resumed(request, key, asked)
    message = message_of(asked)
    await require_room(request, key)
    async with AsyncExitStack() as held:
        events = RunEvents(asked.client, asked.ignored)
        following = await joined(request, key, events, held)
        accepted = open_runs_of(request).begin(key, asked.run_id)
        try:
            gateway = gateway_of(request)
            files = await stored(gateway.files, key, message.message_id, message.files)
            answer = await gateway.ingress.call(key, NEW_MESSAGE, message.to_body(files))
            accepted.set_result(message.message_id)
        finally:
            if not accepted.done():
                accepted.set_result(None)
        receipt = Receipt.model_validate(answer)
        await following.begin(MessageAnswered(message.message_id, receipt.turn_id))
        return streamed(request, run_events(following, events), held)


async def _resumed(request: Request, key: str, asked: RunInput) -> Response:
    """Pass on what a person has decided, and stream the chat until the turn is over that goes on by it.

    A message that comes along is sent, too: before calls are rejected of which it may be the reason.
    """
    ingress, decisions = gateway_of(request).ingress, decisions_of(asked.resume)
    async with AsyncExitStack() as held:
        events = RunEvents(asked.client, asked.ignored)
        following = await joined(request, key, events, held)
        accepted = open_runs_of(request).begin(key, asked.run_id)
        goal: MessageAnswered | None = None
        try:
            await resolve(ingress, key, [each for each in decisions if not each.given_up])
            known = (await following.history()).entries
            if (message := new_message_of(asked, known)) is not None:
                receipt = Receipt.model_validate(await ingress.call(key, NEW_MESSAGE, message.to_body()))
                goal = MessageAnswered(receipt.message_id, receipt.turn_id)
            await resolve(ingress, key, [each for each in decisions if each.given_up])
            goal = goal or answered_in(known, decisions[-1].turn_id)
            accepted.set_result(goal.message_id)
        finally:
            if not accepted.done():
                accepted.set_result(None)
        await following.begin(goal)
        return streamed(request, run_events(following, events), held)


async def connect(request: Request) -> Response:
    """Stream the chat as it is, and what goes on in it until no turn is open, or the one that is waits for a person."""
    _require_agent(request)
    asked = read_input(await body_of(request))
    key = require_chat(request, asked.thread_id)
    async with AsyncExitStack() as held:
        events = RunEvents(asked.client)
        following = await joined(request, key, events, held)
        await following.begin(ChatAtRest())
        return streamed(request, run_events(following, events), held)


async def stop(request: Request) -> Response:
    """Stop a run that `runId` names, and nothing else; without it all that is open or waits in the chat."""
    _require_agent(request)
    key, run_id = chat_of(request), _run_id_of(await request.body())
    ingress = gateway_of(request).ingress
    known, message_id = (False, None) if run_id is None else await open_runs_of(request).message_of(key, run_id)
    if not known:
        return JSONResponse(await stop_chat(ingress, key))
    if message_id is None:
        return JSONResponse({"stopped": False})
    return JSONResponse(await stop_message(ingress, key, message_id))


def open_runs_of(request: Request) -> OpenRuns:
    """Return the runs that clients have begun at this gateway."""
    state = request.app.state
    if not hasattr(state, "open_runs"):
        state.open_runs = OpenRuns()
    runs: OpenRuns = state.open_runs
    return runs


def _require_agent(request: Request) -> None:
    agent = segment(request, "agent")
    if agent != AGENT_ID:
        raise NotFound(f"No agent {quoted(agent)} is here; there is one, {AGENT_ID!r}")


def _run_id_of(body: bytes) -> str | None:
    """Return the run that a request to stop names; without a body it names none."""
    if not body:
        return None
    try:
        content: Any = from_json(body)
    except ValueError as exc:
        raise UsageError(f"The body is no JSON: {exc}") from exc
    run_id = content.get("runId") if isinstance(content, dict) else None
    if run_id is not None and not isinstance(run_id, str):
        raise UsageError(f"runId is {quoted(run_id)}: it must be a text")
    return run_id


def _version() -> str:
    try:
        return version("interruptible-agents")
    except PackageNotFoundError:  # it runs from its folder, not installed
        return "0"
