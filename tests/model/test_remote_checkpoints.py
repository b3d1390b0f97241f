"""One rank's view of the store, against a real S3 server. Seconds: below ten."""

import http.server
import threading
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from model import remote_checkpoints
from model.checkpoint_commit import DamagedError
from model.remote_checkpoints import RemoteCheckpoints
from model.training_errors import TrainingFailedError
from tests.model.s3_server import S3Server, nobody_answers

_RUN = {"model": "5f3b1c0d9e8a7766", "batch": "8"}


def _store(s3: S3Server, run: dict[str, str] = _RUN, prefix: str = "/deep/prefix") -> RemoteCheckpoints:
    return RemoteCheckpoints(f"s3://{s3.bucket}{prefix}", run)


def _put(store: RemoteCheckpoints, directory: Path, step: int, *, content: bytes | None = b"{}") -> None:
    for name in ("rank-00000.safetensors", "metrics.jsonl"):
        (directory / name).write_bytes(b"%s of %d" % (name.encode(), step))
        store.upload(directory / name, step)
    if content is not None:
        store.commit(step, content)


def test_a_run_has_a_place_of_its_own(s3: S3Server, tmp_path: Path):
    _put(_store(s3), tmp_path, 4)
    run = s3.objects()[0].split("/")[2]
    assert s3.objects() == [
        f"deep/prefix/{run}/step-00000004/{name}" for name in ("commit.json", "metrics.jsonl", "rank-00000.safetensors")
    ]
    assert len(run) == 16
    assert int(run, 16)
    assert _store(s3).url == f"s3://{s3.bucket}/deep/prefix/{run}/"
    assert _store(s3).steps() == [4]
    assert _store(s3, {"batch": "8", "model": "5f3b1c0d9e8a7766"}).steps() == [4]  # the order of names says nothing
    assert _store(s3, _RUN | {"batch": "16"}).steps() == []


@pytest.mark.parametrize("prefix", ["", "/", "/deep/"])
def test_any_prefix_will_do(s3: S3Server, tmp_path: Path, prefix: str):
    store = _store(s3, prefix=prefix)
    _put(store, tmp_path, 4)
    assert store.steps() == [4]
    assert not any("//" in key or key.startswith("/") for key in s3.objects())
    store.download(4, tmp_path / "metrics.jsonl")
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"metrics.jsonl of 4"


def test_what_has_no_commit_is_no_checkpoint(s3: S3Server, tmp_path: Path):
    store = _store(s3)
    _put(store, tmp_path, 4, content=None)
    assert (store.steps(), store.commit_of(4)) == ([], None)
    store.commit(4, b"{}")
    assert (store.steps(), store.commit_of(4)) == ([4], b"{}")


def test_a_commit_is_written_once(s3: S3Server, tmp_path: Path):
    store = _store(s3)
    _put(store, tmp_path, 4, content=b'{"one": 1}')
    store.require_no_other_commit(4, b'{"one": 1}')
    store.commit(4, b'{"one": 1}')
    told = r"/step-00000004 holds another checkpoint of this run, which is left as it is; remove it to have this one"
    for write in (store.commit, store.require_no_other_commit):
        with pytest.raises(TrainingFailedError, match=told):
            write(4, b'{"one": 2}')
    assert store.commit_of(4) == b'{"one": 1}'


def test_what_is_older_than_the_newest_two_goes_committed_or_not_and_no_other_run_is_touched(
    s3: S3Server, tmp_path: Path
):
    store, other = _store(s3), _store(s3, {"another": "run"})
    _put(other, tmp_path, 4)
    for step in (4, 8, 12, 16):
        _put(store, tmp_path, step, content=None if step in (4, 12) else b"{}")
    store.keep_newest(2)
    assert store.steps() == [8, 16]
    assert {key.split("/")[3] for key in s3.objects() if key.startswith(store.url.split("/", 3)[3])} == {
        *("step-00000008", "step-00000012", "step-00000016")
    }
    store.remove(8)
    assert store.steps() == [16]
    assert other.steps() == [4]


