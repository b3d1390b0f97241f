"""A training on a cluster, from `model.launcher` to its pods: the process that stands for the ranks, the API, the pods.

The API is a stand-in without controllers, the pods are real processes that a small one of the tests starts; see
`tests/k8s/cluster_of_processes.py`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.attempts import read_held_seconds
from model.launcher import train
from model.reporting import ListSink, reporting_to
from model.train_request import CHECKPOINTS_DIR, TrainRequest
from model.training_errors import TrainingFailedError
from tests.k8s.api_stand_in import ApiStandIn
from tests.k8s.cluster_of_processes import ClusterOfProcesses, write_profile
from tests.model.training_rank import assert_same_artifact, request_of, run_request

pytestmark = pytest.mark.slow

NAME = "pretrain-0123456789ab"
PROFILE = "profiles/pods.yaml"
STAND_IN = (sys.executable, "-P", "-m", "flows.gang_process", PROFILE, NAME)
BOUND_SECONDS = 120


@pytest.fixture
def cluster(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterOfProcesses]:
    """Two nodes that see a workspace with the corpus, and an API to which the environment points."""
    workspace = tmp_path / "workspace"
    shutil.copytree(corpus, workspace)
    write_profile(workspace / PROFILE)
    api = ApiStandIn()
    api.start()
    kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
    running = ClusterOfProcesses(api, workspace, nodes=2)
    running.start()
    monkeypatch.setenv("STARLOOM_WORKSPACE", str(workspace))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.chdir(workspace)
    yield running
    running.stop()
    api.stop()


@pytest.fixture(scope="module")
def on_one_machine(ranks, corpus, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("one")
    assert run_request(ranks, request_of(corpus, directory, layout={"data": 2})) == []
    return directory


def asked(cluster: ClusterOfProcesses, **pretrain: Any) -> TrainRequest:
    """Of two replicas, in the workspace."""
    return request_of(cluster.workspace, cluster.workspace / "staging", layout={"data": 2}, **pretrain)


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + BOUND_SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def has_checkpoint(request: TrainRequest) -> bool:
    return any((request.work_dir / CHECKPOINTS_DIR).glob("step-*/commit.json"))


def follower(request: TrainRequest) -> "subprocess.Popen[str]":
    """The process that `train` starts, on its own."""
    request.work_dir.mkdir(exist_ok=True)
    file = request.work_dir / "request.json"
    file.write_text(request.model_dump_json())
    return subprocess.Popen(
        [*STAND_IN, str(file), "--parent", str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def events_until(process: "subprocess.Popen[str]", kind: str) -> list[dict[str, Any]]:
    """Those up to the first of that kind."""
    heard: list[dict[str, Any]] = []
    for line in process.stdout or ():
        heard.append(json.loads(line))
        if heard[-1]["event"] == kind:
            break
    return heard


def test_a_training_ends_in_the_bits_of_one_machine_though_a_pod_is_killed(
    cluster: ClusterOfProcesses, on_one_machine: Path
) -> None:
    request = asked(cluster)

    def kill_one(_: str, pods: list[Any]) -> None:
        until(lambda: has_checkpoint(request))
        pods[1].kill()

    cluster.disturb = kill_one
    sink = ListSink()
    with reporting_to(sink):
        result = train(request, STAND_IN)
    assert result.step == 12
    assert cluster.gangs[NAME].codes == [137, 0]
    assert read_held_seconds(request.work_dir) > 2  # of four pods, in seconds as the API tells times
    assert_same_artifact(cluster.workspace / "staging", on_one_machine)
    assert sink.notes[0] == f"submitted JobSet {NAME} in starloom-training, 2 pods"
    assert "2 of 2 pods run" in sink.notes
    assert any(note.startswith("all pods begin anew from the last checkpoint") for note in sink.notes)
    assert sink.notes[-1].endswith("restarted 1 times")
    assert sink.measured[-1][0] == 12
    assert (12, 12) in {(done, total) for done, total, _ in sink.progresses}


def test_a_gang_outlives_who_followed_it_and_is_adopted(cluster: ClusterOfProcesses, on_one_machine: Path) -> None:
    request = asked(cluster)
    killed = follower(request)
    events_until(killed, "metrics")
    killed.kill()

    ended = follower(request)
    heard = events_until(ended, "metrics")
    assert heard[0]["text"] == f"goes on following JobSet {NAME} in starloom-training, 2 pods"
    ended.send_signal(signal.SIGTERM)
    left = events_until(ended, "error")[-1]
    assert left["kind"] == "TrainingPreemptedError"
    assert left["text"].startswith(
        f"JobSet {NAME} goes on in starloom-training; run again to follow it, or end it: kubectl"
    )
    assert ended.wait(BOUND_SECONDS) == 75

    gang = cluster.gangs[NAME]
    until(lambda: gang.codes)
    shutil.rmtree(request.out)  # as the step does that begins again
    request.out.mkdir()
    train(request, STAND_IN)
    assert gang.codes == [0]
    assert cluster.gangs[NAME] is not gang  # one that only writes what was cleared away
    assert_same_artifact(cluster.workspace / "staging", on_one_machine)


def test_a_node_that_is_lost_for_good_leaves_fewer_replicas_that_go_on(
    cluster: ClusterOfProcesses, on_one_machine: Path
) -> None:
    request = asked(cluster)

    def lose_a_node(name: str, pods: list[Any]) -> None:
        if name == NAME:
            until(lambda: has_checkpoint(request))
            cluster.nodes = 1
            pods[1].kill()

    cluster.disturb = lose_a_node
    sink = ListSink()
    with reporting_to(sink):
        result = train(request, STAND_IN)
    assert list(cluster.gangs) == [NAME, f"{NAME}-d1"]
    assert any("pod 1 waits: 0/3 nodes are available" in note for note in sink.notes)
    assert "lost nodes did not come back; goes on with 1 nodes, data 1, accumulation 4" in sink.notes
    assert sink.progresses[0][0] == 0
    alone = json.loads((on_one_machine / "out" / "metrics.jsonl").read_bytes().splitlines()[-1])
    assert result.loss == pytest.approx(alone["loss"], rel=1e-5)
    assert cluster.gangs[f"{NAME}-d1"].codes == [0]
    assert not any(path.endswith(f"/jobsets/{NAME}") for path in cluster.api.objects)


def test_a_mistake_comes_out_as_its_sentence_and_is_not_tried_again(cluster: ClusterOfProcesses) -> None:
    request = asked(cluster)
    (cluster.workspace / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(TrainingFailedError, match=r"tokenizer\.json"):
        train(request, STAND_IN)
    assert cluster.gangs[NAME].codes == [42]
