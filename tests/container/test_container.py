"""The application against a Restate server in a container, through the SDK's own test harness."""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from restate.harness import create_test_harness
from restate.server_types import RestateAppT

from app.main import build_app
from app.settings import Settings
from tests.support.eventually import eventually
from tests.support.process import local_http

IMAGE = "interruptible-agents/restate-server:test"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# The binary is static, so it needs nothing else in its image: no base image, no registry.
DOCKERFILE = """\
FROM scratch
COPY restate-server /restate-server
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY tmp /tmp
ENTRYPOINT ["/restate-server"]
"""


@pytest.fixture(scope="session")
def image(restate_binary: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of the pinned restate-server; without a Docker engine the test is skipped."""
    if not shutil.which("docker"):
        pytest.skip("no docker command")
    engine = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if engine.returncode != 0:
        pytest.skip(f"no Docker engine answers: {engine.stderr.strip()}")
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "tmp").mkdir()
    shutil.copy(restate_binary, folder / "restate-server")
    shutil.copy(CERTIFICATES, folder / "ca-certificates.crt")
    # The older builder: the newer is a plug-in that Debian packages apart.
    build = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(["docker", "build", "--quiet", "--tag", IMAGE, str(folder)], check=True, env=build)
    return IMAGE


@pytest_asyncio.fixture(params=[False, True], ids=["normal", "always-replay"])
async def ingress_url(
    request: pytest.FixtureRequest, image: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """The ingress of a containerised server with the application registered, the offline model at full speed."""
    # Its helper container, which cleans up after a killed run, would have to come from a registry.
    monkeypatch.setattr("testcontainers.core.config.testcontainers_config.ryuk_disabled", True)
    monkeypatch.setenv("OFFLINE_PACE_S", "0.05")
    app = build_app(Settings(_env_file=None, inactivity_timeout_s=None, offline_pace_s=0.05, task_duration_s=0.05))
    async with create_test_harness(
        cast(RestateAppT, app), restate_image=image, always_replay=request.param
    ) as environment:
        yield environment.ingress_url


@pytest.mark.parametrize("mode", ["INTERRUPT", "INCORPORATE", "QUEUE"])
async def test_second_message_is_answered(ingress_url: str, mode: str) -> None:
    """In each mode of the source document both messages are in the chat and the last entry is an answer."""
    chat = f"{ingress_url}/ChatService/{mode}"
    await call(f"{chat}/process_user_message", role="user", content="do something", mode=mode)
    await call(f"{chat}/process_user_message", role="user", content="do something else", mode=mode)

    async def answered() -> bool:
        history = await call(f"{chat}/get_chat_history")
        said = [entry["content"] for entry in history["entries"] if entry["role"] == "user"]
        last = history["entries"][-1]
        assert said == ["do something", "do something else"], said
        assert (last["role"], last["status"]) == ("assistant", "completed"), last
        return True

    await eventually(answered, timeout_s=30)


async def call(url: str, **body: str) -> Any:
    async with local_http() as http:
        answer = await http.post(url, json=body) if body else await http.post(url)
    assert answer.is_success, answer.text
    return json.loads(answer.text)
