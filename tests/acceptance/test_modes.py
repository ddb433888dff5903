"""`MODE` tells the stories of the source document, with the offline model."""

from typing import Any

import pytest

from tests.conftest import StartService
from tests.support.eventually import eventually
from tests.support.process import local_http
from tests.support.restate_server import RestateServer

# What the two messages of the source document become, the last words of the agent, and the lines of its log.
STORIES = {
    "INTERRUPT": ("interrupted", ["Interrupting ongoing agent run", "Starting new agent run"]),
    "INCORPORATE": ("incorporated", ["Incorporating new input into ongoing agent run", "Resolved awakeable with ID"]),
    "QUEUE": ("queued", ["Queueing behind ongoing agent run", "Starting new agent run"]),
    "STEER": ("steered", ["Steering ongoing agent run", "Resolved awakeable with ID"]),
    "ROLLBACK": ("rolled_back", ["Rolling back ongoing agent run", "Starting new agent run"]),
}


@pytest.mark.parametrize("mode", STORIES)
async def test_mode_of_the_service_tells_the_story_of_the_document(
    mode: str, own_restate_server: RestateServer, start_service: StartService
) -> None:
    """`MODE` decides what the second message does; both are answered, and the log has the document's lines."""
    decision, lines = STORIES[mode]
    service = await start_service(MODE=mode, OFFLINE_PACE_S="0.3", TASK_DURATION_S="0.1")
    await own_restate_server.register(service.url)
    chat = f"{own_restate_server.ingress_url}/ChatService/ellie"
    async with local_http() as http:

        async def say(content: str) -> str:
            answer = await http.post(f"{chat}/process_user_message", json={"role": "user", "content": content})
            decided: str = answer.json()["decision"]
            return decided

        assert await say("do something") == "started"
        await eventually(lambda: sum("Running iteration" in line for line in service.log_lines()) >= 2)
        assert await say("do something else") == decision

        async def answered() -> list[dict[str, Any]]:
            assert (await http.post(f"{chat}/get_status")).json()["busy"] is False
            entries: list[dict[str, Any]] = (await http.post(f"{chat}/get_chat_history")).json()["entries"]
            return entries

        entries = await eventually(answered, timeout_s=20)
    told = {"QUEUE": "do something else", "ROLLBACK": "do something else"}.get(mode, "do something; do something else")
    assert entries[-1]["content"] == f"Done: {told}."
    log = "\n".join(service.log_lines())
    assert "INFO:chat:Starting new agent run" in log
    assert "INFO:agent_session:Agent generated output for ellie: Do another iteration" in log
    for line in lines:
        assert line in log
