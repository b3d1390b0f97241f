"""A gang of pods from its own manifest: four processes with a disk each, an S3 between them, one of them killed.

Real processes, and moto or the S3 server that the environment names; about a minute on two cores.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from k8s.gang_manifests import gang_manifests
from k8s.profile import load_profile
from k8s.request import GangRequest
from model.train_request import MISTAKE, PREEMPTED, TrainRequest
from tests.k8s.pod_processes import GangOfProcesses, Pod
from tests.model.training_rank import ARTIFACT, request_of, run_request

pytestmark = pytest.mark.slow

_LAYOUT = {"tensor": 2, "pipeline": 2}
_NAME = "pretrain-0123456789ab"


@pytest.fixture
def gang_of(corpus: Path, tmp_path: Path, s3) -> Callable[..., GangOfProcesses]:
    """Makes the gang of a request that asks for so much."""

    def make(**asked) -> GangOfProcesses:
        request = request_of(corpus, tmp_path / "asked", **asked)
        request = request.model_copy(update={"checkpoint_store": f"s3://{s3.bucket}/runs"})

        def fill(node: Path) -> None:
            for directory in ("shards", "tokenizer"):
                shutil.copytree(corpus / directory, node / directory)
            (node / "out").mkdir()
            (node / "request.json").write_text(_at(node, request).model_dump_json())

        (jobset,) = gang_manifests(
            load_profile("spot-h100"),
            GangRequest(
                name=_NAME,
                agent=("python", "-m", "model.torchrun", "--pipeline-nodes=2"),
                command=("-m", "model.train_worker", "/workspace/request.json"),
                nodes=4,
                processes_per_node=1,
                close_pods=2,
                environment={"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
                checkpoint_store=request.checkpoint_store,
            ),
        )
        return GangOfProcesses(jobset, tmp_path / "cluster", fill, {"starloom-s3": s3.environment})

    return make


def _at(node: Path, request: TrainRequest) -> TrainRequest:
    """As it reads on the node, where the volume is mounted."""
    places = {"token_shards": "shards", "tokenizer": "tokenizer", "work_dir": "work", "out": "out"}
    return request.model_copy(update={name: node / place for name, place in places.items()})


def _once_committed(s3, step: int, act: Callable[[], None]) -> None:
    deadline = time.monotonic() + 120
    while not any(each >= step for each in s3.committed_steps()):
        assert time.monotonic() < deadline, f"no checkpoint of step {step} in the store"
        time.sleep(0.02)
    act()


@pytest.fixture(scope="module")
def on_one_machine(ranks, corpus, tmp_path_factory):
    directory = tmp_path_factory.mktemp("one")
    assert run_request(ranks, request_of(corpus, directory, layout=_LAYOUT, num_steps=60)) == []
    return directory / "out"


@pytest.mark.parametrize(("how", "first_code", "counted", "ignored"), [("kill", 137, 1, 0), ("evict", PREEMPTED, 0, 1)])
def test_pods_that_lose_a_node_and_all_disks_end_in_the_bits_of_one_machine(
    gang_of, s3, on_one_machine, how, first_code, counted, ignored
):
    gang = gang_of(layout=_LAYOUT, num_steps=60)

    def disturb(pods: list[Pod]) -> None:
        _once_committed(s3, 4, getattr(pods[3], how))

    assert gang.run(disturb) == "succeeded"
    assert gang.codes == [first_code, 0]
    assert (gang.restarts, gang.ignored_restarts) == (counted, ignored)
    out = gang.place / "attempt-1-node-0" / "out"
    for file in ARTIFACT:
        assert (out / file).read_bytes() == (on_one_machine / file).read_bytes(), file
    assert s3.committed_steps() == [56, 60]


def test_a_mistake_is_not_tried_again(gang_of):
    gang = gang_of(layout={"data": 2})  # four pods for two ranks
    assert gang.run() == "failed"
    assert gang.codes == [MISTAKE]
