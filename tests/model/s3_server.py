"""A real S3 on this machine: a server that ranks in other processes speak to as well."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer


@dataclass
class S3Server:
    """One that runs until it is stopped, and one bucket of it."""

    server: ThreadedMotoServer
    environment: dict[str, str]
    """What makes boto3 speak to it."""
    client: Any
    bucket: str

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
    """Started anew, with no bucket yet."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="test-key",
        aws_secret_access_key="test-secret",
        region_name="us-east-1",
    )
    yield S3Server(server, environment, client, "")
    server.stop()


def fresh_bucket(running: S3Server) -> S3Server:
    """A bucket of its own on a server that runs."""
    name = f"bucket-{os.urandom(6).hex()}"
    running.client.create_bucket(Bucket=name)
    return S3Server(running.server, running.environment, running.client, name)
