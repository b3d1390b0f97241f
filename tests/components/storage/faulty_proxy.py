"""A way to an S3 server on which things go wrong as they do on real ones: told beforehand, request by request."""

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Answer:
    """What a server says."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of a method whose path holds `part`."""

    method: str
    part: str
    times: int
    act: Callable[[Callable[[], Answer]], Answer | None]
    """Takes what would ask the server; None breaks the line in the middle of the answer."""
    met: int = 0


def answers(status: int, code: str, date: str | None = None) -> Callable[[Callable[[], Answer]], Answer]:
    """The server says that, and does nothing; `date` is the time by its clock."""
    body = f"<Error><Code>{code}</Code><Message>Please try again.</Message></Error>".encode()
    headers = [("Content-Type", "application/xml"), *([("Date", date)] if date else [])]
    return lambda ask: Answer(status, headers, body)


def does_and_answers(status: int, code: str) -> Callable[[Callable[[], Answer]], Answer]:
    """The server does what it is asked, and its answer is lost on the way."""

    def act(ask: Callable[[], Answer]) -> Answer:
        ask()
        return answers(status, code)(ask)

    return act


def breaks_off(ask: Callable[[], Answer]) -> Answer | None:
    """The line breaks in the middle of the body."""
    return None


@dataclass
class Stall:
    """Holds a request back until the test lets it go."""

    reached: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, ask: Callable[[], Answer]) -> Answer:
        self.reached.set()
        self.let_go.wait(60)
        return answers(503, "SlowDown")(ask)


@dataclass
class FaultyProxy:
    """An endpoint; with no faults it changes nothing."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)

    def next(self, fault: Fault) -> Fault:
        """Have that go wrong."""
        self.faults.append(fault)
        return fault


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """One before the server at the URL `target`."""
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _serve(self) -> None:
            with suppress(ConnectionError):  # a client that was killed
                self._serve_one()

        def _serve_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = self._fault()
            answer = fault.act(lambda: self._ask(body)) if fault else self._ask(body)
            cut = answer is None
            answer = answer or self._ask(body)
            self.send_response(answer.status)
            for name, value in answer.headers:
                if name.lower() not in {*_HOP_BY_HOP, "content-length", "server"}:
                    self.send_header(name, value)
            length = dict((name.lower(), value) for name, value in answer.headers).get("content-length")
            self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
            if cut:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

        def send_response(self, code: int, message: str | None = None) -> None:
            self.send_response_only(code, message)  # the server's own Date and Server, not ours

        def _fault(self) -> Fault | None:
            with lock:
                for fault in proxy.faults:
                    if fault.times and fault.method == self.command and fault.part in self.path:
                        fault.times -= 1
                        fault.met += 1
                        return fault
            return None

        def _ask(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection(urlsplit(target).netloc, timeout=60)
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in {*_HOP_BY_HOP, "expect"}:
                        connection.putheader(name, value)  # the signature covers them, Host among them
                connection.endheaders(body or None)
                response = connection.getresponse()
                return Answer(response.status, response.getheaders(), response.read())
            finally:
                connection.close()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
