import http.server
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from flows.ports import ask, holder, is_free, next_free


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answers = {"/json": (200, b'{"a": 1}'), "/text": (200, b"OK"), "/fault": (500, b"{}")}
        status, content = answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_port_with_a_listener_is_not_free_and_its_holder_is_named(server_port: int):
    assert not is_free(server_port)
    assert f"process {os.getpid()} (" in holder(server_port)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_listener_on_every_address_holds_the_port_too(address: str):
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        assert not is_free(listener.getsockname()[1])


def test_the_next_free_port_lies_above(server_port: int):
    other = next_free(server_port)
    assert server_port < other <= server_port + 100
    assert is_free(other) or other == server_port + 100


def test_an_answer_is_read_as_json_or_else_as_text(server_port: int):
    assert ask(server_port, "GET", "/json") == {"a": 1}
    assert ask(server_port, "GET", "/text") == "OK"


def test_a_fault_and_a_dead_port_are_no_answer(server_port: int):
    assert ask(server_port, "GET", "/fault") is None
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert ask(bound.getsockname()[1], "GET", "/") is None


def test_a_proxy_of_the_environment_is_not_asked(server_port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ask(server_port, "GET", "/text") == "OK"
