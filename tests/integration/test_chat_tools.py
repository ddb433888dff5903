"""What each mode does to a turn whose tools are running, and what becomes of odd tool calls (DESIGN 4.3, 4.4)."""

from typing import Any

import pytest

from tests.support.chat import Chat
from tests.support.llm_server import Call, Plan


def calls(count: int, *, name: str = "execute_task", text: tuple[str, ...] = ()) -> Plan:
    """A reply that asks for `count` tasks: task 1, task 2, …; two run at a time."""
    asked = [Call(name, f'{{"task": "task {n}"}}', f"call_{n}") for n in range(1, count + 1)]
    return Plan(text=text, calls=asked, finish_reason="tool_calls")


async def outcomes(chat: Chat) -> list[str]:
    return [entry["outcome"] for entry in await chat.entries() if entry["role"] == "tool"]


def results(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "tool"]


async def test_tools_run_and_the_llm_sees_their_results(chat: Chat) -> None:
    """Tool calls run, their results go to the LLM in the order of the calls, and the turn ends with its answer."""
    chat.script(calls(3, text=("On it.",)), Plan(text=["All done."]))
    await chat.say("work")
    lines = await chat.idle()

    done = [f"The task is done: task {n}" for n in (1, 2, 3)]
    assert [content for _, content, _ in lines] == ["work", "On it.", *done, "All done."]
    assert results(chat.requests[1].messages) == done
    entries = await chat.entries()
    assert entries[1]["tool_calls"] == [
        {"call_id": f"call_{n}", "name": "execute_task", "arguments": f'{{"task": "task {n}"}}'} for n in (1, 2, 3)
    ]
    assert [entry.get("tool_call_id") for entry in entries[2:5]] == ["call_1", "call_2", "call_3"]
    assert await outcomes(chat) == ["ok", "ok", "ok"]
    assert (await chat.turn(1))["usage"]["calls"] == 2


async def test_interrupt_during_tools(chat: Chat) -> None:
    """INTERRUPT keeps finished results, cancels running tools and says honestly what is not known of them."""
    plan = calls(4)
    await chat.begin(Plan(text=(), calls=[Call("nope", "{}", "call_0"), *plan.calls], finish_reason="tool_calls"))
    await chat.tools_started(2)

    await chat.say("second")
    lines = await chat.idle()

    assert lines[-1][:2] == ("assistant", "answer to: first; second")
    if chat.always_replay:
        assert set(await outcomes(chat)) <= {"failed", "ok", "unknown", "skipped"}
        return
    assert await outcomes(chat) == ["failed", "unknown", "unknown", "skipped", "skipped"]
    assert [status for _, _, status in lines] == ["interrupted"] * 7 + ["completed"] * 2
    told = results(chat.requests[1].messages)
    assert "may have run" in told[1]
    assert "never started" in told[3]


async def test_interrupt_keeps_finished_tools(chat: Chat) -> None:
    """Results of tools that had finished before the INTERRUPT are kept."""
    await chat.begin(calls(3))
    await chat.tools_started(3)

    await chat.say("second")
    await chat.idle()

    assert (await outcomes(chat))[:2] == ["ok", "ok"]
    if not chat.always_replay:
        assert await outcomes(chat) == ["ok", "ok", "unknown"]
    assert chat.requests[-1].user_texts == ["first", "second"]


async def test_rollback_during_tools(chat: Chat) -> None:
    """ROLLBACK during tools: the turn stays in the history, marked, and leaves the LLM's context."""
    await chat.begin(calls(2))
    await chat.tools_started(2)

    await chat.say("second", "ROLLBACK")
    lines = await chat.idle()

    assert lines[0][:2] == ("user", "first")
    assert lines[0][2] == "rolled_back"
    assert [message["role"] for message in chat.requests[-1].messages] == ["system", "user"]
    assert chat.requests[-1].user_texts == ["second"]