def test_of_a_checkpoint_the_commit_goes_first(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = _store(s3)
    _put(store, tmp_path, 4)
    removed: list[str] = []
    delete = store._client.delete_object

    def delete_and_tell(**which: str) -> None:
        removed.append(which["Key"].rpartition("/")[2])
        delete(**which)

    monkeypatch.setattr(store._client, "delete_object", delete_and_tell)
    store.remove(4)
    assert removed[0] == "commit.json"
    assert sorted(removed) == ["commit.json", "metrics.jsonl", "rank-00000.safetensors"]
    assert s3.objects() == []


def test_a_large_file_goes_in_parts_that_s3_verifies(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mebibytes = 1024**2
    monkeypatch.setattr(remote_checkpoints, "_PART_BYTES", 5 * mebibytes)
    store, content = _store(s3), bytes(range(256)) * (12 * mebibytes // 256) + b"end"
    (tmp_path / "rank-00000.safetensors").write_bytes(content)
    store.upload(tmp_path / "rank-00000.safetensors", 4)
    assert isinstance(store._transfer, TransferConfig)
    kept = s3.client.head_object(Bucket=s3.bucket, Key=s3.objects()[0], ChecksumMode="ENABLED")
    assert kept["ETag"].endswith('-3"')  # of three parts
    (tmp_path / "rank-00000.safetensors").unlink()
    store.download(4, tmp_path / "rank-00000.safetensors")
    assert (tmp_path / "rank-00000.safetensors").read_bytes() == content


def test_unfinished_uploads_of_this_run_alone_are_ended(s3: S3Server):
    store, other = _store(s3), _store(s3, {"another": "run"})
    for which in (store, other):
        key = which.url.split("/", 3)[3] + "step-00000004/rank-00000.safetensors"
        s3.client.create_multipart_upload(Bucket=s3.bucket, Key=key)
    store.abort_unfinished_uploads()
    (left,) = s3.client.list_multipart_uploads(Bucket=s3.bucket)["Uploads"]
    assert other.url.endswith("/".join(left["Key"].split("/")[:3]) + "/")


def test_a_file_that_is_not_there_is_damage(s3: S3Server, tmp_path: Path):
    with pytest.raises(DamagedError, match=r"step-00000004/metrics\.jsonl is not there$"):
        _store(s3).download(4, tmp_path / "metrics.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_written_is_no_damage(s3: S3Server, tmp_path: Path):
    store = _store(s3)
    _put(store, tmp_path, 4)
    with pytest.raises(TrainingFailedError, match=r"metrics\.jsonl cannot be written \(No such file or directory\)"):
        store.download(4, tmp_path / "absent" / "metrics.jsonl")


def test_a_bucket_that_is_not_there_is_told_with_its_mend(s3: S3Server, tmp_path: Path):
    endpoint = s3.environment["AWS_ENDPOINT_URL"]
    store = RemoteCheckpoints("s3://missing/x", _RUN)
    told = (
        f"^the checkpoint store s3://missing cannot be used: {endpoint} has no such bucket; create it or mend "
        "STARLOOM_CHECKPOINT_STORE$"
    )
    (tmp_path / "metrics.jsonl").write_bytes(b"{}")
    for act in (store.steps, lambda: store.upload(tmp_path / "metrics.jsonl", 4), lambda: store.commit(4, b"{}")):
        with pytest.raises(TrainingFailedError, match=told):
            act()


def test_a_machine_without_credentials_is_told_with_its_mend(s3: S3Server, monkeypatch, tmp_path: Path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(TrainingFailedError, match=r"finds no credentials; set AWS_ACCESS_KEY_ID and .* or give this"):
        _store(s3).steps()


def test_a_server_that_is_down_is_told_without_what_may_be_secret(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    with nobody_answers() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:password@{address}")
        with pytest.raises(TrainingFailedError) as told:
            RemoteCheckpoints("s3://bucket/x", _RUN).steps()
    assert str(told.value) == (
        f"the checkpoint store s3://bucket cannot be used: http://{address} does not answer (EndpointConnectionError); "
        "start it, or mend AWS_ENDPOINT_URL or the network; STARLOOM_CHECKPOINT_STORE unset trains without it"
    )


def test_an_endpoint_that_is_no_address_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not an address")
    with pytest.raises(TrainingFailedError, match=r"^AWS_ENDPOINT_URL is no address; give http://HOST:PORT or https"):
        RemoteCheckpoints("s3://bucket/x", _RUN)


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Answers as S3 does to credentials that have no rights."""

    def do_GET(self):
        body = b"<Error><Code>AccessDenied</Code><Message>test-key may not</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_credentials_without_rights_are_told(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(TrainingFailedError) as told:
            _store(s3).steps()
        server.shutdown()
    assert str(told.value) == (
        f"the checkpoint store s3://{s3.bucket} cannot be used: {endpoint} refuses ListObjectsV2 (AccessDenied); mend "
        "the credentials or their rights on the bucket"
    )
