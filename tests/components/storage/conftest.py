"""The stores under test: a directory, moto with authentication on, and a real S3 server that the environment names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.storage.object_store import ObjectStore
from components.storage.open_store import open_store
from tests.components.storage.s3_servers import S3Server, live_server, moto_with_authentication

SETTING = "STARLOOM_RECORD_STORE"


@dataclass(frozen=True)
class Place:
    """Where a store lies, and how to spoil what is in it."""

    url: str
    server: S3Server | None = None

    def store(self) -> ObjectStore:
        """The store, opened anew."""
        return open_store(self.url, SETTING)

    def damage(self, key: str, content: bytes) -> None:
        """Change the object's bytes behind the store's back, and nothing else."""
        if self.server is None:
            path = Path(self.url) / key.replace("/", ",")
            path.write_bytes(content + path.read_bytes()[-65:])
            return
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        named, client = {"Bucket": bucket, "Key": f"{prefix}/{key}"}, self.server.client
        client.put_object(**named, Body=content, Metadata=client.head_object(**named)["Metadata"])

    def put_foreign(self, key: str) -> None:
        """Put an object as another program would."""
        if self.server is None:
            (Path(self.url) / key).write_bytes(b"foreign")
            return
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        self.server.client.put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=b"foreign")


_LIVE = pytest.param("live", marks=pytest.mark.s3_live)


@dataclass(frozen=True)
class Bucket:
    """One for all tests, each of which has a prefix of its own."""

    server: S3Server
    name: str

    @contextmanager
    def place(self) -> Iterator[Place]:
        """An empty store, to which this process's environment points."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.server.environment.items():
                patch.setenv(name, value)
            yield Place(f"s3://{self.name}/deep/{os.urandom(6).hex()}", self.server)


@pytest.fixture(scope="session")
def moto() -> Iterator[Bucket]:
    with moto_with_authentication() as server, server.fresh_bucket() as name:
        yield Bucket(server, name)


@pytest.fixture(scope="session")
def live() -> Iterator[Bucket]:
    server = live_server()
    if server is None:
        pytest.skip(
            "no S3 server: set STARLOOM_TEST_S3_ENDPOINT, STARLOOM_TEST_S3_ACCESS_KEY and _SECRET_KEY, or let "
            "`python -m tests.ceph_server -- COMMAND` start Debian's Ceph"
        )
    with server.fresh_bucket() as name:
        yield Bucket(server, name)


@pytest.fixture(params=["moto", _LIVE])
def s3_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """An empty store on each server."""
    with request.getfixturevalue(request.param).place() as place:
        yield place


@pytest.fixture
def moto_place(moto: Bucket) -> Iterator[Place]:
    """One on moto, for what a real server need not have been set up for."""
    with moto.place() as place:
        yield place


@pytest.fixture(params=[_LIVE])
def live_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """One on a real server, for what moto does not do."""
    with request.getfixturevalue(request.param).place() as place:
        yield place


@pytest.fixture(params=["directory", "moto", _LIVE])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty store of each kind."""
    if request.param == "directory":
        yield Place(str(tmp_path / "a store"))
        return
    with request.getfixturevalue(request.param).place() as place:
        yield place


@pytest.fixture
def store(place: Place) -> ObjectStore:
    return place.store()
