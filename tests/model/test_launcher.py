"""Whole training runs in real processes, some of them killed. About a minute on two cores."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from model.batches import TrainBatches
from model.config import FillInMiddleConfig, ModelConfig, PretrainConfig
from model.launcher import train
from model.reporting import ListSink, reporting_to
from model.schedule import learning_rate
from model.text_codec import ByteLevelCodec
from model.token_shards import ShardWriter, TokenShards
from model.train_request import TrainRequest, TrainResult
from model.training_errors import CheckpointError, TrainingFailedError, TrainingPreemptedError
from model.transformer import CodeModel, initialize

pytestmark = pytest.mark.slow

_ARTIFACT = ("model.safetensors", "model_config.json", "metrics.jsonl")
_SECONDS_TO_DIE = 20

_CONFIG = PretrainConfig(
    recipe=1,
    num_processes=2,
    threads_per_process=1,
    precision="fp32",
    micro_batch_size=4,
    accumulation_steps=6,  # makes a step long against the time that a signal takes
    num_steps=12,
    learning_rate=1e-2,
    min_learning_rate=1e-3,
    warmup_steps=3,
    weight_decay=1.0,  # strong, to show which parameters it pulls on
    adam_beta1=0.9,
    adam_beta2=0.95,
    adam_epsilon=1e-5,  # dampens the noise of gradients near zero, so that runs can be compared
    gradient_clip_norm=1.0,
    fill_in_middle=FillInMiddleConfig(rate=0.5, spm_rate=0.5),
    blend={},
    validate_every_steps=5,
    validation_batches=4,
    checkpoint_every_steps=4,
    seed=17,
)

_LAUNCHER = """
import sys
from pathlib import Path
from model.launcher import train
from model.reporting import SilentSink, reporting_to
from model.train_request import TrainRequest

class Lines(SilentSink):
    def metrics(self, values, step):
        print(step, flush=True)

with reporting_to(Lines()):
    train(TrainRequest.model_validate_json(Path(sys.argv[1]).read_bytes()))
