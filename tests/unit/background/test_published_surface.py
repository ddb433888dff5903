"""Code written for the published library finds what it uses, by one rename: `restack_ai` becomes `app.background`.

`published_surface.json` is what the library offers, written down by `tests/support/surface.py`. Each name and each
parameter of it is offered here too, or stands below with the reason why not.
"""

import functools
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.background.client.handle import AgentHandle, DescribedAgent, EventHandle
from app.background.functions.info import FunctionInfo
from app.background.run.external import ExternalAgentHandle
from app.background.run.info import AgentInfo, ParentInfo
from tests.support import surface

PUBLISHED = json.loads((Path(__file__).parent / "published_surface.json").read_text())
OURS = "app.background"
RETURNED = {
    "agent_info()": AgentInfo,
    "agent_info().parent": ParentInfo,
    "function_info()": FunctionInfo,
    "get_external_agent_handle()": ExternalAgentHandle,
    "Restack.get_agent_handle()": AgentHandle,
    "Restack.get_agent_handle().describe()": DescribedAgent,
    "Restack.get_agent_handle().start_update()": EventHandle,
}

# What is not offered: a pattern of `module:name`, `module:name(parameter)`, `module:name.method` …, and the reason.
NOT_OFFERED = {
    r"\.(payload_codec|playground|playground\.workflow|test_connection|webhook):.*": (
        "what the library itself starts and calls: blobs of big payloads, a playground, its own check, webhooks"
    ),
    r"\.observability:.*": "how the library sets up its logging; `logger` and `log_with_context` are offered",
    r"\.restack:(Client|Worker|Runtime|Schedule|ScheduleActionStartWorkflow|WithStartWorkflowOperation|Worker\w+)": (
        "Temporal's machinery, which the module imports for itself"
    ),
    r"\.restack:(OpenTelemetryConfig|TelemetryConfig|PollerBehaviorAutoscaling|ResourceBasedTunerConfig)": "the same",
    r"\.restack:(SearchAttribute(Key|Pair)|TypedSearchAttributes|WorkflowIDConflictPolicy)": "the same",
    r"\.restack:(FunctionsOnly|PlaygroundRun|LargePayloadCodec|pydantic_data_converter)": "parts of its own service",
    r"\.restack:(WebhookPayload|make_payload|send_webhook|send_webhook_sync)": "webhooks are not called: `ignored.py`",
    r"(\.restack|\.function|\.workflow|:workflow)[:.](log_with_context|should_use_https)": "offered elsewhere",
    r"\.restack:(SensitiveFieldsCodec|create_aes_gcm_encryption|explore_class_details)": "offered where it is defined",
    r"(\.restack)?:Restack\.(api_key|client|functions)": "there is no client below it, and nothing sets the others",
    r"\.(agent:Agent|workflow:Workflow)": "the namespace is its module: no class makes it",
    r"\.(agent|workflow|function):(ApplicationError|\w+Logger|ChildKwargs|StepKwargs|StreamState)": (
        "a base or an annotation of its own; ours are typed by their signatures"
    ),
    r"\.(agent|workflow|function):(Non)?RetryableError\.\w+": "Temporal's error; ours have `message` and `retryable`",
    r"\.(agent|workflow):RetryPolicy\.(apply_to|from)_proto": "Temporal's protocol",
    r"\.(agent|workflow):ChildStart\(\w+\)": "only child_start makes one; code reads its fields",
    r"\.function:current_workflow": "it fails in the published library",
    r"\.function:function\.(is_cancelled|cancellation_details|wait_for_\w+|shield_thread_cancel_exception)": (
        "a coroutine function is cancelled by CancelledError, a plain one never"
    ),
    r"\.function:function\.(is_worker_shutdown|raise_complete_async|client|metric_meter|payload_converter)": (
        "Temporal's worker; a function that dies with its process runs again"
    ),
    r"(:|\.security:|\.sensitive_codec:)\w+\.(en|de)code_(failure|wrapper)": "Temporal's protocol",
    r"\.security:DataConverter\.(default|(failure|payload)_converter)": "nothing is converted by it: `ignored.py`",
    r"\.security:converter\.\w+": "search attributes, which Restate has not; types are pydantic's",
    r"\.workflow:continue_as_new\(\w+=\)": "the next run is of the same class and queue, and has no timeout",
    r"agent_info\(\)\.(cron_schedule|execution_timeout|run_timeout|task_timeout|retry_policy|priority|root)": (
        "an agent has none of it"
    ),
    r"agent_info\(\)\.(headers|raw_memo|(typed_)?search_attributes)": "the same",
    r"agent_info\(\)\.get_current_(build_id|deployment_version)": "Restate knows the deployment of an invocation",
    r"agent_info\(\)\.get_current_history_size": "Restate does not tell the size of a journal, only its length",
    r"agent_info\(\)\.parent\(\w+\)": "only agent_info() makes one; code reads its fields",
    r"function_info\(\)\.(priority|task_token)": "a function has none",
    r".*[Hh]andle.*\((rpc_metadata|rpc_timeout|reject_condition|follow_runs|result_type)=\)": (
        "Temporal's protocol; use asyncio.timeout(), and pydantic for the type of an answer"
    ),
    r".*[Hh]andle.*_update\(id=\)": "each request is made once already; the id of an event is given by Restate",
    r".*[Hh]andle.*\.(fetch_history|fetch_history_events|get_update_handle_for)": "the journal is in Restate's UI",
    r"\.restack:WorkflowHandle\(\w+=\)": "only the client makes one",
    r"Restack\.get_agent_handle\(\)\.describe\(\)\.(start_time|close_time|execution_time|history_length)": (
        "not kept in an agent's record; the invocation in Restate's UI has it"
    ),
    r"Restack\.get_agent_handle\(\)\.describe\(\)\.(parent_run_id|root_id|root_run_id)": "the same",
    r"Restack\.get_agent_handle\(\)\.describe\(\)\.(raw_\w+|data_converter|static_\w+|memo|memo_value)": (
        "Temporal's protocol"
    ),
    r"Restack\.get_agent_handle\(\)\.describe\(\)\.(typed_)?search_attributes": "Restate has none",
}


