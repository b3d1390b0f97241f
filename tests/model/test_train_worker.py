"""Ranks started by hand and by torchrun, without the launcher. About a minute and a half on two cores."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from k8s.failure_rules import MISTAKE_EXIT_CODE, PREEMPTED_EXIT_CODE
from model.batches import ShortCorpusError
from model.event_stream import Failure, Metrics, Progress, read_event
from model.hang_watch import HUNG
from model.huggingface_format import BundleError
from model.source_blend import BlendError
from model.text_codec import TextCodecError
from model.token_shards import TokenShardError
from model.train_request import MISTAKE, PREEMPTED, TrainRequest
from model.train_worker import _exit_code, _hang_seconds, _read_request
from model.training_errors import (
    CheckpointError,
    LayoutError,
    RequestError,
    TrainingFailedError,
    TrainingPreemptedError,
)
from model.training_lock import only_trainer
from tests.free_port import free_port
from tests.model.rank_server import RankFailedError, RankServer
from tests.model.training_rank import assert_same_artifact, request_of, run_request

pytestmark = pytest.mark.slow


def _written(request: TrainRequest) -> Path:
    request.work_dir.mkdir()
    path = request.work_dir / "request.json"
    path.write_text(request.model_dump_json(), encoding="utf-8")
    return path


@pytest.fixture
def request_file(tmp_path: Path, corpus: Path) -> Path:
    """A long run of one process, checkpoints far apart."""
    return _written(request_of(corpus, tmp_path, num_steps=100_000, checkpoint_every_steps=100_000))


def _environment(**more: str) -> dict[str, str]:
    return os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"} | more


def _start(request_file: Path, world_size: int = 1) -> subprocess.Popen[bytes]:
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "model.train_worker", str(request_file)],
        env=_environment(MASTER_PORT=str(free_port()), **rank),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def test_sigterm_finishes_the_step_saves_and_exits_as_preempted(request_file: Path):
    with _start(request_file) as worker:
        assert worker.stdout is not None
        events = [read_event(worker.stdout.readline())]
        worker.send_signal(signal.SIGTERM)
        events += [read_event(line) for line in worker.stdout]  # nothing else is on standard output
    assert worker.returncode == PREEMPTED == 75
    assert events[0] == Progress(done=0, total=100_000, what="steps")
    assert any(isinstance(event, Metrics) for event in events)
    last_step = max(event.done for event in events if isinstance(event, Progress))
    assert isinstance(events[-1], Failure)
    assert events[-1].kind == "TrainingPreemptedError"
    assert f"has saved step {last_step} of 100000" in events[-1].text
    assert (request_file.parent / "checkpoints" / f"step-{last_step:08d}" / "commit.json").exists()


def _refused(worker: subprocess.Popen[bytes], exit_code: int = MISTAKE) -> Failure:
    with worker:
        assert worker.stdout is not None
        failure = read_event(worker.stdout.read())
    assert worker.returncode == exit_code
    assert isinstance(failure, Failure)
    return failure


def test_another_number_of_processes_than_the_layout_has_is_refused(request_file: Path):
    failure = _refused(_start(request_file, world_size=2))
    assert failure.kind == "LayoutError"
    assert failure.text == "2 processes were started for a layout of 1; start as many"


def test_a_request_that_is_none_is_one_sentence(request_file: Path):
    request_file.write_text(request_file.read_text().replace('"seed"', '"sead"'))
    failure = _refused(_start(request_file))
    assert failure.kind == "RequestError"
    assert failure.text == f"{request_file} is no request of a training: pretrain.seed: field required; mend it"
    with pytest.raises(
        RequestError, match=r"there is no request .*nothing\.json; give the file that the launcher wrote"
    ):
        _read_request(request_file.with_name("nothing.json"))


def test_a_store_at_no_address_is_a_persons_mistake(request_file: Path, monkeypatch: pytest.MonkeyPatch):
    request = TrainRequest.model_validate_json(request_file.read_bytes())
    request_file.write_text(request.model_copy(update={"checkpoint_store": "s3://bucket/runs"}).model_dump_json())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "no address")
    failure = _refused(_start(request_file))
    assert failure.kind == "RequestError"
    assert failure.text == "AWS_ENDPOINT_URL is no address; give http://HOST:PORT or https://HOST"


def test_what_a_person_must_mend_is_told_from_what_the_machines_did():
    told = {
        type(error).__name__: _exit_code(error)
        for error in (
            *(LayoutError(), CheckpointError(), RequestError(), TokenShardError(), ShortCorpusError(), BlendError()),
            *(TextCodecError(), BundleError(), TrainingPreemptedError(), TrainingFailedError()),
        )
    }
    ends_otherwise = {"TrainingPreemptedError": PREEMPTED, "TrainingFailedError": 1}
    assert told == dict.fromkeys(told, MISTAKE) | ends_otherwise
    assert (MISTAKE, PREEMPTED, HUNG) == (42, 75, 71)
    assert (MISTAKE, PREEMPTED) == (MISTAKE_EXIT_CODE, PREEMPTED_EXIT_CODE)  # what the cluster's rules ask for


def test_two_trainings_in_one_directory_are_refused_without_a_launcher_too(request_file: Path):
    with only_trainer(request_file.parent):
        failure = _refused(_start(request_file), 1)  # it may be over soon
    assert failure.text.startswith(f"another training keeps its checkpoints in {request_file.parent}; wait for")


def test_a_dead_rank_under_torchrun_is_started_again_and_no_bit_is_another(
    tmp_path: Path, corpus: Path, ranks: RankServer
):
    asked = {"layout": {"data": 2}, "accumulation_steps": 16}
    assert run_request(ranks, request_of(corpus, tmp_path / "undisturbed", **asked)) == []
    request = request_of(corpus, tmp_path / "killed", **asked)
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--max-restarts", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", *torchrun, "-m", "model.train_worker", str(_written(request))],
        # Else the restarted ranks are sent to the addresses of the dead ones (torch 2.13).
        env=_environment(TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as agent:
        metrics = request.work_dir / "metrics.jsonl"
        while agent.poll() is None and not (
            metrics.exists() and metrics.read_bytes().count(b"\n") >= 9
        ):  # step 4 is saved
            time.sleep(0.02)
        workers = [
            child for child in psutil.Process(agent.pid).children(recursive=True) if child.environ().get("RANK") == "1"
        ]
        assert len(workers) == 1
        workers[0].kill()
        assert agent.stdout is not None
        told = agent.stdout.read().decode()
    assert agent.returncode == 0
    assert re.findall(r"resumed at step \d+", told) in (["resumed at step 4"], ["resumed at step 8"])
    assert_same_artifact(tmp_path / "killed", tmp_path / "undisturbed")


def _pods(number: int, request_file: Path, *options: str) -> list[subprocess.Popen[bytes]]:
    """A gang of pods of one process, as a cluster starts them."""
    meeting = [f"--nnodes={number}", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "model.torchrun", *options, *meeting, f"--node-rank={pod}"),
                *("-m", "model.train_worker", str(request_file)),
            ],
            env=_environment(TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for pod in range(number)
    ]


def test_four_pods_of_one_process_train_as_one_machine_does(tmp_path: Path, corpus: Path, ranks: RankServer):
    asked = {"layout": {"data": 2, "pipeline": 2}, "num_steps": 4}
    assert run_request(ranks, request_of(corpus, tmp_path / "one", **asked)) == []
    request_file = _written(request_of(corpus, tmp_path / "pods", **asked))
    pods = _pods(4, request_file, "--pipeline-nodes=2")  # pods 0 and 1 hold both stages of the first replica
    told = [pod.communicate()[0] for pod in pods]
    assert [pod.returncode for pod in pods] == [0] * 4
    assert [b"metrics" in said for said in told] == [True, False, False, False]  # rank 0 is in pod 0
    assert_same_artifact(tmp_path / "pods", tmp_path / "one")


def test_pods_that_meet_a_mistake_all_end_with_42(tmp_path: Path, corpus: Path):
    pods = _pods(2, _written(request_of(corpus, tmp_path, layout={"data": 4})))
    for pod in pods:
        pod.communicate()
    assert [pod.returncode for pod in pods] == [MISTAKE] * 2


def test_a_pod_that_is_evicted_takes_the_gang_with_it_and_all_have_saved(tmp_path: Path, corpus: Path):
    asked = {"layout": {"data": 2}, "num_steps": 100_000, "checkpoint_every_steps": 100_000}
    request_file = _written(request_of(corpus, tmp_path, **asked))
    pods = _pods(2, request_file)
    assert pods[0].stdout is not None
    assert b"progress" in pods[0].stdout.readline()
    pods[1].send_signal(signal.SIGTERM)
    for pod in pods:
        pod.communicate()
    assert [pod.returncode for pod in pods] == [PREEMPTED] * 2
    assert len(list((request_file.parent / "checkpoints").glob("step-*/commit.json"))) == 1


def test_a_layout_that_does_not_fit_is_refused_without_a_launcher_too(tmp_path: Path, corpus: Path, ranks: RankServer):
    with pytest.raises(
        RankFailedError, match=r"LayoutError: pretrain.layout does not fit the model: layout.pipeline 3"
    ):
        run_request(ranks, request_of(corpus, tmp_path, layout={"pipeline": 3}))


def test_a_short_corpus_is_one_sentence(tmp_path: Path, corpus: Path, ranks: RankServer):
    sentence = r"ShortCorpusError: split 'train' has \d+ tokens, and no source of it fills a window, which takes 100001"
    with pytest.raises(RankFailedError, match=sentence):
        run_request(ranks, request_of(corpus, tmp_path, model={"context_length_tokens": 100_000}))


def test_a_token_beyond_the_vocabulary_is_one_sentence(tmp_path: Path, corpus: Path, ranks: RankServer):
    damaged = shutil.copytree(corpus, tmp_path / "corpus")
    for shard in (damaged / "shards").glob("train*.bin"):
        shard.write_bytes(b"\xff" * shard.stat().st_size)
    sentence = r"TokenShardError: .* holds token id 65535, beyond the vocabulary of 320; tokenize the corpus again"
    with pytest.raises(RankFailedError, match=sentence):
        run_request(ranks, request_of(damaged, tmp_path))


def test_the_loss_and_the_gradient_of_a_run_that_diverges_name_the_batch(
    tmp_path: Path, corpus: Path, ranks: RankServer
):
    request = request_of(corpus, tmp_path, layout={"pipeline": 2}, model={"init_std": 1e30})
    sentence = (
        r"TrainingFailedError: training diverged at step 1: .* look at samples 0 to 7 \(issue \d, python \d\), which "
        r"read owner/r\d:src/m\d+\.py \(\d+ tokens\)"
    )
    with pytest.raises(RankFailedError, match=sentence):
        run_request(ranks, request)


@pytest.mark.parametrize("said", ["soon", "0", "-3", "nan", "inf"])
def test_seconds_that_are_none_are_one_sentence(monkeypatch: pytest.MonkeyPatch, said: str):
    monkeypatch.setenv("STARLOOM_HANG_SECONDS", said)
    with pytest.raises(
        TrainingFailedError, match=f"^STARLOOM_HANG_SECONDS='{said}' cannot be used: give seconds above"
    ):
        _hang_seconds()


def test_ten_minutes_without_progress_are_a_hang_unless_it_is_said_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STARLOOM_HANG_SECONDS", raising=False)
    assert _hang_seconds() == 600
    monkeypatch.setenv("STARLOOM_HANG_SECONDS", "2.5")
    assert _hang_seconds() == 2.5