"""


class _ActAtStep(ListSink):
    """Keeps reports, and acts once when the metrics of `step` arrive, in the middle of the run."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        super().__init__()
        self._step, self._act = step, act

    def metrics(self, values: Any, step: int) -> None:
        super().metrics(values, step)
        if step == self._step and "loss" in values:
            self._act()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A tokenizer artifact and token shards of random documents."""
    path = tmp_path_factory.mktemp("data")
    (path / "tokenizer").mkdir()
    tokenizer.save(str(path / "tokenizer" / "tokenizer.json"))
    (path / "shards").mkdir()
    writer = ShardWriter(path / "shards", shard_tokens=4000, vocab_size=tokenizer.get_vocab_size())
    random = np.random.default_rng(0)
    for number in range(120):
        tokens = random.integers(19, tokenizer.get_vocab_size(), random.integers(5, 200)).astype(np.uint16)
        source = "python" if number % 5 else "issue"
        writer.add("validation" if number % 6 == 0 else "train", source, tokens, len(tokens))
    writer.close()
    return path


@pytest.fixture(scope="module")
def request_in(data: Path, small_config: ModelConfig) -> Callable[..., TrainRequest]:
    """Makes the request of a run in a directory, with some parameters changed."""

    def make(directory: Path, **changed: Any) -> TrainRequest:
        (directory / "out").mkdir(parents=True, exist_ok=True)
        return TrainRequest(
            token_shards=data / "shards",
            tokenizer=data / "tokenizer",
            model=small_config.model_copy(update=changed.pop("model", {})),
            pretrain=_CONFIG.model_copy(update=changed),
            work_dir=directory / "work",
            out=directory / "out",
        )

    return make


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, request_in: Callable[..., TrainRequest]) -> Any:
    """A run that nobody disturbed: its directory, its reports and its result."""
    directory = tmp_path_factory.mktemp("straight")
    sink = ListSink()
    with reporting_to(sink):
        result = train(request_in(directory))
    return directory, sink, result


def _assert_same_artifact(directory: Path, straight: Any) -> None:
    for file in _ARTIFACT:
        assert (directory / "out" / file).read_bytes() == (straight[0] / "out" / file).read_bytes(), file


def _finish(request: TrainRequest) -> list[str]:
    sink = ListSink()
    with reporting_to(sink):
        train(request)
    return sink.notes


def test_a_run_reports_every_step_and_leaves_the_artifact(
    straight: Any, small_config: ModelConfig, tokenizer: Tokenizer
):
    vocab_size = tokenizer.get_vocab_size()
    directory, sink, result = straight
    rows = [json.loads(line) for line in (directory / "out" / "metrics.jsonl").read_bytes().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows if "validation_loss" in row] == [5, 10, 12]
    assert [row["tokens"] for row in rows] == [step * 48 * 32 for step in range(1, 13)]
    validated = ["validation_loss", "validation_loss/issue", "validation_loss/python"]
    assert sorted(rows[4]) == ["gradient_norm", "learning_rate", "loss", "step", "tokens", *validated]
    assert result == TrainResult(
        step=12, tokens=12 * 48 * 32, loss=rows[-1]["loss"], validation_loss=rows[-1]["validation_loss"]
    )
    assert rows[-1]["loss"] < rows[0]["loss"]

    live = {step: values for step, values in sink.measured if "loss" in values}
    assert [(step, live[step]["loss"]) for step in live] == [(row["step"], row["loss"]) for row in rows]
    assert all(values["tokens_per_second"] > 0 and values["seconds_per_step"] > 0 for values in live.values())
    assert sink.progresses == [(step, 12, "steps") for step in range(13)]
    assert sink.notes == []

    described = json.loads((directory / "out" / "model_config.json").read_bytes())
    assert described == {"model": small_config.model_dump(mode="json"), "vocab_size": vocab_size}
    weights = load_file(directory / "out" / "model.safetensors")
    model = CodeModel(small_config, vocab_size)
    model.load_state_dict(weights)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert sorted(path.name for path in (directory / "work" / "checkpoints").iterdir()) == [
        "step-00000008",
        "step-00000012",
    ]


def test_two_ranks_compute_what_plain_torch_computes(straight: Any, data: Path, small_config: ModelConfig):
    shards = TokenShards(data / "shards")
    model = CodeModel(small_config, shards.vocab_size)
    initialize(model, small_config, _CONFIG.seed)
    batches = TrainBatches(
        shards,
        ByteLevelCodec.read(data / "tokenizer"),
        _CONFIG,
        small_config.context_length_tokens,
    )
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    adam = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 1.0}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        eps=1e-5,
    )
    rows = [json.loads(line) for line in (straight[0] / "out" / "metrics.jsonl").read_bytes().splitlines()]
    for row in rows:
        for group in adam.param_groups:
            group["lr"] = learning_rate(_CONFIG, row["step"])
        micro_batches = [batch for rank in range(2) for batch in batches.batch(row["step"] - 1, rank)]
        losses = [model.loss(*(torch.from_numpy(ids) for ids in batch)) for batch in micro_batches]
        loss = torch.stack(losses).mean()
        adam.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        assert (row["loss"], row["gradient_norm"]) == pytest.approx((loss.item(), norm.item()), rel=1e-3)
    for name, tensor in load_file(straight[0] / "out" / "model.safetensors").items():
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=1e-2, atol=1e-4)


def test_killing_everything_in_the_middle_changes_no_bit_of_the_end(
    tmp_path: Path, request_in: Callable[..., TrainRequest], straight: Any
):
    request = request_in(tmp_path)
    (tmp_path / "request.json").write_text(request.model_dump_json(), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, str(tmp_path / "request.json")], stdout=subprocess.PIPE
    ) as launcher:
        assert launcher.stdout is not None
        workers = psutil.Process(launcher.pid).children
        while (line := launcher.stdout.readline()) and int(line) < 6:
            pass
        ranks = workers()
        for process in (launcher, *ranks):
            process.kill()
        assert len(ranks) == 2
        assert psutil.wait_procs(ranks, timeout=_SECONDS_TO_DIE)[1] == []
    committed = [path.parent.name for path in (request.work_dir / "checkpoints").glob("step-*/commit.json")]
    assert "step-00000004" in committed
    assert "step-00000012" not in committed
    assert not (request.out / "model.safetensors").exists()
    last_row = json.loads((request.work_dir / "metrics.jsonl").read_bytes().splitlines()[-1])
    assert last_row["step"] > int(max(committed).removeprefix("step-"))

    assert _finish(request) == [f"resumed at step {int(max(committed).removeprefix('step-'))}"]
    _assert_same_artifact(tmp_path, straight)


def test_the_ranks_listen_on_this_machine_only(tmp_path: Path, request_in: Callable[..., TrainRequest]):
    addresses: set[str] = set()

    def look() -> None:
        for rank in _ranks():
            addresses.update(one.laddr.ip for one in rank.net_connections("inet") if one.status == "LISTEN")

    with reporting_to(_ActAtStep(3, look)):
        train(request_in(tmp_path))
    assert addresses == {"127.0.0.1"}


def test_killing_only_the_parent_leaves_no_orphan(tmp_path: Path, request_in: Callable[..., TrainRequest]):
    request = request_in(tmp_path, num_steps=100_000, checkpoint_every_steps=100_000)
    (tmp_path / "request.json").write_text(request.model_dump_json(), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, str(tmp_path / "request.json")], stdout=subprocess.PIPE
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"1\n"
        ranks = psutil.Process(launcher.pid).children()
        launcher.kill()
    assert len(ranks) == 2
    assert psutil.wait_procs(ranks, timeout=_SECONDS_TO_DIE)[1] == []


def test_a_killed_rank_ends_the_run_and_a_corrupted_newest_checkpoint_costs_only_time(
    tmp_path: Path, request_in: Callable[..., TrainRequest], straight: Any
):
    request = request_in(tmp_path)
    ranks: list[psutil.Process] = []

    def kill_rank_1() -> None:
        ranks.extend(_ranks())
        ranks[1].kill()

    sink = _ActAtStep(9, kill_rank_1)
    with reporting_to(sink), pytest.raises(TrainingFailedError, match=r"^rank 1 of 2 was killed by SIGKILL, so "):
        train(request)
    assert not any(process.is_running() for process in ranks)

    weights = request.work_dir / "checkpoints" / "step-00000008" / "rank-00001.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    notes = _finish(request)
    assert notes[0].startswith("the checkpoint of step 8 is damaged (")
    assert notes[1:] == ["resumed at step 4"]
    _assert_same_artifact(tmp_path, straight)


def test_sigterm_saves_the_step_and_the_run_goes_on_to_the_same_bits(
    tmp_path: Path, request_in: Callable[..., TrainRequest], straight: Any
):
    request = request_in(tmp_path)
    sink = _ActAtStep(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    with reporting_to(sink), pytest.raises(TrainingPreemptedError, match=r"has saved step \d+ of 12; start it again"):
        train(request)
    assert signal.getsignal(signal.SIGTERM) is before
    saved = sink.measured[-1][0]
    assert 5 <= saved < 12
    assert _finish(request) == [f"resumed at step {saved}"]
    _assert_same_artifact(tmp_path, straight)


def _ranks() -> list[psutil.Process]:
    """The ranks that this process has started, in their order; a session of tests has other children too."""
    ours = [child for child in psutil.Process().children() if "model.train_worker" in child.cmdline()]
    return sorted(ours, key=lambda process: process.pid)


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """A test session started in the background ignores SIGINT, and so would everything in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_lets_the_ranks_save_and_ends_them(tmp_path: Path, request_in: Callable[..., TrainRequest]):
    request = request_in(tmp_path, num_processes=1, num_steps=100_000, checkpoint_every_steps=100_000)
    with reporting_to(_ActAtStep(2, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(KeyboardInterrupt):
        train(request)
    assert _ranks() == []
    assert len(list((request.work_dir / "checkpoints").glob("step-*/commit.json"))) == 1


def test_a_finished_run_started_again_trains_no_step_and_leaves_the_same_artifact(
    request_in: Callable[..., TrainRequest], straight: Any, tmp_path: Path
):
    request = request_in(straight[0]).model_copy(update={"out": tmp_path / "out"})
    (tmp_path / "out").mkdir()
    assert _finish(request) == ["resumed at step 12"]
    _assert_same_artifact(tmp_path, straight)


def test_another_number_of_processes_is_refused(straight: Any, request_in: Callable[..., TrainRequest]):
    with pytest.raises(CheckpointError, match=r"a checkpoint of 2 processes, but this run has 1; train with 2 or"):
        train(request_in(straight[0], num_processes=1))


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path: Path, request_in: Callable[..., TrainRequest]):
    request = request_in(tmp_path, num_processes=1, model={"init_std": 1e30})
    with pytest.raises(TrainingFailedError, match=r"^training diverged at step 1: loss is (nan|inf); lower pretrain"):
        train(request)
    assert not (tmp_path / "work" / "checkpoints").exists()


def test_a_full_disk_is_one_sentence(tmp_path: Path, request_in: Callable[..., TrainRequest]):
    request = request_in(tmp_path, num_processes=1)
    request.work_dir.mkdir()
    (request.work_dir / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingFailedError, match=r"metrics.jsonl cannot be written \(No space left on device\); make"):
        train(request)


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path, request_in: Callable[..., TrainRequest]):
    (tmp_path / "file").write_bytes(b"")
    request = request_in(tmp_path).model_copy(update={"work_dir": tmp_path / "file" / "work"})
    with pytest.raises(TrainingFailedError, match=r"work cannot be written \(Not a directory\); make room or mend"):
        train(request)


def test_a_short_corpus_is_one_sentence(tmp_path: Path, request_in: Callable[..., TrainRequest]):
    request = request_in(tmp_path, num_processes=1, model={"context_length_tokens": 100_000})
    with pytest.raises(TrainingFailedError, match=r"^split 'train' has \d+ tokens, but one window takes 100001"):
        train(request)


def test_a_crash_carries_the_last_words_of_the_rank(
    tmp_path: Path, request_in: Callable[..., TrainRequest], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_DISTRIBUTED_DEBUG", "nonsense")  # torch refuses it
    with pytest.raises(TrainingFailedError) as caught:
        train(request_in(tmp_path, num_processes=1))
    sentence, *last_words = str(caught.value).splitlines()
    assert sentence.startswith("rank 0 of 1 ended with code 1, so training stopped; see ")
    assert "TORCH_DISTRIBUTED_DEBUG" in last_words[-1]
