"""What a connection and a service may be told, with the fields of the published library. Values only.

What has no meaning on Restate is kept here, and named by `ignored.py` when it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class CloudConnectionOptions:
    """Where the published library finds its engine. Restate is found by RESTATE_INGRESS_URL instead."""

    engine_id: str | None = None
    api_key: str | None = None
    address: str | None = "localhost:7233"
    api_address: str | None = None
    temporal_namespace: str | None = "default"
    data_converter: Any = None
    payload_codecs: Sequence[Any] | None = None


@dataclass
class ServiceOptions:
    """Limits of a service.

    Units: `rate_limit` is function calls a second on the service's task queue, `max_concurrent_function_runs` and
    `max_concurrent_workflow_runs` count what runs at the same time in the process.
    """

    rate_limit: float | None = 100_000
    max_concurrent_workflow_runs: int | None = 3000
    max_concurrent_function_runs: int | None = 1000
    endpoints: bool | None = True
    endpoint_group: str | None = None
    webhook_url: str | None = None


@dataclass
class ResourceOptions:
    """How much of the machine a service may use before it takes no more work.

    Units: shares from 0 to 1.
    """

    target_cpu_usage: float | None = None
    target_memory_usage: float | None = None
