"""The module `utils` of the published library.

Nothing of ours is here: what is ours has a name that says what it does.
"""

__all__ = ["rpm_to_second", "should_use_https"]

_LOCAL_NAMES = ("localhost", "127.0.0.1", "host.docker.internal")
_PRIVATE_NETS = ("10.", "192.168.", "172.")
_CLUSTER_NAMES = (".svc", ".svc.cluster.local")


def rpm_to_second(rpm: float) -> float:
    """Return calls per minute as calls per second, as `ServiceOptions.rate_limit` wants them."""
    return rpm / 60


def should_use_https(address: str) -> bool:
    """Return whether an address like `host:port` is one of the public network: it has a domain and is not local."""
    host = address.split(":", maxsplit=1)[0]
    local = host in _LOCAL_NAMES or host.startswith(_PRIVATE_NETS) or host.endswith(_CLUSTER_NAMES)
    return "." in host and not local
