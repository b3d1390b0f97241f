"""Ports of this machine: whether one is free, who holds it, and what a server behind it answers."""

import http.client
import json
import socket
import uuid
from collections.abc import Mapping
from typing import Any

import psutil

_ANSWER_SECONDS = 5.0


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just given back is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def next_free(port: int) -> int:
    """The first free port above `port`, within the hundred that follow; else `port` + 100."""
    return next((other for other in range(port + 1, port + 100) if is_free(other)), port + 100)


def holder(port: int) -> str:
    """Who listens on `port`, as far as this process may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            address: Any = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address.port == port and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline()[:4])
                return f"process {connection.pid} ({command})"
    except psutil.Error:
        return "another process"
    return "another process"


def ask(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """What a server on this machine answers in the affirmative, as JSON or else as text; None when it does not.

    No proxy of the environment comes between.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    content_type = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(
            method, path, body=None if body is None else json.dumps(body), headers=content_type | dict(headers or {})
        )
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if not http.client.OK <= response.status < http.client.MULTIPLE_CHOICES:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", errors="replace")


def post_to_prefect(port: int, path: str, body: Any) -> Any:
    """The answer of the embedded Prefect server to a POST, or None; with the token that a foreign page cannot read."""
    name = uuid.uuid4().hex
    token = ask(port, "GET", f"/api/csrf-token?client={name}")
    if token is None:
        return None
    headers = {"Prefect-Csrf-Client": name, "Prefect-Csrf-Token": token["token"]}
    return ask(port, "POST", f"/api/{path}", body, headers)
