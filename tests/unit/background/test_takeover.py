"""Who serves what, decided from what Restate knows: the pure part of taking over from a process that has died."""

from app.background.engine.deployments import Deployment, latest
from app.background.functions.addresses import function_service
from app.background.serve.takeover import is_at, served_elsewhere


def deployment(name: str, uri: str | None, **services: int) -> Deployment:
    return Deployment(deployment_id=name, uri=uri, http_version="HTTP/2.0", headers={}, services=services)


OLD = deployment("old", "http://127.0.0.1:1/", Shared=1, OnlyOld=1)
NEW = deployment("new", "http://127.0.0.1:2/", Shared=2, OnlyNew=1)


def test_new_calls_go_to_the_highest_revision() -> None:
    """The latest deployment of a service is the one that registered it last, whatever else is registered."""
    for known in ([OLD, NEW], [NEW, OLD]):
        assert {name: found.deployment_id for name, found in latest(known).items()} == {
            "Shared": "new",
            "OnlyOld": "old",
            "OnlyNew": "new",
        }


def test_only_own_services_are_looked_after() -> None:
    """A process looks after what it could serve too, where another is the latest."""
    assert served_elsewhere([OLD, NEW], frozenset({"Shared", "OnlyOld"}), "http://localhost:1") == {
        NEW: frozenset({"Shared"})
    }
    assert served_elsewhere([OLD, NEW], frozenset({"Shared", "OnlyNew"}), "http://localhost:2") == {}


def test_place() -> None:
    """An address is the same with another name for this machine, and what has no address is nobody's."""
    assert is_at(OLD, "http://localhost:1")
    assert is_at(OLD, "http://[::1]:1")
    assert not is_at(OLD, "http://127.0.0.1:2")
    assert not is_at(deployment("lambda", None), "http://127.0.0.1:2")


def test_names_of_function_services() -> None:
    """Any name of a function becomes a name that Restate takes, and no two become one."""
    assert function_service("restack", "greet") == "restack.functions.greet"
    assert function_service("q", "<lambda>") == "q.functions.-3c-lambda-3e-"
    assert function_service("q", "a-b") != function_service("q", "a b") != function_service("q", "a_b")
