"""Services of one's own: `Restack().start_service(…)` in a script, alone and beside others, each stopped in turn."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.background import Restack
from app.errors import AgentError
from app.hosting.stack import ROOT
from tests.conftest import StartService
from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port, local_http
from tests.support.restate_server import RestateServer

GREETER = """
import asyncio
from app.background import Restack, agent, function

@function.defn()
async def greet(name: str) -> str:
    return f"Hello, {name}!"

@agent.defn()
class Greeter:
    @agent.run
    async def run(self, name: str) -> str:
        return await agent.step(greet, name)

asyncio.run(Restack().start_service(agents=[Greeter], functions=[greet]))
"""

# Serves the queue of the application too, with a function of its own, and an agent that waits.
WAITER = """
import asyncio
from app.background import Restack, agent, condition, function

@function.defn()
async def shout(text: str) -> str:
    return text.upper()

@agent.defn()
class Waiter:
    def __init__(self):
        self.text = None

    @agent.event
    async def tell(self, text: str):
        self.text = text

    @agent.run
    async def run(self) -> str:
        await condition(lambda: self.text)
        return await agent.step(shout, self.text)

asyncio.run(Restack().start_service(agents=[Waiter], functions=[shout]))
"""

# Three at once, as examples of the published library do; each queue has limits of its own.
SEVERAL = """
import asyncio, time
from app.background import Restack, agent, function
from app.background.published.options import ServiceOptions

running, most, begun = 0, 0, []

@function.defn()
async def one_at_a_time(n: int) -> int:
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.05)
    running -= 1
    return most

@function.defn()
async def ten_a_second(n: int) -> float:
    return time.time()

@agent.defn()
class Limited:
    @agent.run
    async def run(self) -> dict:
        async with asyncio.TaskGroup() as group:
            slow = [group.create_task(agent.step(one_at_a_time, n, task_queue="slow")) for n in range(4)]
            paced = [group.create_task(agent.step(ten_a_second, n, task_queue="paced")) for n in range(6)]
        return {"most": max(t.result() for t in slow), "times": sorted(t.result() for t in paced)}

async def main():
    client = Restack()
    await asyncio.gather(
        client.start_service(agents=[Limited]),
        client.start_service(
            functions=[one_at_a_time], task_queue="slow", options=ServiceOptions(max_concurrent_function_runs=1)
        ),
        client.start_service(functions=[ten_a_second], task_queue="paced", options=ServiceOptions(rate_limit=10)),
    )

asyncio.run(main())
"""

# An agent whose journal is that of the version before, while OLD is set: its calls go to one object of the queue.
OF_BEFORE = """
import asyncio, sys
from app.background import Restack, agent, condition, function
from app.background.run import step as stepping

@function.defn()
async def greet(name: str) -> str:
    return f"Hello, {name}!"

@function.defn()
async def part(name: str) -> str:
    return f"Bye, {name}!"

async def yes(*_):
    return True

@agent.defn()
class Polite:
    def __init__(self):
        self.end = False

    @agent.event
    async def finish(self):
        self.end = True

    @agent.state
    def greeted(self) -> str:
        return self.greeting

    @agent.run
    async def run(self, name: str) -> list:
        self.greeting = None
        self.greeting = await agent.step(greet, name)
        await condition(lambda: self.end)
        return [self.greeting, await agent.step(part, name)]

if OLD:
    stepping.why_not_served = yes
if FAREWELLS:
    asyncio.run(Restack().start_service(functions=[part]))
asyncio.run(Restack().start_service(agents=[Polite], functions=[greet]))
"""

BLOCKED = """
import asyncio, pathlib, time
from app.background import Restack, agent, function, log

here = pathlib.Path(__file__).parent

def block(name: str) -> None:
    again = (here / name).exists()
    (here / name).touch()
    if not again:
        if (here / "a").exists() and (here / "b").exists():
            log.info("both block")
        time.sleep(600)

