"""One rank started by hand, as torchrun would start it. About five seconds a test on two cores."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tokenizers import Tokenizer

from model.config import ModelConfig, PretrainConfig
from model.event_stream import Failure, Metrics, Progress, read_event
from model.token_shards import ShardWriter
from model.train_request import PREEMPTED, TrainRequest

pytestmark = pytest.mark.slow


@pytest.fixture
def request_file(tmp_path: Path, tokenizer: Tokenizer, small_config: ModelConfig) -> Path:
    """A long run of one process, checkpoints far apart."""
    for name in ("tokenizer", "shards", "work", "out"):
        (tmp_path / name).mkdir()
    tokenizer.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    writer = ShardWriter(tmp_path / "shards", shard_tokens=1000, vocab_size=tokenizer.get_vocab_size())
    for split in ("train", "validation"):
        writer.add(split, "python", tokenizer.encode("for number in range(10): print(number)\n" * 40).ids, 1600)
    writer.close()
    raw: Any = YAML(typ="safe").load(Path(__file__).parents[2] / "params.yaml")["pretrain"]
    request = TrainRequest(
        token_shards=tmp_path / "shards",
        tokenizer=tmp_path / "tokenizer",
        model=small_config,
        pretrain=PretrainConfig.model_validate(
            raw | {"num_processes": 1, "num_steps": 100_000, "checkpoint_every_steps": 100_000, "precision": "fp32"}
        ),
        work_dir=tmp_path / "work",
        out=tmp_path / "out",
    )
    path = tmp_path / "request.json"
    path.write_text(request.model_dump_json(), encoding="utf-8")
    return path


def _start(request_file: Path, world_size: int = 1) -> subprocess.Popen[bytes]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "model.train_worker", str(request_file)],
        env=os.environ | rank | {"MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
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
    assert (request_file.parent / "work" / "checkpoints" / f"step-{last_step:08d}" / "commit.json").exists()


def test_another_number_of_processes_than_the_parameters_say_is_refused(request_file: Path):
    with _start(request_file, world_size=2) as worker:
        assert worker.stdout is not None
        failure = read_event(worker.stdout.read())
    assert worker.returncode == 1
    assert isinstance(failure, Failure)
    assert failure.text == "2 processes were started for pretrain.num_processes 1; start as many"
