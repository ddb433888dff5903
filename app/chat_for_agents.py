"""The handlers of ChatService for background agents: those it has, and the messages they send into it.

A chat knows the agents that it has started and that have not ended, nobody else's. Nothing here waits for an agent but
`watch_agent`, which is shared.
"""

from datetime import timedelta

from restate import ObjectContext, ObjectSharedContext, TerminalError

from app.background.mailbox import addresses as mailbox
from app.background.mailbox.checks import check_size
from app.background.protocol import Outcome, Started, StartRequest, WaitRequest
from app.boundary import PATIENT_RETRIES, private_handler
from app.chat import chat_service
from app.errors import NotFound, UsageError
from app.live.hints import note_change
from app.settings import get_settings
from app.turns import addresses as at
from app.turns.agents.protocol import AgentMessage, AgentRef, ChatAgents, StartAgent, UseAgent
from app.turns.arriving.messages import receive
from app.turns.protocol import Receipt
from app.turns.store import StoredReceipt, get, load, put, receipt_key, save
from app.turns.transcript import ChatAgent, Message
from app.turns.waiting.limits import require_not_too_long

__all__ = ["chat_service"]  # with these handlers too

_DAY_S = 86_400
_LOOKS = 10  # a start is sent before its watch, and could only come later if messages overtook each other
_NEXT_LOOK = timedelta(seconds=1)
_KEPT = timedelta(days=1)  # what is known of an agent that has ended: nobody else would erase it


@private_handler(chat_service, at.START_AGENT)
async def start_agent(ctx: ObjectContext, request: StartAgent) -> None:
    """Note an agent, and send its start. The answer goes to the awakeable of the run."""
    settings = get_settings()
    allowed = settings.chat_agents or ()
    if request.chosen and request.agent_name not in allowed:
        raise UsageError(
            f"There is no agent {request.agent_name[:200]!r} that you may start; there are: "
            f"{', '.join(allowed) or 'none'}"
        )
    conversation = await load(ctx)
    if not conversation.start_agent(request, settings.max_chat_agents):
        ctx.resolve_awakeable(request.reply, Started(agent_id=request.agent_id, run_id="", started=False))
        return
    # From here, so that the end of the agent that a `forget` sends comes behind its start.
    start = StartRequest(agent_name=request.agent_name, input=request.input, reply=request.reply, chat_key=ctx.key())
    mailbox.START_CHILD.send(ctx, request.agent_id, start)
    at.WATCH_AGENT.send(ctx, ctx.key(), AgentRef(agent_id=request.agent_id))
    note_change(ctx.key())
    save(ctx, conversation)


@private_handler(chat_service, at.USE_AGENT, kind="shared")
async def use_agent(ctx: ObjectSharedContext, request: UseAgent) -> ChatAgent:
    """Return an agent of this chat, that a run is going to use. Errors: NotFound, TooLarge."""
    check_size(request.input, "The input")
    return (await load(ctx)).agent(request.agent_id)


@private_handler(chat_service, at.CHAT_AGENTS, kind="shared")
async def chat_agents(ctx: ObjectSharedContext) -> ChatAgents:
    """Return the agents of this chat."""
    return ChatAgents(agents=(await load(ctx)).session.agents)


@private_handler(chat_service, at.HEAR_AGENT)
async def hear_agent(ctx: ObjectContext, message: AgentMessage) -> Receipt:
    """Take a message of an agent, as one of a user. A chat that was forgotten knows the agent no more."""
    settings = get_settings()
    require_not_too_long(message.content, settings)
    conversation = await load(ctx)
    conversation.agent(message.agent_id)
    if (stored := await get(ctx, receipt_key(message.message_id), StoredReceipt)) is not None:
        return stored.receipt
    conversation.count_agent_message(int(await ctx.time() // _DAY_S), settings.max_agent_messages)
    said = Message(
        message_id=message.message_id,
        content=message.content,
        mode=message.mode or conversation.session.mode or settings.mode,
        source=message.agent_id,
    )
    receipt = await receive(ctx, conversation, said, settings)
    put(ctx, receipt_key(receipt.message_id), StoredReceipt(receipt=receipt, content=message.content))
    return receipt


@private_handler(chat_service, at.AGENT_IS_OVER)
async def agent_is_over(ctx: ObjectContext, agent: AgentRef) -> None:
    """Forget an agent that has ended, or has not started."""
    conversation = await load(ctx)
    conversation.agent_is_over(agent.agent_id)
    note_change(ctx.key())
    save(ctx, conversation)


# It may wait for months, suspended. Of a forgotten chat it ends with the agent.
@private_handler(chat_service, at.WATCH_AGENT, kind="shared", retries=PATIENT_RETRIES, journal_retention=timedelta(0))
async def watch_agent(ctx: ObjectSharedContext, agent: AgentRef) -> None:
    """Wait for the end of an agent, and have it forgotten then: by the chat at once, by its mailbox later."""
    for _ in range(_LOOKS):
        waiter, ended = ctx.awakeable(type_hint=Outcome)
        try:
            await mailbox.WAIT.call(ctx, agent.agent_id, WaitRequest(waiter=waiter))
        except TerminalError as exc:
            if exc.status_code != NotFound.status:
                raise
            await ctx.sleep(_NEXT_LOOK)
        else:
            await ended
            mailbox.PURGE.send(ctx, agent.agent_id, None, delay=_KEPT)
            break
    at.AGENT_IS_OVER.send(ctx, ctx.key(), agent)
