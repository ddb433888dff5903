"""An MCP server that does what bad servers do: a program of its own, `python mcp_server.py <folder> [--modern …]`.

It writes JSON-RPC by hand, since the library would not let it misbehave. What it was asked and told stands in files of
`folder`: `calls`, `cancelled`, `pids`. `--modern` speaks the protocol of 2026, `--deaf` never answers,
`--stubborn` ignores SIGTERM and the end of its stdin and starts another like itself, `--endless` writes one line for
ever, `--refuse` ends at once with a word on stderr, `--lie` lists a tool whose schema is none.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OBJECT = {"type": "object", "properties": {"text": {"type": "string"}}}
DEEP: dict[str, Any] = {"type": "object"}
for _ in range(60):
    DEEP = {"type": "object", "properties": {"in": DEEP}}

TOOLS: list[dict[str, Any]] = [
    *(
        {"name": name, "description": f"Do {name}", "inputSchema": OBJECT}
        for name in (
            *("echo", "die", "hang", "huge", "large", "garbage", "wrong"),
            *("fail", "ask", "wait", "grow", "env", "note", "surrogate"),
        )
    ),
    {"name": "look", "inputSchema": OBJECT, "annotations": {"readOnlyHint": True}},
    {"name": "with spaces/and more", "description": "Odd", "inputSchema": OBJECT},
    {"name": "echo", "description": "Again", "inputSchema": OBJECT},
    {"name": "deep", "description": "Bad", "inputSchema": DEEP},
    {"name": "wide", "description": "Bad", "inputSchema": {"type": "object", "title": "x" * 100_000}},
]  # fmt: skip

FORM: dict[str, Any] = {
    "mode": "form",
    "message": "Which <b>card</b>?",
    "requestedSchema": {
        "type": "object",
        "properties": {"card": {"type": "string", "enum": ["visa", "amex"]}, "months": {"type": "integer"}},
        "required": ["card"],
    },
}

LIE: dict[str, Any] = {
    "name": "no_object",
    "description": "Bad",
    "inputSchema": {"type": "object", "properties": ["a"]},
}


class Server:
    """The server. `folder` is where it notes what happens."""

    def __init__(self, folder: Path, *, modern: bool) -> None:
        self._folder = folder
        self._modern = modern
        self._grown = False
        self._asked: object = None
        self._params: dict[str, Any] = {}

    def note(self, file: str, text: object) -> None:
        with (self._folder / file).open("a") as notes:
            notes.write(f"{text}\n")

    def serve(self) -> None:
        """Answer requests until stdin ends."""
        for line in sys.stdin:
            self.take(json.loads(line))

    def take(self, message: dict[str, Any]) -> None:
        method, request_id = message.get("method"), message.get("id")
        if method == "notifications/cancelled":
            self.note("cancelled", message["params"]["requestId"])
        elif method == "initialize" and not self._modern:
            version = message["params"]["protocolVersion"]
            info = {"name": "hostile", "version": "1"}
            self.answer(request_id, protocolVersion=version, capabilities=self.capabilities(), serverInfo=info)
        elif method == "server/discover" and self._modern:
            self.answer(request_id, supportedVersions=["2026-07-28"], capabilities=self.capabilities())
        elif method == "tools/list":
            more = [{"name": "grown", "description": "Late", "inputSchema": OBJECT}] if self._grown else []
            more += [LIE] if "--lie" in sys.argv else []
            self.answer(request_id, tools=TOOLS + more)
        elif method == "tools/call":
            self._params = message["params"]
            self.call(request_id, message["params"]["name"], message["params"].get("arguments") or {})
        elif method is None and request_id == "ask":
            self.answer(self._asked, content=text(f"it said {json.dumps(message)}"), isError="error" in message)
        elif request_id is not None:
            self.write({"jsonrpc": "2.0", "id": request_id, "error": {"code": -32601, "message": "unknown"}})

    def capabilities(self) -> dict[str, Any]:
        return {"tools": {"listChanged": True}}

    def call(self, request_id: object, tool: str, arguments: dict[str, Any]) -> None:
        self.note("calls", tool)
        self.note(f"calls-{tool.split(' ')[0]}", json.dumps(arguments))
        act: Callable[[object, dict[str, Any]], None] | None = getattr(self, f"do_{tool}", None)
        if act is not None:
            act(request_id, arguments)
        else:
            self.answer(request_id, content=text(f"{tool} says {arguments.get('text')}"))

    def do_die(self, _request_id: object, _arguments: dict[str, Any]) -> None:
        print("my last words", file=sys.stderr, flush=True)
        os._exit(3)

    def do_hang(self, request_id: object, _arguments: dict[str, Any]) -> None:
        self.note("hanging", request_id)

    def do_huge(self, request_id: object, _arguments: dict[str, Any]) -> None:
        self.answer(request_id, content=text("x" * 10_000_000))

    def do_large(self, request_id: object, _arguments: dict[str, Any]) -> None:
        self.answer(request_id, content=text("y" * 1_000_000))

    def do_garbage(self, request_id: object, _arguments: dict[str, Any]) -> None:
        sys.stdout.buffer.write(b'\xff\xfe\x00 no JSON\n{"jsonrpc": 7}\n[]\n' + b"[" * 100_000 + b"\n")
        self.answer(request_id, content=text("after the garbage"))

    def do_wrong(self, request_id: object, _arguments: dict[str, Any]) -> None:
        self.answer(request_id, content="no list", isError="maybe")

    def do_fail(self, request_id: object, _arguments: dict[str, Any]) -> None:
        self.answer(request_id, content=text("the disk is full"), isError=True)

    def do_ask(self, request_id: object, arguments: dict[str, Any]) -> None:
        """Ask for a card; in the protocol of 2026 once more for each answer that is no visa."""
        if not self._modern:
            self._asked = request_id
            self.write({"jsonrpc": "2.0", "id": "ask", "method": "elicitation/create", "params": FORM})
            return
        self.note("asked", json.dumps([self._params.get("inputResponses"), self._params.get("requestState")]))
        answers, rounds = self._params.get("inputResponses"), int(self._params.get("requestState") or 0)
        content = (answers or {}).get("card", {}).get("content") or {}
        if answers is not None and (content.get("card") == "visa" or answers["card"]["action"] != "accept"):
            self.answer(request_id, content=text(f"round {rounds}: {json.dumps(answers['card'])}"))
            return
        declared = self._params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        self.note("declared", json.dumps(declared))
        form = arguments.get("form") or FORM
        asked = {"card": {"method": arguments.get("method", "elicitation/create"), "params": form}}
        self.answer(request_id, resultType="input_required", inputRequests=asked, requestState=str(rounds + 1))

    def do_wait(self, request_id: object, _arguments: dict[str, Any]) -> None:
        """Want to be called again, with a state and without a question, for ever."""
        rounds = int(self._params.get("requestState") or 0)
        self.answer(request_id, resultType="input_required", requestState=str(rounds + 1))

    def do_grow(self, request_id: object, _arguments: dict[str, Any]) -> None:
        self._grown = True
        self.write({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        self.answer(request_id, content=text("there is more"))

    def do_env(self, request_id: object, _arguments: dict[str, Any]) -> None:
        print(f"the token is {os.environ.get('TOKEN')}", file=sys.stderr, flush=True)
        self.answer(request_id, content=text(json.dumps(dict(os.environ))), structuredContent=dict(os.environ))

    def do_surrogate(self, request_id: object, _arguments: dict[str, Any]) -> None:
        self.answer(request_id, content=text("\ud83d"))

    def do_note(self, request_id: object, _arguments: dict[str, Any]) -> None:
        """Answer when the file `go` is there, which the test makes; none waits for a test that is no more."""
        deadline = time.monotonic() + 120
        while not (self._folder / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.01)  # it has one thread and no event loop
        self.answer(request_id, content=text("noted"))

    do_look = do_note

    def answer(self, request_id: object, **result: object) -> None:
        if self._modern:
            result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **result}
        self.write({"jsonrpc": "2.0", "id": request_id, "result": result})

    def write(self, message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def text(content: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": content}]


def main(folder: Path, options: list[str]) -> None:
    with (folder / "pids").open("a") as pids:
        pids.write(f"{os.getpid()}\n")
    if "--stubborn" in options:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if "--child" not in options:
            subprocess.Popen([sys.executable, __file__, str(folder), *options, "--child"], stdin=subprocess.DEVNULL)
    if "--refuse" in options:
        sys.exit("no license")
    if "--endless" in options:
        for _ in itertools.count():
            sys.stdout.write("x" * 65_536)
    if "--deaf" not in options and "--child" not in options:
        Server(folder, modern="--modern" in options).serve()
    while "--deaf" in options or "--stubborn" in options:
        time.sleep(3600)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
