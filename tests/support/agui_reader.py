"""The official AG-UI client in miniature: checks the order of events and builds the list of messages from them.

As `@ag-ui/client` does it (verify and apply), so that random streams can be read without starting node.
"""

from typing import Any

from ag_ui.core import BaseEvent


class Reader:
    """What one client has after each event. `errors` are violations of the order of events."""

    def __init__(self, known: list[dict[str, Any]] | None = None) -> None:
        self.messages: list[dict[str, Any]] = list(known or [])
        self.open: set[str] = set()
        self.types: list[str] = []
        self.ended = False

    def read(self, *events: BaseEvent) -> None:
        """Take events as they come; AssertionError if the official client would refuse one."""
        for event in events:
            data = event.model_dump(mode="json", by_alias=True)
            self.types.append(data["type"])
            assert not self.ended, f"{data['type']} after the end"
            getattr(self, f"_{data['type'].lower()}", lambda _: None)(data)

    @property
    def lines(self) -> list[tuple[str, str]]:
        shown = [message for message in self.messages if message["role"] != "reasoning"]
        return [(message["role"], message.get("content") or "") for message in shown]

    @property
    def thoughts(self) -> list[str]:
        return [message["content"] for message in self.messages if message["role"] == "reasoning"]

    def _find(self, message_id: str) -> dict[str, Any] | None:
        return next((message for message in self.messages if message["id"] == message_id), None)

    def _text_message_start(self, event: dict[str, Any]) -> None:
        assert event["messageId"] not in self.open, "START of an open message"
        self.open.add(event["messageId"])
        if self._find(event["messageId"]) is None:
            self.messages.append({"id": event["messageId"], "role": event["role"], "content": ""})

    def _text_message_content(self, event: dict[str, Any]) -> None:
        assert event["messageId"] in self.open, "CONTENT of a message that is not open"
        message = self._find(event["messageId"])
        assert message is not None
        message["content"] += event["delta"]

    def _text_message_end(self, event: dict[str, Any]) -> None:
        assert event["messageId"] in self.open, "END of a message that is not open"
        self.open.discard(event["messageId"])

    _reasoning_message_start = _text_message_start
    _reasoning_message_content = _text_message_content
    _reasoning_message_end = _text_message_end

    def _messages_snapshot(self, event: dict[str, Any]) -> None:
        news = {message["id"]: dict(message) for message in event["messages"]}
        ours = [each for each in self.messages if each["id"] in news or each["role"] == "reasoning"]
        kept = [news.pop(each["id"], each) for each in ours]
        self.messages = [*kept, *news.values()]

    def _tool_call_start(self, event: dict[str, Any]) -> None:
        calls = [call["id"] for message in self.messages for call in message.get("toolCalls") or ()]
        assert event["toolCallId"] not in calls, "a call twice: its arguments double"
        parent = self._find(event["parentMessageId"])
        if parent is None:
            parent = {"id": event["parentMessageId"], "role": "assistant"}
            self.messages.append(parent)
        call = {"id": event["toolCallId"], "function": {"name": event["toolCallName"], "arguments": ""}}
        parent["toolCalls"] = [*(parent.get("toolCalls") or ()), call]

    def _tool_call_args(self, event: dict[str, Any]) -> None:
        calls = [call for message in self.messages for call in message.get("toolCalls") or ()]
        next(call for call in calls if call["id"] == event["toolCallId"])["function"]["arguments"] += event["delta"]

    def _tool_call_result(self, event: dict[str, Any]) -> None:
        assert self._find(event["messageId"]) is None, "a result twice"
        line = {
            "id": event["messageId"],
            "role": "tool",
            "content": event["content"],
            "toolCallId": event["toolCallId"],
        }
        for at, message in enumerate(self.messages, 1):
            if event["toolCallId"] in [call["id"] for call in message.get("toolCalls") or ()]:
                while at < len(self.messages) and self.messages[at]["role"] == "tool":
                    at += 1
                self.messages.insert(at, line)
                return
        self.messages.append(line)

    def _run_finished(self, _: dict[str, Any]) -> None:
        assert not self.open, "RUN_FINISHED while a message is open"
        self.ended = True

    def _run_error(self, _: dict[str, Any]) -> None:
        self.ended = True