def offered() -> dict[str, Any]:
    """Return our surface in the form of the file."""
    modules: dict[str, Any] = {}
    for name in PUBLISHED["modules"]:
        try:
            module = importlib.import_module(OURS + name)
        except ModuleNotFoundError:
            modules[name] = {}
        else:
            names = {n: value for n, value in vars(module).items() if not n.startswith("_")}
            modules[name] = {
                n: surface.describe(value) for n, value in names.items() if n in PUBLISHED["modules"][name]
            }
    return {"modules": modules, "returned": {what: surface.describe(cls) for what, cls in RETURNED.items()}}


@functools.cache
def missing() -> tuple[str, ...]:
    """Return what the published library has and we do not."""
    return tuple(differences(offered()))


def differences(ours: dict[str, Any]) -> Iterator[str]:
    for module, names in PUBLISHED["modules"].items():
        for name, published in names.items():
            where = f"{module}:{name}"
            if name not in ours["modules"][module]:
                yield where
            else:
                yield from missing_of(published, ours["modules"][module][name], where)
    for what, published in PUBLISHED["returned"].items():
        yield from missing_of(published, ours["returned"][what], what)


def missing_of(published: dict[str, Any], ours: dict[str, Any], where: str) -> Iterator[str]:
    """Yield what one name lacks: parameters, fields, methods."""
    made_by_code = not where.endswith("()")
    if made_by_code:
        yield from (f"{where}({name})" for name in not_taken(published.get("call", []), ours.get("call", [])))
    known = {*ours.get("fields", ()), *ours.get("methods", ())}
    yield from (f"{where}.{name}" for name in published.get("fields") or () if name not in known)
    for method, parameters in published.get("methods", {}).items():
        if method not in ours.get("methods", {}):
            yield f"{where}.{method}"
        else:
            taken = not_taken(parameters, ours["methods"][method])
            yield from (f"{where}.{method}({name})" for name in taken)


def not_taken(published: list[str], ours: list[str]) -> Iterator[str]:
    """Yield the parameters that cannot be given in the published way, by name and by place."""
    places = [name for name in ours if not name.endswith("=") and not name.startswith("*")]
    names = {name.strip("=") for name in ours}
    for place, parameter in enumerate(published):
        name = parameter.strip("=*")
        by_name = name in names or any(given.startswith("**") for given in ours)
        by_place = "*" in parameter or parameter.endswith("=") or places[place : place + 1] == [name]
        stars = any(given.startswith("*") and not given.startswith("**") for given in ours)
        if not (by_name or parameter.startswith("*")) or not (by_place or stars):
            yield parameter


def reason(difference: str) -> str | None:
    return next((why for pattern, why in NOT_OFFERED.items() if re.fullmatch(pattern, difference)), None)


def test_everything_is_offered_or_has_a_reason() -> None:
    """No published name, parameter or field is missing without a reason."""
    assert [difference for difference in missing() if reason(difference) is None] == []


@pytest.mark.parametrize("pattern", NOT_OFFERED)
def test_no_reason_is_left_over(pattern: str) -> None:
    """What is offered needs no reason why it is not."""
    assert any(re.fullmatch(pattern, difference) for difference in missing())
