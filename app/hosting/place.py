"""Where a server listens, and the setting that moves it.

Opens sockets and asks for addresses only when it is told to. Knows nothing of what is served there.
"""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Self

import httpx

from app.errors import UsageError

_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Place:
    """An address that can both be listened on and be called. `setting` is the variable that holds it."""

    host: str
    port: int
    setting: str

    @classmethod
    def of_url(cls, url: str, setting: str) -> Self:
        parsed = httpx.URL(url)
        # The name `localhost` may stand for two addresses, of which a server would listen on one.
        host = "127.0.0.1" if parsed.host == "localhost" else parsed.host
        return cls(host=host, port=parsed.port or 80, setting=setting)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can reach it. A name counts if all that it stands for is loopback."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            return False
        return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)

    @property
    def url(self) -> str:
        """Where this machine calls what listens here."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 - compared, not bound
        return f"http://{Place(host, self.port, self.setting)}"

    def listen(self) -> socket.socket:
        """Return a socket that listens here.

        Errors: UsageError names the place, the reason and the setting to change.
        """
        try:
            return socket.create_server((self.host, self.port), family=self._family)
        except OSError as error:
            reason = str(error.strerror or error).partition(" (while")[0]  # which repeats the place
            raise UsageError(
                f"Cannot listen on {self}: {reason}. Stop what is there, or set {self.setting} to another."
            ) from error

    def require_free(self) -> None:
        """Raise UsageError, as `listen` does, unless something can listen here."""
        self.listen().close()

    @property
    def _family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET


def is_same_place(one: str, other: str) -> bool:
    """Return whether two URLs are one place. `localhost`, 127.0.0.1 and [::1] are."""
    return _where(one) == _where(other)


def _where(url: str) -> tuple[str, str, int, str]:
    parsed = httpx.URL(url)
    host = "127.0.0.1" if parsed.host in _THIS_MACHINE else parsed.host
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    return parsed.scheme, host, port, parsed.path.rstrip("/")
