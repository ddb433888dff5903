"""The gateway as one application: its routes, put together, behind the guard.

Builds it. Starts nothing.
"""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import AgentError, UsageError
from app.hosting.place import Place
from app.settings import Settings
from app.web import agents, agui, chats, files, mcp, openai
from app.web.auth import build_authenticator
from app.web.gateway import Gateway
from app.web.guard import Guard
from app.web.refusals import on_agent_error, on_bug, on_http_error
from app.web.uploads import routes as uploads


def routes() -> list[BaseRoute]:
    """Return every route of the gateway. The guard stands before all of them.

    A route gets the key of a chat by `chat_of`, which lets nobody into another's, and all else by `gateway_of`.
    """
    return [
        *files.routes(),
        *chats.routes(),
        *uploads.routes(),
        *agents.routes(),
        *agui.routes(),
        *openai.routes(),
        *mcp.routes(),
    ]


class GatewayApp:
    """The application. `end` ends its streams, `close` its connections."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def end(self) -> None:
        """End open streams: the process is asked to end."""
        self.gateway.ending.set()

    async def close(self) -> None:
        await self.gateway.close()


def build_gateway(settings: Settings) -> GatewayApp:
    """Return the gateway. Errors: UsageError where anybody on the network could use it."""
    require_users_known(settings)
    gateway = Gateway(settings)
    starlette = Starlette(
        routes=routes(),
        exception_handlers={HTTPException: on_http_error, AgentError: on_agent_error, Exception: on_bug},
    )
    starlette.router.redirect_slashes = False  # it would answer with the Host that somebody sent
    starlette.state.gateway = gateway
    return GatewayApp(Guard(starlette, settings, build_authenticator(settings)), gateway)


def require_users_known(settings: Settings) -> None:
    """Raise UsageError if the gateway would listen beyond this machine and serve whoever calls.

    It also checks the settings of authentication, so that what is wrong is said before anything starts.
    """
    if settings.web_port is None:
        return
    if build_authenticator(settings):
        return
    if Place(settings.web_host, settings.web_port, "WEB_PORT").is_loopback:
        if not settings.web_allowed_hosts:
            return
        # Who has another name for it has a proxy before it.
        open_by = f"WEB_ALLOWED_HOSTS={','.join(settings.web_allowed_hosts)}"
    else:
        open_by = f"WEB_HOST={settings.web_host}"
    raise UsageError(
        f"{open_by} lets other machines use the gateway, and with it every chat. Set WEB_TOKENS, or OIDC_ISSUER and "
        "OIDC_AUDIENCE, or leave it out; or WEB_PORT=none to go without a gateway."
    )
