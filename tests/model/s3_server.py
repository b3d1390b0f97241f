"""An S3 server that ranks in other processes speak to as well: moto on this machine, or the environment's."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from moto.server import ThreadedMotoServer

from tests.components.storage import s3_servers


@dataclass(frozen=True)
class S3Server:
    """One that runs until it is stopped, and one bucket of it."""

    environment: dict[str, str]
    """What makes boto3 speak to it."""
    client: Any
    stop: Callable[[], None]
    """Does nothing to one that is not ours."""
    bucket: str = ""

    def objects(self) -> list[str]:
        """Their keys, in order."""
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def committed_steps(self) -> list[int]:
        return [int(key.split("/")[-2].removeprefix("step-")) for key in self.objects() if key.endswith("/commit.json")]


@contextmanager
def nobody_answers() -> Iterator[str]:
    """An address, HOST:PORT, at which nobody listens."""
    with socket.socket() as reservation:
        reservation.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reservation.getsockname()[1]}"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """moto, started anew, with no bucket yet."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    reached = s3_servers.S3Server(f"http://{host}:{port}", "test-key", "test-secret")
    yield S3Server(reached.environment, reached.client, server.stop)
    server.stop()


@contextmanager
def live_or_moto() -> Iterator[S3Server]:
    """The server of STARLOOM_TEST_S3_ENDPOINT, and moto where there is none."""
    live = s3_servers.live_server()
    if live is None:
        with s3_server() as running:
            yield running
    else:
        yield S3Server(live.environment, live.client, lambda: None)


def fresh_bucket(running: S3Server) -> S3Server:
    """A bucket of its own on a server that runs."""
    name = f"starloom-{os.urandom(6).hex()}"
    running.client.create_bucket(Bucket=name)
    return replace(running, bucket=name)
