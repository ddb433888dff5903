"""`app/web/auth.py`: static tokens, and what the settings must say. Where the gateway may listen without them."""

import pytest

from app.errors import UsageError
from app.settings import Settings
from app.web.app import require_users_known
from app.web.auth import build_authenticator
from tests.support.gateway import ALICE, TOKENS, bearer, gateway


def settings(**fields: object) -> Settings:
    return Settings(_env_file=None, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": ALICE},
        {"authorization": f"Basic {ALICE}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {ALICE}x"},
        {"authorization": f"Bearer {ALICE[:-1]}"},
        {"authorization": f"Bearer {ALICE.upper()}"},
        {"authorization": "Bearer alice"},
        {"authorization": f"Bearer alice:{ALICE}"},
        {"authorization": "Bearer " + "x" * 10_000},
        {"authorization": "Bearer a.b.c"},
        {"cookie": f"token={ALICE}"},
        {"x-forwarded-user": "alice"},
    ],
)
async def test_who_has_no_good_token_is_told_nothing(headers: dict[str, str]) -> None:
    """All that is wrong with a token gives the same answer, on every path but the page's."""
    async with gateway(web_tokens=TOKENS) as http:
        for path in ("/me", "/chats", "/chats/alice", "/agents", "/nothing", f"/me?token={ALICE}&access_token={ALICE}"):
            answer = await http.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["message"] == "Sign in first: a bearer token is needed."
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await http.get("/", headers=headers)).status_code == 200


async def test_two_tokens_are_none() -> None:
    """A request with two Authorization headers is nobody's."""
    async with gateway(web_tokens=TOKENS) as http:
        headers = [*bearer(ALICE).items(), *bearer(ALICE).items()]
        assert (await http.get("/me", headers=headers)).status_code == 401


async def test_guessing_is_slowed_down_and_good_tokens_are_not() -> None:
    """Who sends many wrong tokens gets 429; a good one from the same address is served."""
    async with gateway(web_tokens=TOKENS) as http:
        seen = {(await http.get("/me", headers=bearer("wrong" * 5))).status_code for _ in range(40)}
        assert seen == {401, 429}
        assert (await http.get("/me", headers=bearer(ALICE))).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_good_token_is_let_in(scheme: str) -> None:
    """The scheme may be written in any case."""
    async with gateway(web_tokens=TOKENS) as http:
        assert (await http.get("/me", headers={"authorization": f"{scheme} {ALICE}"})).json()["user"] == "alice"


@pytest.mark.parametrize(
    "tokens",
    [
        "secret-secret-secret",
        "alice:short-secret",
        ":secret-secret-secret",
        "alice:secret-secret-secret,",
        "a:secret sécret secret x",
        "alice:secret-secret-secret,bob:secret-secret-secret",
        " ",
    ],
)
def test_wrong_tokens_are_said_without_being_shown(tokens: str) -> None:
    """A setting that does not fit is one sentence with the cure, and nothing of the tokens in it."""
    with pytest.raises(UsageError) as refused:
        build_authenticator(settings(web_tokens=tokens))
    assert "WEB_TOKENS" in refused.value.message
    assert "secret" not in refused.value.message


def test_settings_do_not_show_tokens() -> None:
    """Neither settings nor what is built of them have a token in their text."""
    built = build_authenticator(settings(web_tokens=TOKENS))
    assert ALICE not in repr(settings(web_tokens=TOKENS))
    assert ALICE not in repr(vars(built))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "no-such-host.invalid", "0"])  # noqa: S104 - refused
def test_other_addresses_need_authentication(host: str) -> None:
    """Beyond loopback the gateway is not started without tokens, and says what to set."""
    with pytest.raises(UsageError) as refused:
        require_users_known(settings(web_host=host))
    assert "WEB_TOKENS" in refused.value.message
    require_users_known(settings(web_host=host, web_tokens=TOKENS))
    require_users_known(settings(web_host=host, oidc_issuer="https://issuer.example", oidc_audience="chat"))
    require_users_known(settings(web_host=host, web_port="none"))


def test_another_name_needs_authentication() -> None:
    """On loopback under a name of its own there is a proxy before the gateway: it is not started without tokens."""
    with pytest.raises(UsageError) as refused:
        require_users_known(settings(web_allowed_hosts="chat.example"))
    assert "WEB_ALLOWED_HOSTS=chat.example" in refused.value.message
    require_users_known(settings(web_allowed_hosts="chat.example", web_tokens=TOKENS))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    """On loopback a first run needs no tokens."""
    require_users_known(settings(web_host=host))


@pytest.mark.parametrize(
    "fields",
    [
        {"oidc_issuer": "https://issuer.example"},
        {"oidc_issuer": "http://issuer.example", "oidc_audience": "chat"},
        {"oidc_issuer": "issuer.example", "oidc_audience": "chat"},
        {"oidc_issuer": "http://localhost.evil.example", "oidc_audience": "chat"},
    ],
)
def test_an_unsafe_issuer_is_refused(fields: dict[str, str]) -> None:
    """An issuer without an audience, or whose keys anybody on the way could change, is refused at the start."""
    with pytest.raises(UsageError):
        build_authenticator(settings(**fields))
