"""A small HTTP stand-in for the Kubernetes API: its paths, watch and log streams, and refusals. It is no Kubernetes.

No controller, scheduler, admission or validation runs: the test itself writes what a controller would, with `put`. It
shows that the launcher speaks the protocol and what it makes of an answer, not that a cluster would answer so.
"""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]


class ApiStandIn:
    """State that outlives a restart of the server."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.objects: dict[str, Object] = {}
        self.events: list[tuple[int, str, str, Object]] = []
        """Version, type, path and object."""
        self.version = 100
        self.oldest = 0
        """Watches from an older version are told that it has expired."""
        self.requests: list[tuple[str, str]] = []
        self.refusals: list[tuple[str, str, int, str]] = []
        """Method, part of the path, status and message; each is used once, status 0 cuts the connection."""
        self.logs: dict[str, list[str]] = {}
        self.removal_seconds: float | None = 0.1
        """From its deletion until an object is gone; None if the test itself removes it."""
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self.generation = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        if self.tls:  # each connection shakes hands in its own thread, with its first byte
            options = {"server_side": True, "do_handshake_on_connect": False}
            self._server.socket = self.tls.wrap_socket(self._server.socket, **options)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def kubeconfig(self, path: Path, port: int | None = None) -> Path:
        """Written to `path`; it leads here as long as the port is the same, or to a port of a proxy."""
        named = {"cluster": "test", "user": "test"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": named}],
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port or self.port}"}}],
            "users": [{"name": "test", "user": {}}],
        }
        path.write_text(json.dumps(config))
        return path

    def stop(self) -> None:
        """As when the API server is away: streams break, and nobody listens."""
        assert self._server
        with self.changed:
            self.generation += 1
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def put(self, path: str, one: Object) -> None:
        with self.changed:
            self.version += 1
            kind = "MODIFIED" if path in self.objects else "ADDED"
            one = json.loads(json.dumps(one))
            one["metadata"]["resourceVersion"] = str(self.version)
            self.objects[path] = one
            self.events.append((self.version, kind, path, one))
            self.changed.notify_all()

    def remove(self, path: str) -> None:
        with self.changed:
            self.version += 1
            self.events.append((self.version, "DELETED", path, self.objects.pop(path)))
            self.changed.notify_all()

    def change(self, path: str, **status: Any) -> None:
        """Of the object's status."""
        with self.changed:
            one = self.objects[path]
            self.put(path, one | {"status": one.get("status", {}) | status})

    def say(self, pod: str, *lines: str) -> None:
        """In its log, at the next instants."""
        with self.changed:
            log = self.logs.setdefault(pod, [])
            log += [f"2026-11-26T14:00:00.{len(log) + n:09d}Z {line}" for n, line in enumerate(lines)]
            self.changed.notify_all()

    def expire_versions(self) -> None:
        """As when the server has compacted its history: open watches end with 410."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.changed.notify_all()

    def wait_for_watches(self, *resources: str, times: int = 1) -> None:
        """Of each, so often since the start."""
        deadline = time.monotonic() + 10
        for resource in resources:
            while self._watches(resource) < times:
                assert time.monotonic() < deadline, f"no watch of {resource} in {self.requests}"
                time.sleep(0.01)

    def _watches(self, resource: str) -> int:
        return sum(f"/{resource}?" in path and "watch=true" in path for _, path in list(self.requests))


class _Handler(BaseHTTPRequestHandler):
    api: ApiStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # a client that is cut off, or does not trust us
            super().handle()

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._create)

    def do_DELETE(self) -> None:
        self._serve(self._delete)

    def _serve(self, answer: Any) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = json.loads(self.rfile.read(length)) if length else None
        url = urlsplit(self.path)
        self.where, self.asked = url.path, {key: values[0] for key, values in parse_qs(url.query).items()}
        with self.api.changed:
            self.api.requests.append((self.command, self.path))
            refusal = next((one for one in self.api.refusals if one[0] == self.command and one[1] in self.path), None)
            if refusal:
                self.api.refusals.remove(refusal)
        if refusal is None:
            answer()
        elif refusal[2]:
            self._refuse(refusal[2], refusal[3])
        else:
            self.close_connection = True

    def _get(self) -> None:
        if self.where.endswith("/log") and self.where.removesuffix("/log") not in self.api.objects:
            self._refuse(404, f"{self.where} not found")
        elif self.where.endswith("/log"):
            self._stream(self._log(self.where.split("/")[-2]))
        elif "watch" in self.asked:
            self._stream(self._changes(int(self.asked["resourceVersion"])))
        elif self.where in self.api.objects:
            self._answer(200, self.api.objects[self.where])
        elif self.where.rsplit("/", 1)[-1] in {"pods", "jobs", "jobsets", "rayjobs", "events", "workloads"}:
            with self.api.changed:
                items = [one for path, one in self.api.objects.items() if self._is_asked_for(path, one)]
                listed = {"kind": "List", "metadata": {"resourceVersion": str(self.api.version)}, "items": items}
            self._answer(200, listed)
        else:
            self._refuse(404, f"{self.where} not found")

    def _create(self) -> None:
        path = f"{self.where}/{self.body['metadata']['name']}"
        with self.api.changed:
            if path in self.api.objects:
                self._refuse(409, f"{path} already exists")
                return
            self.body["metadata"]["uid"] = f"uid-{self.api.version}"
            self.api.put(path, self.body)
        self._answer(201, self.body)

    def _delete(self) -> None:
        """In the foreground: it bears a time, and is gone when its pods are."""
        with self.api.changed:
            one = self.api.objects.get(self.where)
            if one is None:
                self._refuse(404, f"{self.where} not found")
                return
            metadata = one["metadata"] | {"deletionTimestamp": "2026-11-26T14:00:00Z"}
            self.api.put(self.where, one | {"metadata": metadata})
        if self.api.removal_seconds is not None:
            threading.Timer(self.api.removal_seconds, self.api.remove, [self.where]).start()
        self._answer(200, {"kind": "Status", "status": "Success"})

    def _is_asked_for(self, path: str, one: Object) -> bool:
        selector = self.asked.get("labelSelector") or self.asked.get("fieldSelector")
        asked = [term.split("=") for term in selector.split(",")] if selector else []
        has = one["metadata"].get("labels", {}) | {"metadata.name": one["metadata"]["name"], "type": one.get("type")}
        has |= {f"involvedObject.{key}": value for key, value in one.get("involvedObject", {}).items()}
        return path.rsplit("/", 1)[0] == self.where and all(has.get(key) == value for key, value in asked)

    def _changes(self, version: int) -> Iterator[bytes]:
        generation = self.api.generation
        while generation == self.api.generation:
            with self.api.changed:
                if version < self.api.oldest:
                    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                    yield json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
                    return
                news = [one for one in self.api.events if one[0] > version]
                if not news:
                    self.api.changed.wait(1.0)
            for version, kind, path, one in news:  # noqa: B007 - it is where the next round begins
                if self._is_asked_for(path, one):
                    yield json.dumps({"type": kind, "object": one}).encode() + b"\n"

    def _log(self, pod: str) -> Iterator[bytes]:
        generation, told = self.api.generation, 0
        while generation == self.api.generation:
            with self.api.changed:
                lines = self.api.logs.get(pod, [])[told:]
                one = next((one for path, one in self.api.objects.items() if path.endswith(f"/pods/{pod}")), None)
                is_over = one is None or one["status"]["phase"] in {"Succeeded", "Failed"}
                if not lines and not is_over:
                    self.api.changed.wait(1.0)
            if lines:
                yield "".join(f"{line}\n" for line in lines).encode()
                told += len(lines)
            elif is_over:
                return

    def _stream(self, pieces: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        generation = self.api.generation
        try:
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            if generation == self.api.generation:  # else the connection breaks without the last chunk
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass
        self.close_connection = True

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, {"kind": "Status", "status": "Failure", "code": status, "message": message})

    def _answer(self, status: int, one: Object) -> None:
        body = json.dumps(one).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # else a stopped server would go on answering on open connections
        self.end_headers()
        self.wfile.write(body)
