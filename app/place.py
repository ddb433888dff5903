"""Where a server listens, and the setting that moves it.

Opens sockets only when asked to; knows nothing of what is served there.
"""

import socket
from dataclasses import dataclass
from typing import Self

import httpx

from app.errors import UsageError


@dataclass(frozen=True)
class Place:
    """An address that can both be listened on and be called; `setting` is the variable that holds it."""

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
