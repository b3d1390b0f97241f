"""Both tiers together on moto or the environment's S3 server; two ranks are two threads here. Twenty seconds."""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from model import checkpoint_mirror
from model.checkpoint import Checkpoint, CheckpointStore
from model.checkpoint_mirror import CheckpointMirror
from model.disks import shared_disk
from model.remote_checkpoints import RemoteCheckpoints
from model.training_errors import CheckpointError, RequestError, TrainingFailedError
from tests.model.s3_server import S3Server, nobody_answers
from tests.model.thread_ranks import Meeting, layout_of, state_of, together

_RUN = {"model": "5f3b1c0d9e8a7766", "batch": "8"}
_FILES = {"commit.json", "metrics.jsonl", "rank-00000.safetensors", "rank-00001.safetensors"}


@dataclass
class _Run:
    """A run of some ranks on the disk and in the bucket."""

    directory: Path
    remote: RemoteCheckpoints
    """Of all ranks: the client knows threads."""
    world_size: int = 2

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        meeting, layout = Meeting(self.world_size), layout_of(self.world_size)
        self.stores: list[CheckpointStore] = []
        for rank in range(self.world_size):
            exchange = meeting.exchange_of(rank)
            disk = shared_disk(rank, self.world_size)
            mirror = CheckpointMirror(self.remote, self.directory, disk, exchange)
            self.stores.append(CheckpointStore(self.directory, _RUN, layout, disk, exchange, mirror))

    def note_of(self, store: CheckpointStore) -> Callable[[str], None]:
        return self.notes.append if store.rank == 0 else lambda _: None

    def save(self, step: int, *, metrics: bytes = b"metrics", wait: bool = True) -> None:
        """Wait for the upload too."""
        together(self.stores, lambda store: store.begin(step, step * 8, state_of(step, store.rank), metrics))
        assert together(self.stores, lambda store: store.settle(wait=True)) == [step] * self.world_size
        self.settle_upload(wait=wait)

    def settle_upload(self, *, wait: bool) -> None:
        said = together(self.stores, lambda store: store.settle_upload(self.note_of(store), wait=wait))
        assert said == [None] * self.world_size

    def load(self) -> list[Checkpoint | None]:
        found = together(self.stores, lambda store: store.load_latest(self.note_of(store)))
        for said in found:
            if isinstance(said, Exception):
                assert {(type(other), str(other)) for other in found} == {(type(said), str(said))}  # of all ranks
                raise said
        return found  # pyright: ignore[reportReturnType]

    def steps(self) -> list[int]:
        return sorted(int(path.parent.name.removeprefix("step-")) for path in self.directory.glob("*/commit.json"))

    def key(self, step: int, name: str) -> str:
        """In the bucket."""
        return f"{self.remote.url.split('/', 3)[3]}step-{step:08d}/{name}"


@pytest.fixture
def run(s3: S3Server, tmp_path: Path) -> _Run:
    return _Run(tmp_path / "checkpoints", RemoteCheckpoints(f"s3://{s3.bucket}/runs", _RUN))


def _on_an_empty_disk(run: _Run, world_size: int = 2) -> _Run:
    shutil.rmtree(run.directory, ignore_errors=True)
    return _Run(run.directory, run.remote, world_size)


def test_the_store_holds_the_bytes_of_the_disk(run: _Run, s3: S3Server):
    run.save(4)
    assert {key.rpartition("/")[2] for key in s3.objects()} == _FILES
    for name in _FILES:
        kept = s3.client.get_object(Bucket=s3.bucket, Key=run.key(4, name))["Body"].read()
        assert kept == (run.directory / "step-00000004" / name).read_bytes()
    assert run.notes == []


def test_the_newest_two_are_kept_on_both(run: _Run, s3: S3Server):
    for step in (4, 8, 12):
        run.save(step)
    assert run.steps() == s3.committed_steps() == [8, 12]
    assert len(s3.objects()) == 2 * len(_FILES)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_any_number_of_ranks_goes_on_from_the_store_on_an_empty_disk(run: _Run, world_size: int):
    run.save(4)
    run.save(8, metrics=b"all so far")
    again = _on_an_empty_disk(run, world_size)
    for rank, found in enumerate(again.load()):
        assert found is not None
        assert (found.step, found.metrics, found.layout) == (8, b"all so far", layout_of(2))
        saved = state_of(8, rank % 2)["w"]
        read = found.state.fragment("w", saved.place)
        assert {kind: tensor.numpy().tobytes() for kind, tensor in read.items()} == {
            kind: tensor.numpy().tobytes() for kind, tensor in saved.tensors.items()
        }
    (note,) = again.notes
    assert note == f"fetched the checkpoint of step 8 from {run.remote.url}"
    assert {path.name for path in (run.directory / "step-00000008").iterdir()} == _FILES
    assert again.steps() == [8]


