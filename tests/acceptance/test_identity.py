"""Who may call the service: with RESTATE_IDENTITY_KEYS only the Restate servers that own these keys."""

import base64
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from app.hosting.stack import ROOT
from tests.acceptance.test_main import run_main, say
from tests.acceptance.test_side_by_side import GREETER
from tests.conftest import StartService
from tests.support.eventually import eventually
from tests.support.process import local_http
from tests.support.restate_server import RestateServer

# What stands before the 32 bytes of a private key in PKCS #8, for Ed25519 (RFC 8410): `openssl genpkey -algorithm
# ed25519` writes the same.
_PKCS8_OF_ED25519 = bytes.fromhex("302e020100300506032b657004220420")


@pytest_asyncio.fixture
async def signing_server(restate_binary: str, tmp_path: Path) -> AsyncIterator[RestateServer]:
    """A server that signs its requests with a key of its own."""
    key = tmp_path / "identity.pem"
    body = base64.b64encode(_PKCS8_OF_ED25519 + secrets.token_bytes(32)).decode()
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    folder = tmp_path / "signing"
    folder.mkdir()
    server = RestateServer(
        restate_binary, folder, RESTATE_WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE=str(key)
    )
    try:
        await server.start()
        yield server
    finally:
        server.kill9()


def public_key(server: RestateServer) -> str:
    """Return the public key of a server, which it logs when it starts."""
    found = re.search(r"publickeyv1_\w+", server.process.log())
    assert found, server.process.log()
    return found[0]


async def test_only_the_signing_server_is_answered(
    signing_server: RestateServer, own_restate_server: RestateServer, start_service: StartService, server: str
) -> None:
    """The server with the key runs turns; another server cannot register, and an unsigned request is 401."""
    service = await start_service(RESTATE_IDENTITY_KEYS=public_key(signing_server), OFFLINE_PACE_S="0", SERVER=server)
    await signing_server.register(service.url)
    await say(signing_server.ingress_url, "hello")

    async with local_http() as http:

        async def answered() -> bool:
            history = await http.post(f"{signing_server.ingress_url}/ChatService/ellie/get_chat_history")
            return bool(history.json()["entries"][-1]["role"] == "assistant")

        await eventually(answered)
        foreign = await http.post(f"{own_restate_server.admin_url}/deployments", json={"uri": service.url})
        discovery = await http.get(f"{service.url}/discover")
        content_type = {"content-type": "application/vnd.restate.invocation.v5"}
        run = await http.post(f"{service.url}/invoke/AgentSession/run", content=b"x", headers=content_type)
        health = await http.get(f"{service.url}/health")

    assert not foreign.is_success
    assert "401" in foreign.text
    assert [answer.status_code for answer in (discovery, run, health)] == [401, 401, 200]
    assert "Traceback" not in service.process.log()


async def test_own_service_is_signed_for(
    signing_server: RestateServer, own_restate_server: RestateServer, start_service: StartService, tmp_path: Path
) -> None:
    """`start_service` answers the server with the key only, too."""
    greeter = tmp_path / "greeter.py"
    greeter.write_text(GREETER)
    settings = signing_server.settings | {"RESTATE_IDENTITY_KEYS": public_key(signing_server), "PYTHONPATH": str(ROOT)}
    service = await start_service(greeter, **settings)
    async with local_http() as http:

        async def registered() -> bool:
            return (await http.get(f"{signing_server.admin_url}/services/Greeter")).is_success

        await eventually(registered)
        foreign = await http.post(f"{own_restate_server.admin_url}/deployments", json={"uri": service.url})
        assert not foreign.is_success
        with pytest.raises(httpx.HTTPStatusError):
            (await http.get(f"{service.url}/discover")).raise_for_status()
    assert await service.terminate() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid"])  # noqa: S104 - to be refused
@pytest.mark.parametrize("arguments", [(), ("up",)])
async def test_listening_for_others_needs_a_key(tmp_path: Path, host: str, arguments: tuple[str, ...]) -> None:
    """Without a key the service, alone or with its server, does not listen for other machines: it says what to set."""
    process = run_main(tmp_path, *arguments, HOST=host, PORT="9999")

    assert await process.exited() == 1
    assert process.log() == (
        f"HOST={host} lets other machines call the service, and with it use its LLM key and its tools. Set "
        "RESTATE_IDENTITY_KEYS to the public keys of your Restate servers, or ALLOW_UNSIGNED_REQUESTS=true if nothing "
        "but them reaches port 9999.\n"
    )


async def test_switch_lets_it_listen_for_others(start_service: StartService) -> None:
    """ALLOW_UNSIGNED_REQUESTS says that the network is not open to others."""
    service = await start_service(HOST="0.0.0.0", ALLOW_UNSIGNED_REQUESTS="true")  # noqa: S104 - what is tested
    assert await service.terminate() == 0


async def test_wrong_key_is_one_sentence(tmp_path: Path) -> None:
    """What is no public key of a Restate server is refused at start, with its value."""
    process = run_main(tmp_path, RESTATE_IDENTITY_KEYS="publickeyv1_abc")

    assert await process.exited() == 2
    assert process.log().startswith(
        "RESTATE_IDENTITY_KEYS='publickeyv1_abc' cannot be used; 'publickeyv1_abc' is no public key of a Restate server"
    )
    assert len(process.log().splitlines()) == 1
