"""The parts of the published library that need no server: events, options, encryption, schemas, streams."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, ValidationError

from app.background import Restack, function
from app.background.endpoints import explore_class_details
from app.background.event import AgentEvent, SendAgentEvent
from app.background.function import mcp_progress, stream_to_websocket
from app.background.functions.current import enter
from app.background.functions.info import FunctionInfo
from app.background.functions.limits import Limits
from app.background.functions.output import tell, watching
from app.background.observability import log_with_context
from app.background.published.ignored import ignored
from app.background.restack import CloudConnectionOptions, ResourceOptions, ScheduleRange, ServiceOptions
from app.background.security import (
    Payload,
    PayloadCodec,
    Sensitive,
    SensitiveFieldsCodec,
    converter,
    create_aes_gcm_encryption,
    sensitive,
)
from app.background.utils import rpm_to_second, should_use_https
from app.errors import DefinitionError

KEY = b"k" * 32


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log of a process that has said nothing yet."""
    monkeypatch.setattr("app.background.published.ignored._said", set())
    caplog.set_level(logging.WARNING, logger="background")
    return caplog


def test_fields_in_order() -> None:
    """Events and ranges take their fields in order and by name; what they have not is refused."""
    assert AgentEvent("meet", {"name": "Ada"}) == AgentEvent(name="meet", input={"name": "Ada"})
    assert SendAgentEvent(AgentEvent("meet"), "Greeter").event.input is None
    assert AgentEvent.model_validate_json('{"name": "meet"}') == AgentEvent("meet")
    assert list(ScheduleRange(1, 9, 4).values()) == [1, 5, 9]
    with pytest.raises(TypeError, match="AgentEvent takes name, input, got 3 values"):
        AgentEvent("meet", None, 1)  # type: ignore[call-arg]  # the mistake
    with pytest.raises(TypeError, match="multiple values for keyword argument 'name'"):
        AgentEvent("meet", name="meet")  # type: ignore[misc]  # the mistake
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        AgentEvent.model_validate_json('{"name": "meet", "inptu": 1}')


def test_what_has_no_meaning_is_said_once(said: pytest.LogCaptureFixture) -> None:
    """Options of another engine are accepted; each is named once, and what means to be local is not."""
    Restack(CloudConnectionOptions(engine_id="local", api_key=None))
    assert said.messages == []
    for _ in range(2):
        Restack(CloudConnectionOptions(engine_id="e1", api_key="secret", address="engine.example:7233"))
    assert [message.split(" ")[0] for message in said.messages] == [
        "CloudConnectionOptions(engine_id=…)",
        "CloudConnectionOptions(api_key=…)",
        "CloudConnectionOptions(address=…)",
    ]
    assert "secret" not in said.text


def test_codecs_are_not_applied_and_that_is_said(said: pytest.LogCaptureFixture) -> None:
    """Whoever configures encryption reads that nothing is encrypted."""
    codec = SensitiveFieldsCodec(create_aes_gcm_encryption(KEY))
    Restack(CloudConnectionOptions("e", "", data_converter=converter.default(), payload_codecs=[codec]))
    assert said.text.count("NOT ENCRYPTED") == 2


def test_defaults_of_a_service_say_nothing(said: pytest.LogCaptureFixture) -> None:
    """The options that everybody gives are no reason for a warning."""
    Limits.of(ServiceOptions(), None)
    Limits.of(None, ResourceOptions())
    assert said.messages == []
    Limits.of(ServiceOptions(webhook_url="https://hook.example", endpoint_group="g"), None)
    ignored("mcp", "there is none")
    assert len(said.messages) == 3


class Signup(BaseModel):
    mail: str
    password: Sensitive[str]


async def test_sensitive_fields_are_encrypted_and_come_back() -> None:
    """Only what is marked is encrypted, each time differently; the model comes back as it was."""
    codec = SensitiveFieldsCodec(create_aes_gcm_encryption(KEY))
    signup = Signup(mail="ada@example.com", password=Sensitive(value="hunter2"))
    plain = Payload({"encoding": b"json/plain"}, signup.model_dump_json().encode())
    once, twice = [(await codec.encode([plain]))[0].data for _ in range(2)]
    assert b"hunter2" not in once
    assert b"ada@example.com" in once
    assert once != twice
    (back,) = await codec.decode([Payload(plain.metadata, once)])
    restored = Signup.model_validate_json(back.data)
    assert (restored, restored.password.unwrap()) == (signup, "hunter2")
    assert json.loads((await codec.decode([plain]))[0].data)["password"] == sensitive("hunter2")
    binary = Payload({"encoding": b"binary/plain"}, os.urandom(9))
    assert await codec.encode([binary]) == [binary]


async def test_encryption_refuses_what_is_not_its_own() -> None:
    """A key of another length and another algorithm are named."""
    with pytest.raises(ValueError, match="a key of 32 bytes, got 3"):
        create_aes_gcm_encryption(b"abc")
    encryption = create_aes_gcm_encryption(KEY)
    with pytest.raises(ValueError, match="'ROT13', not with AES-256-GCM"):
        await encryption.decrypt(b"", b"", "ROT13")


