"""Sources pinned in a versioned bucket, with the real DVC: moto, or the S3 server that the environment names."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dvc.repo import Repo

from components.errors import SourceError
from components.sources.config import IngestSourcesConfig, ParquetSource
from components.sources.ingest_sources import resolve_sources, run
from components.sources.pinned_objects import read_pin
from tests.components.storage.s3_servers import remove_bucket
from tests.model.s3_server import S3Server, fresh_bucket, live_or_moto

PIN = "pins/stack.dvc"


def table(*texts: str) -> pa.Table:
    return pa.table({"content": texts, "path": [f"{number}.py" for number, _ in enumerate(texts)]})


def config(path: str = PIN) -> IngestSourcesConfig:
    source = ParquetSource(kind="parquet", name="stack", path=path, repository="o/r", license="MIT", exclude=())
    return IngestSourcesConfig(recipe=1, sources=(source,), max_file_bytes=10_000, shard_bytes=10_000)


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    with live_or_moto() as server:
        yield server


@pytest.fixture
def s3(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An empty bucket with versioning."""
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    bucket = fresh_bucket(running)
    bucket.client.put_bucket_versioning(Bucket=bucket.bucket, VersioningConfiguration={"Status": "Enabled"})
    yield bucket
    remove_bucket(bucket.client, bucket.bucket)


def put(s3: S3Server, name: str, rows: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    s3.client.put_object(Bucket=s3.bucket, Key=f"snapshot/{name}", Body=sink.getvalue().to_pybytes())


@pytest.fixture
def workspace(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a pin on two tables, which DVC has made without reading them."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    place = tmp_path / "workspace"
    (place / "pins").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", place], check=True)
    put(s3, "a.parquet", table("one = 1\n"))
    put(s3, "sub/b.parquet", table("two = 2\n", "three = 3\n"))
    put(s3, "README.md", table("no table\n"))
    monkeypatch.chdir(place)  # DVC takes targets from here
    with Repo.init(".") as repo:
        repo.imp_url(f"s3://{s3.bucket}/snapshot", "pins/stack", version_aware=True, no_download=True)
    assert [path.name for path in (place / "pins").iterdir() if path.name != ".gitignore"] == ["stack.dvc"]
    return place


def texts(workspace: Path, out: str) -> list[str]:
    """What a run reads now."""
    (workspace / out).mkdir()
    (workspace / "opt_outs.json").write_text('{"repositories": [], "users": []}')
    run(config(), opt_outs=workspace, workspace=workspace, out=workspace / out)
    return pq.read_table(workspace / out / "files-00000.parquet")["content"].to_pylist()


def test_what_was_pinned_is_read_whatever_became_of_the_objects(s3: S3Server, workspace: Path) -> None:
    before = resolve_sources(config(), workspace)
    pinned = ["one = 1\n", "two = 2\n", "three = 3\n"]
    assert texts(workspace, "first") == pinned
    put(s3, "a.parquet", table("one = 'another'\n"))
    s3.client.delete_object(Bucket=s3.bucket, Key="snapshot/sub/b.parquet")
    assert resolve_sources(config(), workspace) == before
    assert texts(workspace, "second") == pinned
    with Repo(".") as repo:
        repo.update([PIN], no_download=True)
    assert resolve_sources(config(), workspace) != before
    assert texts(workspace, "third") == ["one = 'another'\n"]


def test_a_version_that_is_gone_is_told(s3: S3Server, workspace: Path) -> None:
    one = read_pin(workspace / PIN)[1]
    assert one.key == "snapshot/a.parquet"
    s3.client.delete_object(Bucket=s3.bucket, Key=one.key, VersionId=one.version)
    put(s3, "a.parquet", table("one = 1\n"))  # the same bytes are another version
    told = rf"^source 'stack': version {one.version} of s3://{s3.bucket}/{one.key} cannot be read .*bring it back"
    with pytest.raises(SourceError, match=told):
        texts(workspace, "out")


def test_a_version_that_is_not_what_was_pinned_is_told(workspace: Path) -> None:
    pin = workspace / PIN
    etag = read_pin(pin)[1].etag
    pin.write_text(pin.read_text().replace(etag, "0" * 32))
    with pytest.raises(SourceError, match=r"is not what pins/stack\.dvc pins: it has ETag .*; `dvc update` pins what"):
        texts(workspace, "out")


def test_one_object_may_be_pinned(s3: S3Server, workspace: Path) -> None:
    with Repo(".") as repo:
        repo.imp_url(f"s3://{s3.bucket}/snapshot/a.parquet", "pins/one", version_aware=True, no_download=True)
    (one,) = read_pin(workspace / "pins" / "one.dvc")
    assert (one.name, one.key, one.bucket) == ("a.parquet", "snapshot/a.parquet", s3.bucket)


@pytest.mark.parametrize("content", ["", "deps: []", "deps: [{path: s3://b/x, etag: a, size: 1}]", "a: [", "outs: 3"])
def test_a_file_that_pins_nothing_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.dvc").write_text(content)
    with pytest.raises(SourceError, match=r"x\.dvc pins no versions of objects; make it anew with `dvc import-url"):
        resolve_sources(config("x.dvc"), tmp_path)
    with pytest.raises(SourceError, match=r"there is no pin .*y\.dvc; correct its path or make it with"):
        resolve_sources(config("y.dvc"), tmp_path)


@pytest.mark.parametrize("path", ["/srv/stack.dvc", "../stack.dvc"])
def test_a_pin_outside_the_workspace_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not in the workspace; move it there"):
        config(path)
