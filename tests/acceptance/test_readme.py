"""The README's commands do what it says, with the offline model."""

import asyncio
import json
import re
import shlex
from typing import Any

import pytest

from app.stack import ROOT
from tests.conftest import StartService
from tests.support.eventually import eventually
from tests.support.process import local_http
from tests.support.restate_server import RestateServer

SHELL_BLOCK = re.compile(r"```shell\n(.*?)```", re.DOTALL)
CURL = re.compile(r"^curl (?:.*\\\n)*.*?(?:\n(?![a-z]).*)*$", re.MULTILINE)

# What the two messages of the source document become, the last words of the agent, and the lines of its log.
STORIES = {
    "INTERRUPT": ("interrupted", ["Interrupting ongoing agent run", "Starting new agent run"]),
    "INCORPORATE": ("incorporated", ["Incorporating new input into ongoing agent run", "Resolved awakeable with ID"]),
    "QUEUE": ("queued", ["Queueing behind ongoing agent run", "Starting new agent run"]),
    "STEER": ("steered", ["Steering ongoing agent run", "Resolved awakeable with ID"]),
    "ROLLBACK": ("rolled_back", ["Rolling back ongoing agent run", "Starting new agent run"]),
}


def curls() -> list[str]:
    """Return every curl command of the README, in order."""
    return [
        command for block in SHELL_BLOCK.findall((ROOT / "README.md").read_text()) for command in CURL.findall(block)
    ]


async def shell(command: str) -> Any:
    """Run a command as a reader would, and return the JSON it prints."""
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command), "--silent", "--fail-with-body", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{command} ended with {process.returncode}: {output.decode()}"
    return json.loads(output) if output else None


async def test_every_curl_of_the_readme_works(own_restate_server: RestateServer, start_service: StartService) -> None:
    """Pasted one after the other, the commands are accepted, and the answers are the ones that are shown."""
    admin_url = own_restate_server.admin_url
    service = await start_service(OFFLINE_PACE_S="0.5", TASK_DURATION_S="0.1", RESTATE_ADMIN_URL=admin_url)
    await own_restate_server.register(service.url)
    ingress = own_restate_server.ingress_url.removeprefix("http://")
    commands = curls()
    assert len(commands) == 18
    answers = [await shell(command.replace("localhost:8080", ingress)) for command in commands]
    assert [answer["decision"] for answer in answers[:2]] == ["started", "interrupted"]
    assert answers[2]["entries"][0]["content"] == "do something"
    assert answers[3] == {"mode": "QUEUE"}
    assert answers[4]["decision"] == "queued"
    assert answers[5]["busy"] is True
    assert [answer["result"] for answer in answers[6:8]] == ["applied", "applied"]
    assert answers[9]["stopped"] is True
    assert answers[13] == 1
    assert answers[14]["waiting"] + answers[14]["completed"] == 1
    assert answers[16] == {"status": "shutdown", "completed": 1}
    assert [(found["agent_id"], found["status"]) for found in answers[17]["agents"]] == [("tasks", "completed")]


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
