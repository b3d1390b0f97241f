"""One rank's view of the store, on moto or the S3 server that the environment names. Half a minute."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from model import remote_checkpoints
from model.checkpoint_commit import DamagedError
from model.remote_checkpoints import RemoteCheckpoints
from model.training_errors import RequestError, TrainingFailedError
from tests.components.storage.faulty_proxy import (
    Fault,
    FaultyProxy,
    answers,
    breaks_off,
    does_and_answers,
    faulty_proxy,
)
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


@pytest.mark.parametrize(
    "endpoint",
    ["not an address", "localhost:9000", "http://", "ftp://127.0.0.1", "http://127.0.0.1:99999", "http://[::1"],
)
def test_an_endpoint_that_is_no_address_is_a_persons_mistake(endpoint: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(RequestError, match=r"^AWS_ENDPOINT_URL is no address; give http://HOST:PORT or https://HOST$"):
        RemoteCheckpoints("s3://bucket/x", _RUN)


def test_a_bucket_of_no_bucket_s_name_is_a_persons_mistake(s3: S3Server):
    with pytest.raises(RequestError, match=r"a bucket has no such name; mend STARLOOM_CHECKPOINT_STORE$"):
        RemoteCheckpoints("s3://No Bucket!/x", _RUN).steps()


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """What stands before the server; stores that are opened now go through it."""
    with faulty_proxy(s3.environment["AWS_ENDPOINT_URL"]) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        yield running


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", RequestError),
        ("InvalidAccessKeyId", RequestError),
        ("SignatureDoesNotMatch", RequestError),
        ("ExpiredToken", TrainingFailedError),  # the next attempt brings a new one
    ],
)
def test_what_a_person_must_mend_is_told_from_what_may_pass(
    s3: S3Server, proxy: FaultyProxy, code: str, kind: type[Exception]
):
    proxy.next(Fault("GET", "", 1, answers(403, code)))
    with pytest.raises(TrainingFailedError) as told:
        _store(s3).steps()
    assert type(told.value) is kind
    assert str(told.value) == (
        f"the checkpoint store s3://{s3.bucket} cannot be used: {proxy.endpoint} refuses ListObjectsV2 ({code}); mend "
        "the credentials or their rights on the bucket"
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_clocks_that_differ_are_told(s3: S3Server, proxy: FaultyProxy, tmp_path: Path, method: str):
    store = _store(s3)
    _put(store, tmp_path, 4)
    proxy.next(Fault(method, "", 1, answers(403, "RequestTimeTooSkewed", date="Wed, 01 Jan 2020 00:00:00 GMT")))
    use = {"GET": store.steps, "PUT": lambda: store.commit(8, b"{}")}.get(
        method, lambda: store.download(4, tmp_path / "metrics.jsonl")
    )
    with pytest.raises(TrainingFailedError) as told:
        use()
    assert type(told.value) is TrainingFailedError  # another node's clock may be right
    assert str(told.value) == (
        f"the checkpoint store s3://{s3.bucket} cannot be used: the clock of {proxy.endpoint} and the one of this "
        "machine differ by minutes; set the wrong one"
    )


def test_a_server_that_is_troubled_is_asked_again(s3: S3Server, proxy: FaultyProxy, tmp_path: Path):
    store = _store(s3)
    faults = [
        proxy.next(Fault("PUT", "metrics.jsonl", 1, answers(500, "InternalError"))),
        proxy.next(Fault("PUT", "commit.json", 1, does_and_answers(500, "InternalError"))),
        proxy.next(Fault("GET", "list-type=2", 2, answers(503, "SlowDown"))),
        proxy.next(Fault("HEAD", "metrics.jsonl", 1, answers(503, "ServiceUnavailable"))),
        proxy.next(Fault("GET", "metrics.jsonl", 1, breaks_off)),
        proxy.next(Fault("DELETE", "commit.json", 1, answers(503, "SlowDown"))),
    ]
    _put(store, tmp_path, 4)
    assert store.steps() == [4]
    store.download(4, tmp_path / "metrics.jsonl")
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"metrics.jsonl of 4"
    store.remove(4)
    assert s3.objects() == []
    assert [fault.met for fault in faults] == [1, 1, 2, 1, 1, 1]


def test_a_server_that_stays_troubled_is_told_after_three_tries(s3: S3Server, proxy: FaultyProxy):
    fault = proxy.next(Fault("PUT", "", 99, answers(503, "SlowDown")))
    with pytest.raises(TrainingFailedError, match=rf"{proxy.endpoint} answers PutObject with SlowDown; see its log"):
        _store(s3).commit(4, b"{}")
    assert fault.met == 3


def test_a_file_that_fails_half_way_up_is_taken_back(
    s3: S3Server, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(remote_checkpoints, "_PART_BYTES", 5 * 1024**2)
    (tmp_path / "rank-00000.safetensors").write_bytes(bytes(11 * 1024**2))
    proxy.next(Fault("PUT", "partNumber=2", 99, answers(500, "InternalError")))
    with pytest.raises(TrainingFailedError, match=r"answers UploadPart with InternalError; see its log"):
        _store(s3).upload(tmp_path / "rank-00000.safetensors", 4)
    assert s3.objects() == []
    assert not s3.client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads")
