"""`app/web/jwt_issuer.py`: which JSON Web Tokens are good, and when keys are fetched."""

import base64
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.web.jwt_issuer import ASK_AGAIN_S, KEYS_FRESH_S, KEYS_KEPT_S, JwtIssuer
from app.web.refusals import Refused

ISSUER = "https://issuer.example"
KEY, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
CURVE = ec.generate_private_key(ec.SECP256R1())


def public(key: Any, key_id: str, **fields: str) -> dict[str, Any]:
    algorithm = (
        jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    )
    described = json.loads(algorithm.to_jwk(key.public_key()))
    return {**described, "kid": key_id, "use": "sig", **fields}


class Issuer:
    """An issuer that counts how often it is asked."""

    def __init__(self) -> None:
        self.keys = [public(KEY, "one", alg="RS256"), public(CURVE, "curve", alg="ES256")]
        self.issuer = ISSUER
        self.jwks_uri = f"{ISSUER}/keys"
        self.status = 200
        self.asked = 0
        self.now = 1000.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/keys":
            return httpx.Response(self.status, json={"keys": self.keys})
        self.asked += 1
        assert request.url.path == "/.well-known/openid-configuration"
        return httpx.Response(self.status, json={"issuer": self.issuer, "jwks_uri": self.jwks_uri})

    def users(self, **options: Any) -> JwtIssuer:
        transport = httpx.MockTransport(self)
        return JwtIssuer(ISSUER, "chat", transport=transport, clock=lambda: self.now, **options)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


def token(key: Any = KEY, key_id: str | None = "one", algorithm: str = "RS256", /, **claims: Any) -> str:
    now = time.time()
    claims = {"iss": ISSUER, "aud": "chat", "sub": "alice", "exp": now + 60, "iat": now} | claims
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm, headers)


async def test_good_tokens_name_their_user(issuer: Issuer) -> None:
    """A token of the issuer, for us, in its time, names its user; the audience may be one of several."""
    users = issuer.users()
    assert await users.user_of(token()) == "alice"
    assert await users.user_of(token(aud=["other", "chat"])) == "alice"
    assert await users.user_of(token(CURVE, "curve", "ES256")) == "alice"
    assert await users.user_of(token(KEY, None)) == "alice"
    assert await users.user_of(token(exp=time.time() - 20)) == "alice"  # clocks differ
    assert await issuer.users(user_claim="email").user_of(token(email="a@b.example")) == "a@b.example"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"exp": time.time() - 120},
        {"exp": None},
        {"nbf": time.time() + 3600},
        {"iat": time.time() + 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": "  "},
    ],
)
async def test_tokens_that_say_something_else_are_refused(claims: dict[str, Any], issuer: Issuer) -> None:
    """Another issuer or audience, another time, or no user: nobody."""
    assert await issuer.users().user_of(token(**claims)) is None


async def test_signatures_of_others_are_refused(issuer: Issuer) -> None:
    """A key that the issuer does not have signs for nobody, whatever key the token names."""
    users = issuer.users()
    assert await users.user_of(token(OTHER)) is None
    assert await users.user_of(token(CURVE, "one", "ES256")) is None
    assert await users.user_of(token(KEY, "one", "RS512")) is None  # not what the key is for
    good = token()
    assert await users.user_of(good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB")) is None


async def test_no_algorithm_and_shared_secrets_are_refused(issuer: Issuer) -> None:
    """`none`, and HMAC with the public key as its secret, sign for nobody."""
    users = issuer.users()
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, claims = ({"typ": "JWT", "kid": "one"}, {"iss": ISSUER, "aud": "chat", "sub": "alice", "exp": 2**33})
    for algorithm in ("none", "None", "nOnE", "HS256"):
        head, body = (_part({**header, "alg": algorithm}), _part(claims))
        signature = (
            b""
            if algorithm != "HS256"
            else jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(f"{head}.{body}".encode(), pem)
        )
        assert await users.user_of(f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}") is None
    issuer.keys = [{"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"}]
    assert await issuer.users().user_of(token(b"secret" * 10, "one", "HS256")) is None


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b.c", "é.é.é", "{}.{}.{}", "x" * 9000, "eyJhbGciOiJSUzI1NiJ9..", "\0"]
)
async def test_what_is_no_token_is_refused(text: str, issuer: Issuer) -> None:
    """Any text may stand where a token is expected."""
    assert await issuer.users().user_of(text) is None


@pytest.mark.parametrize("user", [1, True, ["alice"], {"name": "alice"}])
async def test_a_user_is_a_text(user: Any, issuer: Issuer) -> None:
    """A claim of another type names nobody."""
    assert await issuer.users(user_claim="user").user_of(token(user=user)) is None


async def test_a_new_key_is_found(issuer: Issuer) -> None:
    """A token that names a key nobody knows yet has the keys fetched again, and the old key ends with the old list."""
    users = issuer.users()
    assert await users.user_of(token()) == "alice"
    issuer.keys = [public(OTHER, "two", alg="RS256")]
    issuer.now += ASK_AGAIN_S

    assert await users.user_of(token(OTHER, "two")) == "alice"
    assert await users.user_of(token()) is None


async def test_keys_that_nobody_knows_are_not_asked_for_each_time(issuer: Issuer) -> None:
    """Who sends tokens with invented keys cannot have us ask the issuer for each."""
    users = issuer.users()
    for number in range(50):
        assert await users.user_of(token(OTHER, f"invented-{number}")) is None
    assert issuer.asked == 1


async def test_keys_are_fetched_again_after_a_while(issuer: Issuer) -> None:
    """A key that the issuer has withdrawn is good for five minutes at most."""
    users = issuer.users()
    assert await users.user_of(token()) == "alice"
    issuer.keys = []
    issuer.now += KEYS_FRESH_S

    assert await users.user_of(token()) is None


async def test_while_the_issuer_is_away_its_keys_are_kept(issuer: Issuer) -> None:
    """Known keys are used for an hour; then, and without any, nobody can say who it is: 503, not 401."""
    users = issuer.users()
    assert await users.user_of(token()) == "alice"
    issuer.status = 500
    issuer.now += KEYS_KEPT_S - 1
    assert await users.user_of(token()) == "alice"
    issuer.now += ASK_AGAIN_S
    for each in (users, issuer.users()):
        with pytest.raises(Refused) as refused:
            await each.user_of(token())
        assert refused.value.status == 503


@pytest.mark.parametrize("what", ["issuer", "jwks_uri"])
async def test_an_issuer_that_is_not_itself_is_not_trusted(what: str, issuer: Issuer) -> None:
    """Keys are not taken from who calls itself something else, or has them where anybody could change them."""
    setattr(issuer, what, "http://evil.example/keys")
    with pytest.raises(Refused):
        await issuer.users().user_of(token())


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
