"""Sensitive fields: marked in JSON data, and encrypted and decrypted by a codec that is given the key.

Encrypts what it is handed. Nothing here is applied to what Restate stores.
"""

import base64
import json
import os
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, model_serializer, model_validator

from app.background.published.payload import Payload, PayloadCodec

__all__ = [
    "ENCRYPTED_MARKER_KEY",
    "SENSITIVE_MARKER_KEY",
    "Sensitive",
    "SensitiveEncryption",
    "SensitiveFieldsCodec",
    "create_aes_gcm_encryption",
    "sensitive",
]

T = TypeVar("T")

SENSITIVE_MARKER_KEY = "__restack_sensitive__"
ENCRYPTED_MARKER_KEY = "__restack_encrypted__"
_VERSION = "v1"
_ALGORITHM = "AES-256-GCM"
_KEY_BYTES = 32
_NONCE_BYTES = 12  # of the algorithm


class Sensitive(BaseModel, Generic[T]):
    """A value that a SensitiveFieldsCodec encrypts. `unwrap()` gives it back."""

    value: T

    def unwrap(self) -> T:
        return self.value

    @model_serializer(mode="plain")
    def _mark(self) -> dict[str, Any]:
        return sensitive(self.value)

    @model_validator(mode="before")
    @classmethod
    def _unmark(cls, data: Any) -> Any:
        return {"value": data["value"]} if _is_marked(data) else data


def sensitive(value: Any) -> dict[str, Any]:
    """Mark a value in plain data, as `Sensitive` does in a model."""
    return {SENSITIVE_MARKER_KEY: True, "value": value}


@runtime_checkable
class SensitiveEncryption(Protocol):
    """What a SensitiveFieldsCodec encrypts with."""

    async def encrypt(self, plaintext: bytes) -> tuple[bytes, bytes, str]:
        """Return nonce, ciphertext and the name of the algorithm."""
        ...

    async def decrypt(self, iv: bytes, ciphertext: bytes, alg: str) -> bytes:
        """Return the plaintext."""
        ...


def create_aes_gcm_encryption(key: bytes) -> SensitiveEncryption:
    """Return AES-256-GCM with a fresh nonce for each value.

    Errors: ValueError unless the key has 32 bytes; ImportError without the package `cryptography`.
    """
    if len(key) != _KEY_BYTES:
        raise ValueError(f"create_aes_gcm_encryption() needs a key of {_KEY_BYTES} bytes, got {len(key)}")
    return _AesGcm(key)


class _AesGcm:
    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as exc:
            raise ImportError("Encryption needs one more package: pip install cryptography") from exc
        self._cipher = AESGCM(key)

    async def encrypt(self, plaintext: bytes) -> tuple[bytes, bytes, str]:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce, self._cipher.encrypt(nonce, plaintext, None), _ALGORITHM

    async def decrypt(self, iv: bytes, ciphertext: bytes, alg: str) -> bytes:
        if alg != _ALGORITHM:
            raise ValueError(f"This was encrypted with {alg!r}, not with {_ALGORITHM}")
        return bytes(self._cipher.decrypt(iv, ciphertext, None))


class SensitiveFieldsCodec(PayloadCodec):
    """Encrypts what is marked as sensitive in JSON payloads, and leaves the rest readable."""

    def __init__(self, encryption: SensitiveEncryption) -> None:
        self.encryption = encryption

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [await self._changed(payload, encrypt=True) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [await self._changed(payload, encrypt=False) for payload in payloads]

    async def _changed(self, payload: Payload, *, encrypt: bool) -> Payload:
        if payload.metadata.get("encoding") != b"json/plain" or not payload.data:
            return payload
        try:
            data = json.loads(payload.data)
        except ValueError:
            return payload
        return Payload(dict(payload.metadata), json.dumps(await self._walk(data, encrypt=encrypt)).encode())

    async def _walk(self, node: Any, *, encrypt: bool) -> Any:
        if encrypt and _is_marked(node):
            nonce, ciphertext, algorithm = await self.encryption.encrypt(json.dumps(node["value"]).encode())
            return {ENCRYPTED_MARKER_KEY: _VERSION, "alg": algorithm, "iv": _text(nonce), "ct": _text(ciphertext)}
        if not encrypt and isinstance(node, dict) and node.get(ENCRYPTED_MARKER_KEY) == _VERSION:
            nonce, ciphertext = base64.b64decode(node["iv"]), base64.b64decode(node["ct"])
            return sensitive(json.loads(await self.encryption.decrypt(nonce, ciphertext, node["alg"])))
        if isinstance(node, list):
            return [await self._walk(child, encrypt=encrypt) for child in node]
        if isinstance(node, dict):
            return {name: await self._walk(child, encrypt=encrypt) for name, child in node.items()}
        return node


def _is_marked(node: Any) -> bool:
    return isinstance(node, dict) and node.get(SENSITIVE_MARKER_KEY) is True and "value" in node


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
