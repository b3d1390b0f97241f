"""S3 servers that look at signatures: moto in a process of its own, or a real one that the environment names."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
import httpx
from botocore.exceptions import ClientError

REGION = "us-east-1"
_ALL_OF_S3 = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["*"]}]}'


@dataclass(frozen=True)
class S3Server:
    """One that runs, and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What makes boto3 speak to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def test_environment(self) -> dict[str, str]:
        """What makes the tests take it for their real server."""
        return {
            "STARLOOM_TEST_S3_ENDPOINT": self.endpoint,
            "STARLOOM_TEST_S3_ACCESS_KEY": self.access_key,
            "STARLOOM_TEST_S3_SECRET_KEY": self.secret_key,
        }

    @cached_property
    def client(self) -> Any:
        """A client beside the store under test."""
        return self.client_of("s3")

    def client_of(self, service: str) -> Any:
        """A client of another service of the server."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )

    @contextmanager
    def fresh_bucket(self) -> Iterator[str]:
        """The name of an empty bucket, which goes afterwards with all that is in it."""
        bucket = f"starloom-{os.urandom(6).hex()}"
        self.client.create_bucket(Bucket=bucket)
        yield bucket
        remove_bucket(self.client, bucket)


def remove_bucket(client: Any, bucket: str) -> None:
    """With all that is in it: older versions, unfinished uploads, and what a thread that still runs puts meanwhile."""
    deadline = time.monotonic() + 30
    while True:
        for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
                client.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
        try:
            client.delete_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketNotEmpty" or time.monotonic() > deadline:
                raise
        else:
            return


@contextmanager
def moto_with_authentication() -> Iterator[S3Server]:
    """moto, which after three actions that make a user wants every request signed by one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "3"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_answer(f"{endpoint}/moto-api/data.json", server, "moto")
        iam = S3Server(endpoint, "anyone", "anything").client_of("iam")
        iam.create_user(UserName="tester")
        made = iam.create_access_key(UserName="tester")["AccessKey"]
        iam.put_user_policy(UserName="tester", PolicyName="s3", PolicyDocument=_ALL_OF_S3)
        yield S3Server(endpoint, made["AccessKeyId"], made["SecretAccessKey"])
    finally:
        server.terminate()
        server.wait(10)


def await_answer(url: str, server: subprocess.Popen[bytes], name: str, seconds: float = 60) -> None:
    """Until it answers anything over HTTP; a server that ends instead is told at once."""
    deadline = time.monotonic() + seconds
    while True:
        assert server.poll() is None, f"{name} ended at its start"
        assert time.monotonic() < deadline, f"{name} did not answer within {seconds} seconds"
        try:
            httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return


def live_server() -> S3Server | None:
    """The one of STARLOOM_TEST_S3_ENDPOINT, with the credentials of STARLOOM_TEST_S3_ACCESS_KEY and _SECRET_KEY."""
    endpoint = os.environ.get("STARLOOM_TEST_S3_ENDPOINT")
    if not endpoint:
        return None
    return S3Server(endpoint, os.environ["STARLOOM_TEST_S3_ACCESS_KEY"], os.environ["STARLOOM_TEST_S3_SECRET_KEY"])
