"""A small HTTP server on the loopback that plays W&B: it takes what a run sends, and remembers it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a" * 40  # of the form of a key, and no key


class Server(ThreadingHTTPServer):
    """runs: id → {"group", "job_type", "name", "config"}; rows: id → history; files: names that were stored."""

    daemon_threads = True

    def __init__(self, key: str = KEY):
        super().__init__(("127.0.0.1", 0), Handler)
        self.key = key
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.runs: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.exits: dict[str, int] = {}
        self.files: list[str] = []
        self.artifacts: list[str] = []
        self.saved: list[dict[str, Any]] = []  # workspaces
        self.commands: list[Any] = []  # for an agent: a command, or a condition to wait for
        self.sweep: dict[str, Any] = {}  # the configuration of the sweep

    def environment(self, **others: str) -> dict[str, str]:
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, **others}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed breaks its connections; that is the point."""

    # -- GraphQL ------------------------------------------------------------------------------------------

    def query(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        return getattr(self, f"_{name}", lambda _: {})(told)

    def _Viewer(self, _: Any) -> dict[str, Any]:
        me = {"id": "v", "entity": "tester", "username": "tester", "email": "", "flags": "{}", "teams": {"edges": []}}
        return {"viewer": me}

    def _ServerFeaturesQuery(self, _: Any) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _RunResumeStatus(self, told: dict[str, Any]) -> dict[str, Any]:
        if told["name"] not in self.runs:
            return {"model": None}
        rows = len(self.rows.get(told["name"], ()))
        bucket = {"id": "b", "name": told["name"], "summaryMetrics": "{}", "displayName": "", "logLineCount": 0}
        bucket |= {"historyLineCount": rows, "eventsLineCount": 0, "historyTail": "[]", "eventsTail": "[]"}
        bucket |= {"config": "{}", "tags": [], "notes": "", "wandbConfig": "{}"}
        return {"model": {"id": "p", "name": "cls-sim", "entity": {"id": "e", "name": "tester"}, "bucket": bucket}}

    def _UpsertBucket(self, told: dict[str, Any]) -> dict[str, Any]:
        fresh = told["name"] not in self.runs
        run = self.runs.setdefault(told["name"], {})
        given = {
            "sweep": "sweep",
            "tags": "tags",
            "notes": "notes",
            "group": "groupName",
            "job_type": "jobType",
            "name": "displayName",
            "config": "config",
        }
        run |= {ours: told[theirs] for ours, theirs in given.items() if told.get(theirs) is not None}
        project = {"id": "p", "name": "cls-sim", "entity": {"id": "e", "name": "tester"}}
        bucket = {"id": "b", "name": told["name"], "displayName": run.get("name"), "description": "", "config": "{}"}
        bucket |= {"sweepName": None, "historyLineCount": len(self.rows.get(told["name"], ())), "project": project}
        return {"upsertBucket": {"bucket": bucket, "inserted": fresh}}

    def _CreateRunFiles(self, told: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/storage/{name}"} for name in told["files"]]
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}

    def _ArtifactType(self, _: Any) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _CreateArtifact(self, told: dict[str, Any]) -> dict[str, Any]:
        self.artifacts.append(told["input"]["artifactCollectionName"])
        sequence = {"id": "s", "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": "a", "state": "PENDING", "artifactSequence": sequence}}}

    def _CreateArtifactManifest(self, _: Any) -> dict[str, Any]:
        file = {"id": "f", "uploadUrl": f"{self.url}/storage/manifest", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _CreateArtifactFiles(self, told: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {"uploadUrl": f"{self.url}/storage/{file['name']}", "uploadHeaders": [], "artifact": {"id": "a"}}
            | {"storagePath": "x", "uploadMultipartUrls": None}
            for file in told["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _CommitArtifact(self, _: Any) -> dict[str, Any]:
        return {"commitArtifact": {"artifact": {"id": "a", "digest": "x"}}}

    def _SweepWithRuns(self, _: Any) -> dict[str, Any]:
        told = {
            "id": "s",
            "name": "sweep1",
            "state": "RUNNING",
            "config": json.dumps(self.sweep),
            "runs": {"edges": []},
        }
        return {"project": {"sweep": told}}

    def _CreateAgent(self, _: Any) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "agent"}}}

    def _Heartbeat(self, told: dict[str, Any]) -> dict[str, Any]:
        """The next commands for an agent; a condition among them is waited for."""
        found = []
        running = list(json.loads(told["runState"]))
        while self.commands:
            if callable(self.commands[0]):
                if not self.commands[0](running):
                    break
                self.commands.pop(0)
            else:
                found.append(self.commands.pop(0))
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(found)}}

    def _UpsertView2(self, told: dict[str, Any]) -> dict[str, Any]:
        self.saved.append(told)
        return {"upsertView": {"view": {"id": "w", "name": told["name"]}, "inserted": True}}

    # -- what a run streams -------------------------------------------------------------------------------

    def stream(self, run: str, told: dict[str, Any]) -> None:
        history = (told.get("files") or {}).get("wandb-history.jsonl")
        if history:
            self.rows.setdefault(run, []).extend(json.loads(line) for line in history["content"])
        if told.get("complete"):
            self.exits[run] = told["exitcode"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self, told: Any, code: int = 200) -> None:
        content = json.dumps(told).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_POST(self) -> None:
        body = self._body()
        if self.server.key != KEY:
            self._answer({"errors": [{"message": "no such key"}]}, 401)
        elif self.path == "/graphql":
            told = json.loads(body)
            name = re.search(r"(?:query|mutation)\s+(\w+)", told["query"])
            self._answer({"data": self.server.query(name[1] if name else "", told.get("variables") or {})})
        elif stream := re.fullmatch(r"/files/\w+/[\w-]+/(\w+)/file_stream", self.path):
            self.server.stream(stream[1], json.loads(body))
            self._answer({})
        else:
            self._answer({}, 404)

    def do_PUT(self) -> None:
        self._body()
        self.server.files.append(self.path.removeprefix("/storage/"))
        self._answer({})

    def do_GET(self) -> None:
        self._answer({}, 404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(key: str = KEY) -> Iterator[Server]:
    """A server while it is needed; one that knows another key turns everybody away."""
    server = Server(key)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)