class Reversing(PayloadCodec):
    """A codec as users write it: the whole payload becomes the data of another."""

    async def encode(self, payloads: Any) -> list[Payload]:
        return [Payload({"encoding": b"binary/reversed"}, payload.SerializeToString()[::-1]) for payload in payloads]

    async def decode(self, payloads: Any) -> list[Payload]:
        return [Payload.FromString(payload.data[::-1]) for payload in payloads]


async def test_codec_in_a_converter() -> None:
    """A converter with a codec of the user's turns values into payloads and back."""
    import dataclasses

    with_codec = dataclasses.replace(converter.default(), payload_codec=Reversing())
    values = [{"a": 1}, None, "text"]
    payloads = await with_codec.encode(values)
    assert {payload.metadata["encoding"] for payload in payloads} == {b"binary/reversed"}
    assert await with_codec.decode(payloads) == values


class Order(BaseModel):
    mail: Signup


class Shop:
    """Sells."""

    async def run(self, order: Order) -> Signup:
        return order.mail


def test_schemas() -> None:
    """A class is described by the schemas of its input and output, whose definitions carry its name."""
    details = explore_class_details(Shop)
    assert (details["name"], details["description"]) == ("Shop", "Sells.")
    assert "Shop_Signup" in details["input_schema"]["$defs"]
    assert details["input_schema"]["properties"]["mail"] == {"$ref": "#/$defs/Shop_Signup"}
    assert details["output_schema"]["title"] == "Signup"
    assert explore_class_details(len)["input_schema"] == {}


@pytest.mark.parametrize(
    ("address", "https"),
    [("localhost:6233", False), ("10.1.2.3", False), ("api.example.com:443", True), ("db", False), ("", False)],
)
def test_addresses(address: str, https: bool) -> None:
    """Addresses of the public network want https; calls per minute become calls per second."""
    assert should_use_https(address) is https
    assert rpm_to_second(90) == 1.5


def test_log_with_context(caplog: pytest.LogCaptureFixture) -> None:
    """A line has the level that is named, and its fields."""
    log_with_context("WARNING", "Low", left=3)
    assert caplog.record_tuples == [("agent", logging.WARNING, "Low left=3")]


def chunk(text: str | None, finish: str | None = None) -> ChatCompletionChunk:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    fields = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return ChatCompletionChunk.model_validate(fields)


def chunks() -> Iterator[ChatCompletionChunk]:
    yield from (chunk("Hel"), chunk("lo"), chunk(None, "stop"))


async def async_chunks() -> AsyncIterator[Any]:
    yield {"type": "response.output_text.delta", "delta": "Hello"}
    yield {"type": "response.completed", "response": {"id": "r1", "usage": {"total_tokens": 5}}}


async def test_streams_are_read_to_their_end(said: pytest.LogCaptureFixture) -> None:
    """A stream of an LLM, async or not, is collected, and keeps the function alive; where it is shown is said once."""
    info = FunctionInfo(name="f", task_queue="q", agent_id="a")
    with pytest.raises(DefinitionError, match="No function runs here"):
        await stream_to_websocket(data=chunks())
    enter(info)
    answer = await stream_to_websocket(api_address="localhost:9233", data=chunks())
    assert (answer["text"], answer["event_count"], answer["has_completion"]) == ("Hello", 3, True)
    assert info.heartbeat_details == (2,)
    answer = await stream_to_websocket(data=async_chunks())
    assert (answer["text"], answer["response_id"], answer["usage"]) == ("Hello", "r1", {"total_tokens": 5})
    assert json.dumps(answer)
    assert said.text.count("the gateway of this service shows the stream") == 1


async def test_streams_are_told_to_who_watches() -> None:
    """Each chunk is told to who watches the agent or its run, as it comes, and the end; no one else hears it."""
    enter(FunctionInfo(name="f", task_queue="q", agent_id="a", run_id="r"))
    with watching("a") as agent, watching("a", "r") as run, watching("a", "s") as other, watching("b") as stranger:
        await stream_to_websocket(data=chunks())
        await asyncio.sleep(0)  # what is told comes by the loop
        told = [agent.pieces.get_nowait() for _ in range(agent.pieces.qsize())]
    assert [json.loads(piece)["choices"][0]["delta"]["content"] for piece in told[:-1] if piece] == ["Hel", "lo", None]
    assert told[-1] == "[DONE]"
    assert (run.pieces.qsize(), other.pieces.qsize(), stranger.pieces.qsize()) == (4, 0, 0)


async def test_who_falls_behind_is_let_go() -> None:
    """A watcher who does not read keeps a thousand pieces and not one more."""
    with watching("a") as slow:
        for number in range(2000):
            tell("a", "r", str(number))
        await asyncio.sleep(0)
        assert slow.pieces.qsize() == 1001
        assert slow.gone


async def test_progress_is_a_heartbeat() -> None:
    """A function says how far it is; outside of one nobody hears it."""
    info = FunctionInfo(name="f", task_queue="q", agent_id="a")
    assert mcp_progress(1) is False
    enter(info)
    assert mcp_progress(25, 100, "Loading") is True
    assert info.heartbeat_details == ({"progress": 25.0, "total": 100, "message": "Loading"},)
    assert function.in_activity()
    assert function.info().activity_type == "f"
    assert function.info().started_time <= datetime.now(UTC)
