"""Who a bearer token stands for: a static token of WEB_TOKENS, or a JSON Web Token of OIDC_ISSUER.

Keeps digests of tokens, never the tokens. Says of a token only that it is good or not.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Protocol

from app.errors import UsageError
from app.settings import Settings
from app.web.caller import How

MIN_TOKEN_CHARS = 16
MAX_TOKEN_CHARS = 8192  # of any kind; no issuer writes longer ones into a header
_MAKE_ONE = "Make one by `openssl rand -hex 32`"


@dataclass(frozen=True)
class User:
    """A user, and how we know."""

    name: str
    how: How


class Authentication(Protocol):
    """Knows users by their tokens."""

    async def user_of(self, token: str) -> str | None:
        """Return the name of the user, None for a token that is not good. Errors: Refused (503) if nobody can say."""


class StaticTokens:
    """The tokens of WEB_TOKENS, as digests."""

    def __init__(self, tokens: str) -> None:
        self._users = [(_digest(token), user) for user, token in _parsed(tokens)]

    async def user_of(self, token: str) -> str | None:
        digest, found = _digest(token), None
        for known, user in self._users:  # all of them: how long it takes tells nothing
            if hmac.compare_digest(known, digest):
                found = user
        return found


class Authenticator:
    """All ways to sign in that are set up."""

    def __init__(self, ways: dict[How, Authentication]) -> None:
        self._ways = ways

    async def user_of(self, token: str) -> User | None:
        """Return who a token stands for, None if nobody. Errors: Refused (503)."""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            return None
        for how, way in self._ways.items():
            if (name := await way.user_of(token)) is not None:
                return User(name, how)
        return None


def build_authenticator(settings: Settings) -> Authenticator | None:
    """Return the ways to sign in that the settings name, None if they name none.

    Errors: UsageError for settings that do not fit, without any token in it.
    """
    ways: dict[How, Authentication] = {}
    if settings.web_tokens is not None:
        ways["token"] = StaticTokens(settings.web_tokens.get_secret_value())
    if settings.oidc_issuer is not None:
        if settings.oidc_audience is None:
            raise UsageError("OIDC_ISSUER needs OIDC_AUDIENCE: the name by which the issuer knows this service.")
        from app.web.jwt_issuer import JwtIssuer  # it takes 50 ms to import, which most starts do not need

        ways["jwt"] = JwtIssuer(
            settings.oidc_issuer,
            settings.oidc_audience,
            user_claim=settings.oidc_user_claim,
            leeway_s=settings.oidc_leeway_s,
        )
    return Authenticator(ways) if ways else None


def _parsed(tokens: str) -> list[tuple[str, str]]:
    """Return users and their tokens. Errors: UsageError says which entry is wrong, not what is in it."""
    parsed = []
    for number, entry in enumerate((each.strip() for each in tokens.split(",")), 1):
        user, colon, token = entry.partition(":")
        if not (user.strip() and colon):
            raise UsageError(f"Entry {number} of WEB_TOKENS is not `user:token`. {_MAKE_ONE}.")
        if len(token) < MIN_TOKEN_CHARS or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(
                f"The token in entry {number} of WEB_TOKENS has fewer than {MIN_TOKEN_CHARS} characters, or others "
                f"than ASCII. {_MAKE_ONE}."
            )
        parsed.append((user.strip(), token))
    if len({token for _, token in parsed}) < len(parsed):
        raise UsageError("Two entries of WEB_TOKENS have the same token: give each its own.")
    return parsed


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
