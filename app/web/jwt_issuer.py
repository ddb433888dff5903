"""JSON Web Tokens of one issuer: finds its keys, and checks tokens against them.

PyJWT reads keys and checks signatures and claims. Here is only when keys are fetched, and what is trusted.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
from pydantic_core import from_json

from app.errors import UsageError
from app.web.refusals import later

# Only what is signed by a key that nobody but the issuer has: no `none`, and no HMAC, whose key a public one could be.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
KEYS_FRESH_S = 300.0
KEYS_KEPT_S = 3600.0  # while the issuer cannot be reached
ASK_AGAIN_S = 10.0  # at most that often for a key nobody knows: anyone can send a token that names one
_FETCH_S = 5.0
_MAX_BYTES = 2**20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

# What an answer can be instead of keys.
_NO_KEYS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    TimeoutError,
    ValueError,
    KeyError,
    TypeError,
    UsageError,
    jwt.PyJWTError,
)

logger = logging.getLogger("gateway")


class JwtIssuer:
    """The issuer at `issuer`, whose tokens are good if they are for `audience`."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        user_claim: str = "sub",
        leeway_s: float = 30,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._user_claim = user_claim
        self._leeway_s = leeway_s
        self._transport = transport
        self._clock = clock
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")
        self._fetching = asyncio.Lock()
        _require_safe(issuer, "OIDC_ISSUER")

    async def user_of(self, token: str) -> str | None:
        """Return the user whom a token names, None if the token is not good. Errors: Refused (503) without any keys."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            return None
        key = await self._key(header.get("kid"), algorithm)
        return None if key is None else self._user_in(token, key, algorithm)

    def _user_in(self, token: str, key: jwt.PyJWK, algorithm: str) -> str | None:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway_s,
                options={"require": ["exp", "iss", "aud", self._user_claim]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        user = claims[self._user_claim]
        return user if isinstance(user, str) and user.strip() and _is_text(user) else None

    async def _key(self, key_id: object, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names, fetched again if it is a new one."""
        await self._refresh(KEYS_FRESH_S)
        found = self._find(key_id, algorithm)
        if found is None:
            await self._refresh(ASK_AGAIN_S)
            found = self._find(key_id, algorithm)
        return found

    def _find(self, key_id: object, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in self._keys if key.algorithm_name == algorithm]
        if key_id is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.key_id == key_id), None)

    async def _refresh(self, older_than_s: float) -> None:
        """Fetch the keys if those we have are older, once for all who wait. Errors: Refused (503) without any keys."""
        async with self._fetching:
            now = self._clock()
            if now - self._fetched_at < older_than_s:
                return
            if now - self._asked_at >= ASK_AGAIN_S:  # not even while it fails: each request would wait for it
                self._asked_at = now
                try:
                    self._keys = await self._fetched()
                    self._fetched_at = self._clock()
                except _NO_KEYS as exc:
                    logger.warning("Cannot fetch the keys of OIDC_ISSUER %s: %r", self._issuer, exc)
            if now - self._fetched_at > KEYS_KEPT_S:
                raise later(503, "Nobody can sign in at the moment: try again.", ASK_AGAIN_S)

    async def _fetched(self) -> list[jwt.PyJWK]:
        async with asyncio.timeout(_FETCH_S), httpx.AsyncClient(timeout=_FETCH_S, transport=self._transport) as http:
            found = await _json(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found["issuer"] != self._issuer:
                raise ValueError(f"it calls itself {found['issuer']!r}: set OIDC_ISSUER to exactly that")
            _require_safe(found["jwks_uri"], "its jwks_uri")
            described = await _json(http, found["jwks_uri"])
        return [key for each in described["keys"] if (key := _key_of(each)) is not None]


async def _json(http: httpx.AsyncClient, url: str) -> Any:
    async with http.stream("GET", url) as answer:
        answer.raise_for_status()
        content = bytearray()
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > _MAX_BYTES:
                raise ValueError(f"{url} answers with more than {_MAX_BYTES} bytes")
    return from_json(bytes(content))


def _key_of(described: dict[str, Any]) -> jwt.PyJWK | None:
    """Return a key for signatures, None for one that we cannot use."""
    if described.get("use", "sig") != "sig" or described.get("kty") == "oct":
        return None
    try:
        return jwt.PyJWK(described)
    except jwt.PyJWTError:
        return None


def _require_safe(url: str, what: str) -> None:
    """Check that nobody on the way can put in keys of their own. Errors: UsageError."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UsageError(f"{what} {url!r} is no URL.") from None
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise UsageError(f"{what} {url!r} must begin with https://, as anybody on the way could answer in its place.")


def _is_text(user: str) -> bool:
    try:
        user.encode()
    except UnicodeEncodeError:
        return False
    return True