def test_the_newer_tier_is_taken(run: _Run, s3: S3Server):
    run.save(4)
    run.save(8)
    shutil.rmtree(run.directory / "step-00000008")
    assert [found and found.step for found in run.load()] == [8, 8]  # the store's
    s3.client.delete_object(Bucket=s3.bucket, Key=run.key(8, "commit.json"))
    run.notes.clear()
    assert [found and found.step for found in run.load()] == [8, 8]  # the disk's
    assert run.notes == []


def test_what_is_damaged_on_the_disk_is_taken_from_the_store(run: _Run):
    run.save(4)
    run.save(8)
    file = run.directory / "step-00000008" / "rank-00001.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-2])
    assert [found and found.step for found in run.load()] == [8, 8]
    assert file.read_bytes() == whole
    assert run.notes[0].startswith("the checkpoint of step 8 is damaged (")
    assert run.notes[1].startswith("fetched the checkpoint of step 8 from ")


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        ("flip", "rank-00001.safetensors"),
        ("truncate", "rank-00000.safetensors"),
        ("remove", "rank-00001.safetensors"),
        ("truncate", "metrics.jsonl"),
        ("truncate", "commit.json"),
    ],
)
def test_what_is_damaged_in_the_store_is_told_and_the_one_before_is_taken(
    run: _Run, s3: S3Server, file: str, damage: str
):
    run.save(4)
    run.save(8)
    which = {"Bucket": s3.bucket, "Key": run.key(8, file)}
    content = s3.client.get_object(**which)["Body"].read()
    match damage:
        case "flip":
            s3.client.put_object(**which, Body=bytes([content[0] ^ 1]) + content[1:])
        case "truncate":
            s3.client.put_object(**which, Body=content[:-2])
        case _:
            s3.client.delete_object(**which)
    again = _on_an_empty_disk(run)
    assert [found and found.step for found in again.load()] == [4, 4]
    assert again.steps() == s3.committed_steps() == [4]
    assert again.notes[0].startswith(f"the checkpoint of step 8 in {run.remote.url} is damaged (")
    assert file in again.notes[0]
    assert again.notes[1:] == [f"fetched the checkpoint of step 4 from {run.remote.url}"]
    again.save(8)  # its place is free again
    assert s3.committed_steps() == [4, 8]


def test_if_all_are_damaged_training_starts_anew(run: _Run, s3: S3Server):
    run.save(4)
    s3.client.put_object(Bucket=s3.bucket, Key=run.key(4, "metrics.jsonl"), Body=b"")
    again = _on_an_empty_disk(run)
    assert again.load() == [None, None]
    assert len(again.notes) == 1


def test_another_checkpoint_of_the_same_step_is_not_overwritten(run: _Run, s3: S3Server):
    run.save(4)
    before = {key: s3.client.get_object(Bucket=s3.bucket, Key=key)["Body"].read() for key in s3.objects()}
    run.save(4)  # an equal one is fine
    assert run.notes == []
    run.save(4, metrics=b"of another attempt")
    (note,) = run.notes
    assert note.startswith("the checkpoint of step 4 was not uploaded and stands on the disk alone: s3://")
    assert "step-00000004 holds another checkpoint of this run, which is left as it is; remove it" in note
    assert {key: s3.client.get_object(Bucket=s3.bucket, Key=key)["Body"].read() for key in before} == before


def test_the_directory_of_another_run_is_refused_before_anything_is_fetched(run: _Run, tmp_path: Path):
    run.save(8)
    file = run.directory / "step-00000008" / "commit.json"
    file.write_bytes(file.read_bytes().replace(b'"batch": "8"', b'"batch": "16"').replace(b'"step": 8', b'"step": 4'))
    file.parent.rename(run.directory / "step-00000004")
    with pytest.raises(CheckpointError, match=r"which differs in batch \(there 16, here 8\)"):
        run.load()
    assert run.steps() == [4]


