"""Payloads and their codecs, in the shape of the published library, so that code which defines codecs can be imported.

Nothing here is applied to what Restate stores: `ignored.py` says so when a client is given a codec.
"""

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Payload:
    """A value as bytes, with what says how to read it."""

    metadata: dict[str, bytes] = field(default_factory=dict)
    data: bytes = b""

    def SerializeToString(self) -> bytes:  # noqa: N802 - the published name
        """Return the payload as bytes, for `FromString`."""
        metadata = {name: _text(value) for name, value in self.metadata.items()}
        return json.dumps({"metadata": metadata, "data": _text(self.data)}).encode()

    @classmethod
    def FromString(cls, text: bytes) -> Self:  # noqa: N802 - the published name
        """Return what `SerializeToString` wrote."""
        found = json.loads(text)
        metadata = {name: base64.b64decode(value) for name, value in found["metadata"].items()}
        return cls(metadata=metadata, data=base64.b64decode(found["data"]))


@dataclass
class Payloads:
    """Several payloads."""

    payloads: list[Payload] = field(default_factory=list)


class PayloadCodec(ABC):
    """Turns payloads into others and back."""

    @abstractmethod
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]: ...

    @abstractmethod
    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]: ...


@dataclass(frozen=True)
class DataConverter:
    """From values to payloads: JSON, then the codec if there is one."""

    payload_converter_class: Any = None
    payload_codec: PayloadCodec | None = None
    failure_converter_class: Any = None

    async def encode(self, values: Iterable[Any]) -> list[Payload]:
        """Return values as payloads."""
        plain = [Payload({"encoding": b"json/plain"}, json.dumps(value).encode()) for value in values]
        return plain if self.payload_codec is None else await self.payload_codec.encode(plain)

    async def decode(self, payloads: Sequence[Payload], type_hints: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the values of payloads, as JSON has them."""
        del type_hints
        plain = list(payloads) if self.payload_codec is None else await self.payload_codec.decode(payloads)
        return [json.loads(payload.data) for payload in plain]


def default() -> DataConverter:
    """Return the converter without a codec."""
    return DataConverter()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