async def test_incorporate_during_tools(chat: Chat) -> None:
    """INCORPORATE lets the tools finish; the message comes behind all their results."""
    await chat.begin(calls(3), Plan(text=["All done."]))
    await chat.tools_started(1)

    await chat.say("second", "INCORPORATE")
    lines = await chat.idle()

    assert await outcomes(chat) == ["ok", "ok", "ok"]
    assert [role for role, _, _ in lines] == ["user", "assistant", "tool", "tool", "tool", "user", "assistant"]
    assert [m["role"] for m in chat.requests[1].messages][-2:] == ["tool", "user"]
    assert len(chat.requests) == 2


async def test_steer_during_tools(chat: Chat) -> None:
    """STEER lets started tools finish and skips the others, then comes the message."""
    await chat.begin(calls(4), Plan(text=["All right."]))
    await chat.tools_started(2)

    await chat.say("second", "STEER")
    lines = await chat.idle()

    assert (await outcomes(chat))[:2] == ["ok", "ok"]
    if not chat.always_replay:
        assert await outcomes(chat) == ["ok", "ok", "skipped", "skipped"]
    assert [role for role, _, _ in lines][-2:] == ["user", "assistant"]
    assert [m["role"] for m in chat.requests[1].messages][-2:] == ["tool", "user"]
    assert {status for _, _, status in lines} == {"completed"}


async def test_queue_during_tools(chat: Chat) -> None:
    """QUEUE during tools waits for the answer of the turn."""
    await chat.begin(calls(1), Plan(text=["All done."]), Plan(text=["Second too."]))
    await chat.say("second", "QUEUE")
    lines = await chat.idle()

    assert [content for _, content, _ in lines][-3:] == ["All done.", "second", "Second too."]


async def test_stop_during_tools(chat: Chat) -> None:
    """`stop` during tools ends the turn as interrupted with a result for every call; the next message works."""
    await chat.begin(calls(3))
    await chat.tools_started(2)

    assert (await chat.call("stop"))["stopped"]
    lines = await chat.idle()

    assert lines[0][2] == "interrupted"
    assert len(await outcomes(chat)) == 3
    await chat.say("second")
    assert (await chat.idle())[-1][2] == "completed"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (Call("nope", "{}"), "There is no tool 'nope'. The tools are: execute_task."),
        (Call(arguments="{"), "Wrong arguments for execute_task"),
        (Call(arguments="[]"), "Wrong arguments for execute_task"),
        (Call(arguments='{"job": 1}'), "Wrong arguments for execute_task: task: Field required"),
    ],
)
async def test_wrong_call_is_told_to_the_llm(chat: Chat, call: Call, sentence: str) -> None:
    """An unknown tool or malformed arguments give a failed result that tells the LLM what to do; the turn goes on."""
    chat.script(Plan(text=(), calls=[call], finish_reason="tool_calls"), Plan(text=["Sorry."]))
    await chat.say("work")
    lines = await chat.idle()

    assert await outcomes(chat) == ["failed"]
    assert results(chat.requests[1].messages)[0].startswith(sentence)
    assert lines[-1] == ("assistant", "Sorry.", "completed")


async def test_iteration_limit(chat: Chat) -> None:
    """A turn that never comes to an answer ends at the limit of iterations, says so, and the next message works."""
    chat.script_by(lambda request: Plan(text=(), calls=[Call("nope", "{}", f"call_{request.index}")]))
    await chat.say("first")
    lines = await chat.idle()

    assert len(chat.requests) == 5
    assert lines[-1][0] == "system"
    assert lines[-1][1].startswith("No answer after 5 iterations")
    assert lines[-1][2] == "limit_reached"
    chat.script(Plan(text=["Fine."]))
    await chat.say("second")
    assert (await chat.idle())[-1] == ("assistant", "Fine.", "completed")


async def test_message_extends_the_limit(chat: Chat) -> None:
    """Every message that is handed in gets the full number of iterations."""

    def plan(request: Any) -> Plan:
        if request.user_texts[-1].endswith("stop it"):
            return Plan(text=["Stopped."])
        return Plan(text=(), calls=[Call(call_id=f"call_{request.index}")], finish_reason="tool_calls")

    chat.script_by(plan)
    await chat.say("first")
    await chat.asked(3)
    await chat.say("stop it", "INCORPORATE")

    assert (await chat.idle())[-1] == ("assistant", "Stopped.", "completed")
