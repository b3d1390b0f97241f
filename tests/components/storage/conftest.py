"""The stores under test: a directory, moto with authentication on, and a real S3 server that the environment names."""

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
        named, client = {"Bucket": bucket, "Key": f"{prefix}/{key}"}, self.server.client()
        client.put_object(**named, Body=content, Metadata=client.head_object(**named)["Metadata"])

    def put_foreign(self, key: str) -> None:
        """Put an object as another program would."""
        if self.server is None:
            (Path(self.url) / key).write_bytes(b"foreign")
            return
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        self.server.client().put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=b"foreign")


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with moto_with_authentication() as server:
        yield server


_LIVE = pytest.param("live", marks=pytest.mark.s3_live)


def _server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server that the parameter names, to which this process's environment points."""
    server = request.getfixturevalue("moto") if request.param == "moto" else live_server()
    if server is None:
        pytest.skip("no S3 server: set STARLOOM_TEST_S3_ENDPOINT, STARLOOM_TEST_S3_ACCESS_KEY and _SECRET_KEY")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@contextmanager
def _bucket(server: S3Server) -> Iterator[Place]:
    bucket = server.fresh_bucket()
    yield Place(f"s3://{bucket}/deep/prefix", server)
    server.remove_bucket(bucket)


@pytest.fixture(params=["moto", _LIVE])
def s3_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An empty store on each server."""
    with _bucket(_server(request, monkeypatch)) as place:
        yield place


@pytest.fixture(params=["moto"])
def moto_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """One on moto, for what a server need not have been set up for."""
    with _bucket(_server(request, monkeypatch)) as place:
        yield place


@pytest.fixture(params=[_LIVE])
def live_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """One on a real server, for what moto does not do."""
    with _bucket(_server(request, monkeypatch)) as place:
        yield place


@pytest.fixture(params=["directory", "moto", _LIVE])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An empty store of each kind."""
    if request.param == "directory":
        yield Place(str(tmp_path / "a store"))
        return
    with _bucket(_server(request, monkeypatch)) as place:
        yield place


@pytest.fixture
def store(place: Place) -> ObjectStore:
    return place.store()
