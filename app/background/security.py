"""The module `security` of the published library: payloads, codecs, and fields to be encrypted.

A list of names. Nothing is encrypted by itself.
"""

from app.background.published import payload as converter
from app.background.published.payload import DataConverter, Payload, PayloadCodec, Payloads
from app.background.sensitive_codec import (
    ENCRYPTED_MARKER_KEY,
    SENSITIVE_MARKER_KEY,
    Sensitive,
    SensitiveEncryption,
    SensitiveFieldsCodec,
    create_aes_gcm_encryption,
    sensitive,
)

__all__ = [
    "ENCRYPTED_MARKER_KEY",
    "SENSITIVE_MARKER_KEY",
    "DataConverter",
    "Payload",
    "PayloadCodec",
    "Payloads",
    "Sensitive",
    "SensitiveEncryption",
    "SensitiveFieldsCodec",
    "converter",
    "create_aes_gcm_encryption",
    "sensitive",
]
