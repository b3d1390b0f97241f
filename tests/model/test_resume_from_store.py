"""Whole runs that keep their checkpoints in S3 and lose their disk. Real ranks; about twenty seconds."""

import re
import shutil
import threading
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.model.rank_server import RankFailedError
from tests.model.s3_server import fresh_bucket, s3_server
from tests.model.training_rank import assert_same_artifact, request_of, run_request

pytestmark = pytest.mark.slow

_TWO = {"layout": {"data": 2}, "accumulation_steps": 1}


@pytest.fixture(scope="module")
def undisturbed(ranks, corpus, tmp_path_factory):
    """A run of two ranks without a store."""
    directory = tmp_path_factory.mktemp("undisturbed")
    assert run_request(ranks, request_of(corpus, directory, **_TWO)) == []
    return directory


@pytest.fixture
def run(ranks, corpus, tmp_path):
    """Takes a run up with a bucket of `s3`; returns the notes of rank 0, None if a rank was killed."""

    def run(s3, *, on_an_empty_disk=False, asked=None, **disturbed):
        if on_an_empty_disk:
            shutil.rmtree(tmp_path / "work")
        request = request_of(corpus, tmp_path, **(asked or _TWO))
        request = request.model_copy(update={"checkpoint_store": f"s3://{s3.bucket}/runs"})
        spec = {"environment": s3.environment, **disturbed}
        request.work_dir.mkdir(exist_ok=True)
        file = request.work_dir / "request.json"
        file.write_text(request.model_dump_json(), encoding="utf-8")
        world_size = request.pretrain.layout.world_size
        return ranks.run("tests.model.store_rank:train", world_size, request=str(file), **spec)[0]

    return run


def test_a_run_that_lost_its_disk_ends_in_the_same_bits(run, s3, tmp_path, undisturbed):
    (note,) = run(s3, preempt_at=6)
    step = int(re.match(r"training was asked to stop and has saved step ([67]) of 12", note)[1])
    assert s3.committed_steps() == [4, step]  # the end waited for it

    fetched, resumed = run(s3, on_an_empty_disk=True)
    assert fetched.startswith(f"fetched the checkpoint of step {step} from s3://{s3.bucket}/runs/")
    assert resumed == f"resumed at step {step}"
    assert_same_artifact(tmp_path, undisturbed)
    assert s3.committed_steps() == [8, 12]

    (last,) = (key for key in s3.objects() if key.endswith("step-00000012/commit.json"))
    s3.client.delete_object(Bucket=s3.bucket, Key=last)
    fetched, *others = run(s3, on_an_empty_disk=True, asked={"layout": {"pipeline": 2}})
    assert fetched.startswith("fetched the checkpoint of step 8 from ")
    assert others == ["resumed at step 8", "in another layout: from here on the weights agree but for rounding"]
    wanted, found = (load_file(directory / "out" / "model.safetensors") for directory in (undisturbed, tmp_path))
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-3, atol=1e-4)
    assert s3.committed_steps() == [8, 12]


def test_a_run_killed_between_upload_and_commit_leaves_no_checkpoint_in_the_store(run, s3, tmp_path, undisturbed):
    assert run(s3, dies_before_commit=True) is None
    assert {key.rpartition("/")[2] for key in s3.objects()} == {
        "metrics.jsonl",
        "rank-00000.safetensors",
        "rank-00001.safetensors",
    }
    notes = run(s3, on_an_empty_disk=True)
    assert not any(note.startswith(("fetched", "resumed")) for note in notes)  # it began anew
    assert_same_artifact(tmp_path, undisturbed)
    assert s3.committed_steps()[-1] == 12


def test_a_store_that_goes_down_costs_no_training_and_one_that_is_down_begins_none(run, tmp_path, undisturbed):
    with s3_server() as running:
        s3 = fresh_bucket(running)
        waits = tmp_path / "work" / "waits"

        def stop_the_server():
            deadline = time.monotonic() + 60
            while not waits.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            running.stop()
            waits.unlink(missing_ok=True)

        thread = threading.Thread(target=stop_the_server)
        thread.start()
        notes = run(s3, wait_at=1)
        thread.join()
    assert_same_artifact(tmp_path, undisturbed)
    down = f"the checkpoint store s3://{s3.bucket} cannot be used: {s3.environment['AWS_ENDPOINT_URL']} does not answer"
    failed = [note for note in notes if "was not uploaded and stands on the disk alone" in note]
    assert failed
    assert all(down in note for note in failed)
    assert failed[-1].startswith("the checkpoint of step 12 ")
    with pytest.raises(RankFailedError, match=f"TrainingFailedError: {down}"):
        run(s3)


_NODES = {"layout": {"data": 2, "tensor": 2}, "accumulation_steps": 1}
"""Four ranks; with two on a disk, each replica has its own."""


@pytest.fixture(scope="module")
def undisturbed_on_nodes(ranks, corpus, tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed_on_nodes")
    assert run_request(ranks, request_of(corpus, directory, **_NODES)) == []
    return directory


def test_nodes_without_a_common_disk_go_on_from_the_store(run, s3, tmp_path, undisturbed_on_nodes):
    """With what was left on their disks, with none of it, and in another layout."""
    on_nodes = {"asked": _NODES, "ranks_per_disk": 2}
    (note,) = run(s3, preempt_at=6, **on_nodes)
    step = int(re.match(r"training was asked to stop and has saved step ([67]) of 12", note)[1])
    held = {path.name for path in (tmp_path / "work" / "disk-1" / "checkpoints" / f"step-{step:08d}").iterdir()}
    assert held == {"rank-00002.safetensors", "rank-00003.safetensors"}

    for on_an_empty_disk in (False, True):
        fetched, resumed, exported = run(s3, on_an_empty_disk=on_an_empty_disk, **on_nodes)
        assert fetched.startswith("fetched the checkpoint of step ")
        assert resumed == f"resumed at step {12 if on_an_empty_disk else step}"
        assert exported.startswith("fetched the checkpoint of step 12 ")  # rank 0 writes the weights of all
        assert_same_artifact(tmp_path, undisturbed_on_nodes)
        assert s3.committed_steps() == [8, 12]
    steps = [path.name for path in sorted((tmp_path / "work" / "disk-1" / "checkpoints").iterdir())]
    assert steps == ["step-00000012"]

    (last,) = (key for key in s3.objects() if key.endswith("step-00000012/commit.json"))
    s3.client.delete_object(Bucket=s3.bucket, Key=last)
    elsewhere = {"asked": {"layout": {"pipeline": 2, "tensor": 2}}, "ranks_per_disk": 2}
    _, resumed, told, _ = run(s3, on_an_empty_disk=True, **elsewhere)
    assert resumed == "resumed at step 8"
    assert told.startswith("in another layout")
    held = {path.name for path in (tmp_path / "work" / "disk-1" / "checkpoints" / "step-00000008").iterdir()}
    assert held == {*(f"rank-0000{rank}.safetensors" for rank in range(4)), "metrics.jsonl", "commit.json"}


def test_nodes_without_a_common_disk_and_without_a_store_train_nothing(ranks, corpus, tmp_path):
    request = request_of(corpus, tmp_path, **_TWO)
    with pytest.raises(RankFailedError, match=r"not all ranks see one disk at .*set STARLOOM_CHECKPOINT_STORE"):
        run_request(ranks, request, "train_on_own_disks")
