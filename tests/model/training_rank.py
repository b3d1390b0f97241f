"""Whole training runs: the request of a small one, and what a forked rank of it does, undisturbed or killed."""

import json
import os
import resource
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

from model import train_worker
from model.engine import Engine
from model.hang_watch import HangWatch
from model.reporting import ListSink, reporting_to
from model.train_request import TrainRequest
from model.training_errors import TrainingFailedError
from model.transformer import CodeModel
from tests.model.layout_rank import config_of, model_of

ARTIFACT = ("model.safetensors", "model_config.json", "metrics.jsonl")
NUM_STEPS = 12


def request_of(corpus, directory, family="gpt_bigcode", model=None, layout=None, start_from=None, **pretrain):
    """Twelve steps with a checkpoint after every fourth, in `directory`."""
    (directory / "out").mkdir(parents=True, exist_ok=True)
    small = {
        "micro_batch_size": 4,
        "accumulation_steps": 2,
        "num_steps": NUM_STEPS,
        "learning_rate": 1e-2,
        "min_learning_rate": 1e-3,
        "warmup_steps": 3,
        "weight_decay": 1.0,  # strong, to show which parameters it pulls on
        "adam_epsilon": 1e-5,  # dampens the noise of gradients near zero, so that runs can be compared
        "gradient_clip_norm": 1.0,
        "fill_in_middle": {"rate": 0.5, "spm_rate": 0.5},
        "validate_every_steps": 5,
        "validation_batches": 4,
        "checkpoint_every_steps": 4,
        "loss_chunk_tokens": 64,
        "seed": 17,
    }
    return TrainRequest(
        token_shards=corpus / "shards",
        tokenizer=corpus / "tokenizer",
        model=model_of(family, num_layers=2, **(model or {})),
        pretrain=config_of(layout or {}, **small | pretrain),
        work_dir=directory / "work",
        out=directory / "out",
        start_from=start_from,
    )


def run_request(ranks, request, function="train", **disturbed):
    """The notes of rank 0, None if a rank was killed; a run that fails is a RankFailedError."""
    request.work_dir.mkdir(exist_ok=True)
    file = request.work_dir / "request.json"
    file.write_text(request.model_dump_json(), encoding="utf-8")
    world_size = request.pretrain.layout.world_size
    return ranks.run(f"tests.model.training_rank:{function}", world_size, request=str(file), **disturbed)[0]


def assert_same_artifact(directory, undisturbed):
    for file in ARTIFACT:
        assert (directory / "out" / file).read_bytes() == (undisturbed / "out" / file).read_bytes(), file


class _Disturbed(ListSink):
    """Acts once `measure` of `step` is told."""

    def __init__(self, step=0, measure="loss", act=None):
        super().__init__()
        self._when, self._act = (step, measure), act

    def metrics(self, values, step):
        super().metrics(values, step)
        if self._act and step == self._when[0] and self._when[1] in values:
            self._act()


def train(spec):
    """What `train_worker` does with a request. With `kill`, a rank of it kills itself.

    With `full_disk` no file can be longer than some bytes from that step on, until a save has failed.
    """
    rank = int(os.environ["RANK"])
    request = TrainRequest.model_validate_json(Path(spec["request"]).read_bytes())
    sink = ListSink()
    if "kill" in spec and spec["kill"].pop("rank") == rank:
        sink = _Disturbed(**spec["kill"], act=lambda: os.kill(os.getpid(), signal.SIGKILL))
    if "full_disk" in spec:
        sink = _FullDisk(spec["full_disk"])
    with reporting_to(sink), HangWatch(rank, 100.0, print) as watch:
        train_worker._train(request, threading.Event(), watch)
    return sink.notes


def train_on_own_disks(spec):
    """A run whose ranks see no common directory of checkpoints."""
    rank = int(os.environ["RANK"])
    request = TrainRequest.model_validate_json(Path(spec["request"]).read_bytes())
    request = request.model_copy(update={"work_dir": request.work_dir / f"disk-{rank}"})
    with HangWatch(rank, 100.0, print) as watch:
        train_worker._train(request, threading.Event(), watch)


class _FullDisk(ListSink):
    """Files cannot grow from a step on until it is told: a limit of the process, for root may write anywhere."""

    def __init__(self, step):
        super().__init__()
        self._step = step

    def metrics(self, values, step):
        super().metrics(values, step)
        if "loss" in values and step == self._step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))

    def note(self, text):
        super().note(text)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def hang(spec):
    """A run of which one rank sleeps in a step, watched for a second."""
    rank = int(os.environ["RANK"])
    request = TrainRequest.model_validate_json(Path(spec["request"]).read_bytes())
    sink = _Disturbed(3, act=lambda: time.sleep(600)) if rank == spec["rank"] else ListSink()
    told = Path(spec["request"]).with_name(f"told-{rank}.json")
    with reporting_to(sink), HangWatch(rank, 1.0, lambda text: told.write_text(json.dumps(text))) as watch:
        train_worker._train(request, threading.Event(), watch)
    raise TrainingFailedError("nothing hung")


def train_with_a_spike(spec):
    """A run of which one step tells a loss that is too high by three."""
    step_of_engine, step = Engine.train_step, 0

    def train_step(self, micro_batches, learning_rate):
        nonlocal step
        step += 1
        outcome = step_of_engine(self, micro_batches, learning_rate)
        return replace(outcome, loss=outcome.loss + 3) if step == spec["step"] else outcome

    Engine.train_step = train_step
    return train(spec)


def train_with_a_slow_rank(spec):
    """A run of which one rank takes longer for each forward pass."""
    if int(os.environ["RANK"]) == spec["rank"]:
        forward = CodeModel.hidden

        def slow(*arguments, **named):
            time.sleep(0.05)
            return forward(*arguments, **named)

        CodeModel.hidden = slow
    return train(spec)