@function.defn()
async def on_a_loop(name: str) -> None:
    block(name)

def in_a_thread(name: str) -> None:
    block(name)

@agent.defn()
class Blocked:
    @agent.run
    async def run(self) -> str:
        await asyncio.gather(agent.step(on_a_loop, "a"), agent.step(in_a_thread, "b"))
        return "done"

asyncio.run(Restack().start_service(agents=[Blocked], functions=[on_a_loop, in_a_thread]))
"""

StartScript = Callable[..., Process]


@pytest.fixture
def start_script(own_restate_server: RestateServer, tmp_path: Path) -> Iterator[StartScript]:
    """`start_script(SOURCE)`: a script that starts a service at a port of its own, ended with the test."""
    started: list[Process] = []

    def start(source: str, *, port: int | None = None) -> Process:
        number = len(started)
        script = tmp_path / f"service{number}.py"
        script.write_text(source)
        env = bare_environment(PYTHONPATH=str(ROOT), PORT=str(port or free_port()), **own_restate_server.settings)
        log = tmp_path / f"service{number}.log"
        process = Process([sys.executable, str(script)], env=env, cwd=tmp_path, log=log)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill9()


async def says(process: Process, text: str) -> None:
    await eventually(lambda: text in process.log(), timeout_s=20)


async def runs(client: Restack, agent_name: str, agent_id: str, agent_input: object = None) -> object:
    """Start an agent, as soon as it can be, and return its result."""

    async def scheduled() -> str:
        try:
            return await client.schedule_agent(agent_name, agent_id, agent_input)
        except AgentError as exc:
            raise AssertionError(exc.message) from exc

    await eventually(scheduled)
    return await asyncio.wait_for(client.get_agent_result(agent_id), 30)


async def test_start_service_serves_and_registers(own_restate_server: RestateServer, start_script: StartScript) -> None:
    """`start_service` serves agents and functions at PORT, registers them and says so; SIGTERM ends it."""
    port = free_port()
    process = start_script(GREETER, port=port)
    await process.answers(f"http://127.0.0.1:{port}/health")
    await says(process, "task queue 'restack': agents Greeter; functions greet")
    async with Restack(ingress_url=own_restate_server.ingress_url) as client:
        assert await runs(client, "Greeter", "g1", "Ada") == "Hello, Ada!"
    assert await process.end() == 0
    assert "Traceback" not in process.log()


async def test_beside_the_application_each_stopped_in_turn(
    own_restate_server: RestateServer, start_script: StartScript, start_service: StartService
) -> None:
    """A second process takes nothing from the application, and its end takes nothing with it; when the application is
    gone, the second serves what both share, and what the application had begun of that."""
    application = await start_service(**own_restate_server.settings)
    await own_restate_server.register(application.url)
    async with Restack(ingress_url=own_restate_server.ingress_url) as client:
        second = start_script(WAITER)
        await says(second, "Left to another process, until that is gone: BackgroundAgent")
        # Both work: the functions of the first are found in the first, on the queue that both serve.
        assert await runs(client, "Report", "r1", ["One"])
        await client.schedule_agent("Waiter", "w1")
        waiting = asyncio.create_task(client.get_agent_result("w1"))  # held by the front door of the first

        second.kill9()
        assert await runs(client, "Report", "r2", ["Two"])
        second.start()
        await eventually(lambda: second.log().count("Left to another process") == 2, timeout_s=20)

        application.kill9()
        await says(second, f"{application.url}/ does not answer")
        await client.send_agent_event("tell", "w1", event_input="now")
        assert await asyncio.wait_for(waiting, 30) == "NOW"

        await application.start()
        assert await runs(client, "Report", "r3", ["Three"])

        # The application has not been registered again, and still takes over what the second had taken.
        second.kill9()
        await eventually(lambda: any("does not answer" in line for line in application.log_lines()), timeout_s=20)
        assert await runs(client, "Report", "r4", ["Four"])


async def test_start_service_says_why_it_cannot_register(
    own_restate_server: RestateServer, start_script: StartScript
) -> None:
    """Without Restate a service says so, and registers once Restate is there."""
    await own_restate_server.stop()
    process = start_script(GREETER)
    await says(process, "and tries again. Restate's admin API does not answer")
    await own_restate_server.start()
    await says(process, "agents Greeter")
    async with Restack(ingress_url=own_restate_server.ingress_url) as client:
        assert await runs(client, "Greeter", "g1", "Ada") == "Hello, Ada!"


async def test_names_and_ports_that_are_taken(
    own_restate_server: RestateServer, start_script: StartScript, start_service: StartService
) -> None:
    """An agent with the name of another service is not registered, and a port that is taken ends the process; both say
    so."""
    application = await start_service(RESTATE_ADMIN_URL=own_restate_server.admin_url)
    await own_restate_server.register(application.url)
    clash = start_script(GREETER.replace("Greeter", "ChatService"))
    await says(clash, "Restate has another service named ChatService: name yours by @agent.defn(name=…)")
    assert clash.exit_code is None

    second = start_script(GREETER, port=application.port)
    assert await second.exited() == 1
    assert f"Cannot listen on 127.0.0.1:{application.port}" in second.log()


async def test_ends_while_functions_block(own_restate_server: RestateServer, start_script: StartScript) -> None:
    """SIGTERM ends a process in seconds whose functions block a loop and a thread; another process tries them again."""
    process = start_script(BLOCKED)
    await says(process, "agents Blocked")
    async with Restack(ingress_url=own_restate_server.ingress_url) as client:
        await client.schedule_agent("Blocked", "b1")
        await says(process, "both block")
        assert await process.end() == 0
        process.start()
        assert await asyncio.wait_for(client.get_agent_result("b1"), 30) == "done"


async def test_several_services_in_one_process(own_restate_server: RestateServer, start_script: StartScript) -> None:
    """Several `start_service` share the address; the limits of a queue hold for its functions."""
    process = start_script(SEVERAL)
    await says(process, "task queue 'paced': functions ten_a_second")
    async with Restack(ingress_url=own_restate_server.ingress_url) as client:
        result = await runs(client, "Limited", "l1")
    assert isinstance(result, dict)
    assert result["most"] == 1
    times = result["times"]
    assert times[-1] - times[0] > 0.45
    async with local_http() as http:
        deployments = (await http.get(f"{own_restate_server.admin_url}/deployments")).json()["deployments"]
    assert len(deployments) == 1
    assert await process.end() == 0


async def test_run_of_the_version_before(
    own_restate_server: RestateServer, start_script: StartScript, tmp_path: Path
) -> None:
    """A run whose journal calls the object of its queue goes on to, and finds functions of other processes too."""
    process = start_script(OF_BEFORE.replace("OLD", "True").replace("FAREWELLS", "False"))
    script = tmp_path / "service0.py"
    async with Restack(ingress_url=own_restate_server.ingress_url) as client:
        await says(process, "agents Polite")
        await client.schedule_agent("Polite", "p1", "Ada")

        async def greeted() -> bool:
            return bool(await client.get_agent_state("p1", "greeted"))

        await eventually(greeted)
        process.kill9()
        script.write_text(OF_BEFORE.replace("OLD", "False").replace("FAREWELLS", "False"))
        process.start()
        other = start_script(OF_BEFORE.replace("OLD", "False").replace("FAREWELLS", "True"))
        await says(other, "functions part")
        await client.send_agent_event("finish", "p1")
        assert await asyncio.wait_for(client.get_agent_result("p1"), 30) == ["Hello, Ada!", "Bye, Ada!"]
    rows = await own_restate_server.query("SELECT target FROM sys_invocation")
    targets = {row["target"] for row in rows}
    assert {"restack.functions/greet/call", "restack.functions/part/call", "restack.functions.part/call"} <= targets
