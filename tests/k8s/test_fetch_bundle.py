from collections.abc import Iterator
from pathlib import Path

import pytest

from components.store import digest_files, digest_of_files
from k8s.fetch_bundle import BundleFetchError, bundle_digest, fetch_bundle, main
from tests.model.s3_server import S3Server, s3_server

FILES = {"config.json": b"{}", "model.safetensors": b"\x00\x01", "größe/tokenizer.json": b"[]"}
PREFIX = "mlflow/1/models/m-0/artifacts"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        running.client.create_bucket(Bucket="models")
        yield running
        running.stop()


@pytest.fixture
def place(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name, body in FILES.items():
        server.client.put_object(Bucket="models", Key=f"{PREFIX}/{name}", Body=body)
    return tmp_path / "model"


@pytest.fixture
def digest(tmp_path: Path) -> str:
    for name, body in FILES.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return digest_of_files(digest_files(tmp_path / "made"))


def test_the_digest_is_the_one_of_the_records(digest: str, tmp_path: Path):
    (tmp_path / "made" / "_record.json").write_text("{}")
    assert bundle_digest(tmp_path / "made") == digest


def test_a_bundle_comes_whole(place: Path, digest: str):
    fetch_bundle(f"s3://models/{PREFIX}", digest, place)
    assert {
        path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()
    } == FILES
    assert not place.with_name("model.partial").exists()


def test_other_bytes_are_not_served(place: Path, digest: str, server: S3Server):
    server.client.put_object(Bucket="models", Key=f"{PREFIX}/config.json", Body=b"{ }")
    with pytest.raises(BundleFetchError, match="it is not served"):
        fetch_bundle(f"s3://models/{PREFIX}", digest, place)
    assert not place.exists()


def test_a_fetch_after_one_that_was_killed_begins_anew(place: Path, digest: str):
    left = place.with_name("model.partial")
    left.mkdir()
    (left / "of-another-bundle").write_text("x")
    fetch_bundle(f"s3://models/{PREFIX}/", digest, place)
    assert not (place / "of-another-bundle").exists()


def test_a_key_that_leads_out_of_the_place_is_refused(place: Path, digest: str, server: S3Server):
    server.client.put_object(Bucket="models", Key="evil/../../escape", Body=b"x")
    with pytest.raises(BundleFetchError, match="no path of a file"):
        fetch_bundle("s3://models/evil", digest, place)
    assert not (place.parent.parent / "escape").exists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("models/x", "no address in an object store"),
        ("s3://models/nothing", "has the digest"),
        ("s3://none/x", "cannot be fetched"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_in_one_sentence(
    url: str, why: str, place: Path, digest: str, capsys: pytest.CaptureFixture[str]
):
    assert main([url, digest, str(place)]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1