class _Slow:
    """Uploads wait until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go = threading.Event()
        self.begun: list[tuple[str, int]] = []
        upload = RemoteCheckpoints.upload

        def upload_later(remote: RemoteCheckpoints, path: Path, step: int) -> None:
            self.begun.append((path.name, step))
            assert self.may_go.wait(20)
            upload(remote, path, step)

        monkeypatch.setattr(RemoteCheckpoints, "upload", upload_later)

    def wait_for(self, step: int, run: _Run) -> None:
        """Both ranks are at it."""
        deadline = time.monotonic() + 10
        while {(f"rank-{rank:05d}.safetensors", step) for rank in range(2)} - {*self.begun}:
            run.settle_upload(wait=False)
            assert time.monotonic() < deadline


def test_training_goes_on_while_an_upload_runs_and_the_newest_wins(
    run: _Run, s3: S3Server, monkeypatch: pytest.MonkeyPatch
):
    slow = _Slow(monkeypatch)
    run.save(4, wait=False)
    slow.wait_for(4, run)
    for step in (8, 12, 16):
        run.save(step, wait=False)
    assert run.steps() == [4, 12, 16]  # what is being uploaded stays
    assert s3.committed_steps() == []
    (note,) = run.notes
    assert note == (
        "uploads take longer than the time between two checkpoints: that of step 8 is left out, and so will be "
        "others, untold; the newest is uploaded as soon as it can be"
    )
    slow.may_go.set()
    run.settle_upload(wait=True)
    assert s3.committed_steps() == [4, 16]
    assert {step for _, step in slow.begun} == {4, 16}
    run.save(20)
    assert run.steps() == s3.committed_steps() == [16, 20]
    assert len(run.notes) == 1


def test_the_end_waits_for_an_upload_but_not_for_ever(run: _Run, s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    slow = _Slow(monkeypatch)
    monkeypatch.setattr(checkpoint_mirror, "_SECONDS_AT_THE_END", 0.25)
    run.save(4, wait=False)
    slow.wait_for(4, run)
    run.settle_upload(wait=True)
    (note,) = run.notes
    assert note.startswith(
        "the checkpoint of step 4 was not uploaded in 0.25 seconds and stands on the disk alone; see"
    )
    together(run.stores, lambda store: store.close())  # does not wait either
    slow.may_go.set()
    assert s3.committed_steps() == []


def test_one_rank_that_cannot_upload_leaves_no_commit_and_the_next_checkpoint_tries_again(
    run: _Run, s3: S3Server, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as broken:
        upload = RemoteCheckpoints.upload

        def fail_for_rank_1(remote: RemoteCheckpoints, path: Path, step: int) -> None:
            if path.name == "rank-00001.safetensors":
                raise RuntimeError("a fault that nobody thought of")
            upload(remote, path, step)

        broken.setattr(RemoteCheckpoints, "upload", fail_for_rank_1)
        run.save(4)
    assert run.notes == [
        "the checkpoint of step 4 was not uploaded and stands on the disk alone: RuntimeError: a fault that nobody "
        "thought of"
    ]
    assert s3.committed_steps() == []
    assert run.steps() == [4]
    run.save(8)
    assert s3.committed_steps() == [8]
    assert not any("step-00000004" in key for key in s3.objects())


def test_half_uploaded_files_of_a_killed_attempt_are_ended_at_the_start(run: _Run, s3: S3Server):
    s3.client.create_multipart_upload(Bucket=s3.bucket, Key=run.key(4, "rank-00000.safetensors"))
    assert run.load() == [None, None]
    assert not s3.client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads")


@pytest.mark.parametrize("is_one_on_the_disk", [False, True])
def test_a_store_that_is_down_at_the_start_is_an_error_since_it_may_hold_a_newer_one(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_one_on_the_disk: bool
):
    with nobody_answers() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
        run = _Run(tmp_path, RemoteCheckpoints("s3://code", _RUN))
        if is_one_on_the_disk:
            run.save(4, wait=False)
        with pytest.raises(TrainingFailedError, match=f"s3://code cannot be used: http://{address} does not answer"):
            run.load()
    found = together(run.stores, lambda store: store.load_latest(print, to_export=True))
    assert [isinstance(one, Checkpoint) for one in found] == [is_one_on_the_disk] * 2


def test_what_a_person_must_mend_in_the_store_is_a_mistake_on_every_rank(s3: S3Server, tmp_path: Path):
    run = _Run(tmp_path, RemoteCheckpoints("s3://starloom-no-such-bucket", _RUN))
    with pytest.raises(RequestError, match=r"has no such bucket; create it or mend STARLOOM_CHECKPOINT_STORE$"):
        run.load()
