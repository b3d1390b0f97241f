"""Whole training runs in real processes, some of them killed. About 80 seconds on two cores."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from model.batches import TrainBatches
from model.launcher import train
from model.reporting import ListSink, reporting_to
from model.schedule import learning_rate
from model.text_codec import ByteLevelCodec
from model.token_shards import TokenShards
from model.train_request import TrainRequest, TrainResult
from model.training_errors import (
    CheckpointError,
    LayoutError,
    RequestError,
    TrainingFailedError,
    TrainingPreemptedError,
)
from model.transformer import CodeModel, initialize
from tests.model.rank_server import RankServer
from tests.model.training_rank import assert_same_artifact, request_of, run_request

pytestmark = pytest.mark.slow

_SECONDS_TO_DIE = 20
_TWO_REPLICAS = {"data": 2}

_LAUNCHER = """
import sys
from pathlib import Path
from model.launcher import train
from model.reporting import SilentSink, reporting_to
from model.train_request import TrainRequest

class Lines(SilentSink):
    def metrics(self, values, step):
        if "loss" in values:
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


def _request(corpus: Path, directory: Path, **changed: Any) -> TrainRequest:
    """Two replicas, and steps that are long against the time that a signal takes."""
    return request_of(corpus, directory, **{"layout": _TWO_REPLICAS, "accumulation_steps": 6} | changed)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Any:
    """A run that nobody disturbed: its directory, its reports and its result."""
    directory = tmp_path_factory.mktemp("straight")
    sink = ListSink()
    with reporting_to(sink):
        result = train(_request(corpus, directory))
    return directory, sink, result


def _finish(request: TrainRequest) -> list[str]:
    sink = ListSink()
    with reporting_to(sink):
        train(request)
    return sink.notes


def test_a_run_reports_every_step_and_leaves_the_artifact(straight: Any, corpus: Path):
    vocab_size = TokenShards(corpus / "shards").vocab_size
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

    model = _request(corpus, directory).model
    described = json.loads((directory / "out" / "model_config.json").read_bytes())
    assert described == {"model": model.model_dump(mode="json"), "vocab_size": vocab_size}
    weights = load_file(directory / "out" / "model.safetensors")
    CodeModel(model, vocab_size).load_state_dict(weights)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert sorted(path.name for path in (directory / "work" / "checkpoints").iterdir()) == [
        "step-00000008",
        "step-00000012",
    ]


def test_two_ranks_compute_what_plain_torch_computes(straight: Any, corpus: Path):
    request = _request(corpus, straight[0])
    shards, config = TokenShards(request.token_shards), request.pretrain
    model = CodeModel(request.model, shards.vocab_size)
    initialize(model, request.model, config.seed)
    codec = ByteLevelCodec.read(request.tokenizer)
    batches = TrainBatches(shards, codec, config, request.model.context_length_tokens)
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
            group["lr"] = learning_rate(config, row["step"])
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


@pytest.mark.parametrize(
    ("family", "layout", "step"),
    [
        ("gpt_bigcode", {"data": 2}, 10),
        ("starcoder2", {"tensor": 2, "sequence_parallel": True}, 9),
        ("gpt_bigcode", {"pipeline": 2}, 11),
    ],
    ids=str,
)
def test_killing_everything_in_the_middle_changes_no_bit_of_the_end(
    tmp_path: Path, corpus: Path, ranks: RankServer, family: str, layout: dict[str, Any], step: int
):
    """At any step and in any layout: tests/model/test_resume.py, with ranks that are forked."""
    asked = {"family": family, "layout": layout, "accumulation_steps": 2}
    assert run_request(ranks, _request(corpus, tmp_path / "undisturbed", **asked)) == []
    request = _request(corpus, tmp_path, **asked)
    with _started(request) as launcher:
        assert launcher.stdout is not None
        workers = psutil.Process(launcher.pid).children
        while (line := launcher.stdout.readline()) and int(line) < step:
            pass
        processes = workers()
        for process in (launcher, *processes):
            process.kill()
        assert len(processes) == 2
        assert psutil.wait_procs(processes, timeout=_SECONDS_TO_DIE)[1] == []
    committed = _committed(request)
    assert committed in ([4], [4, 8])  # the second may have been in writing
    assert not (request.out / "model.safetensors").exists()
    last_row = json.loads((request.work_dir / "metrics.jsonl").read_bytes().splitlines()[-1])
    assert last_row["step"] > max(committed)

    assert _finish(request) == [f"resumed at step {max(committed)}"]
    assert_same_artifact(tmp_path, tmp_path / "undisturbed")


def test_the_ranks_listen_on_this_machine_only(tmp_path: Path, corpus: Path):
    addresses: set[str] = set()

    def look() -> None:
        for rank in _ranks():
            addresses.update(one.laddr.ip for one in rank.net_connections("inet") if one.status == "LISTEN")

    with reporting_to(_ActAtStep(3, look)):
        train(_request(corpus, tmp_path))
    assert addresses == {"127.0.0.1"}


def test_killing_only_the_parent_leaves_no_orphan(tmp_path: Path, corpus: Path):
    request = _request(corpus, tmp_path, num_steps=100_000, checkpoint_every_steps=100_000)
    with _started(request) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"1\n"
        processes = psutil.Process(launcher.pid).children()
        launcher.kill()
    assert len(processes) == 2
    assert psutil.wait_procs(processes, timeout=_SECONDS_TO_DIE)[1] == []


def test_a_killed_rank_ends_the_run_and_a_corrupted_newest_checkpoint_costs_only_time(
    tmp_path: Path, corpus: Path, straight: Any
):
    request = _request(corpus, tmp_path, checkpoint_every_steps=3)
    killed: list[psutil.Process] = []

    def kill_rank_1() -> None:
        killed.extend(_ranks())
        killed[1].kill()

    with (
        reporting_to(_ActAtStep(10, kill_rank_1)),
        pytest.raises(TrainingFailedError, match=r"^rank 1 of 2 was killed by SIGKILL, so "),
    ):
        train(request)
    assert not any(process.is_running() for process in killed)

    before, newest = _committed(request)
    assert newest in (6, 9)  # the third may have been in writing
    weights = request.work_dir / "checkpoints" / f"step-{newest:08d}" / "rank-00001.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    notes = _finish(request)
    assert notes[0].startswith(f"the checkpoint of step {newest} is damaged (")
    assert notes[1:] == [f"resumed at step {before}"]
    assert_same_artifact(tmp_path, straight[0])


def test_sigterm_saves_the_step_and_the_run_goes_on_to_the_same_bits(tmp_path: Path, corpus: Path, straight: Any):
    request = _request(corpus, tmp_path)
    sink = _ActAtStep(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    with reporting_to(sink), pytest.raises(TrainingPreemptedError, match=r"has saved step \d+ of 12; start it again"):
        train(request)
    assert signal.getsignal(signal.SIGTERM) is before
    saved = sink.measured[-1][0]
    assert 5 <= saved < 12
    assert _finish(request) == [f"resumed at step {saved}"]
    assert_same_artifact(tmp_path, straight[0])


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """A test session started in the background ignores SIGINT, and so would everything in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_lets_the_ranks_save_and_ends_them(tmp_path: Path, corpus: Path):
    request = _request(corpus, tmp_path, layout={}, num_steps=100_000, checkpoint_every_steps=100_000)
    with reporting_to(_ActAtStep(2, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(KeyboardInterrupt):
        train(request)
    assert _ranks() == []
    assert len(_committed(request)) == 1


def test_a_finished_run_started_again_trains_no_step_and_leaves_the_same_artifact(
    corpus: Path, straight: Any, tmp_path: Path
):
    request = _request(corpus, straight[0]).model_copy(update={"out": tmp_path / "out"})
    (tmp_path / "out").mkdir()
    assert _finish(request) == ["resumed at step 12"]
    assert_same_artifact(tmp_path, straight[0])


def test_another_number_of_ranks_goes_on_and_says_so(tmp_path: Path, corpus: Path, straight: Any):
    shutil.copytree(straight[0] / "work", tmp_path / "work")
    notes = _finish(_request(corpus, tmp_path, layout={}, accumulation_steps=12))
    assert notes == ["resumed at step 12", "in another layout: from here on the weights agree but for rounding"]
    assert_same_artifact(tmp_path, straight[0])


def test_a_checkpoint_of_another_run_is_refused_by_what_differs(corpus: Path, straight: Any):
    with pytest.raises(
        CheckpointError, match=r"another run, which differs in model \(there \w{12}, here \w{12}\); restore"
    ):
        train(_request(corpus, straight[0], model={"init_std": 0.5}))
    assert _committed(_request(corpus, straight[0])) == [8, 12]


def test_two_trainings_in_one_directory_are_one_sentence(tmp_path: Path, corpus: Path, straight: Any):
    request = _request(corpus, tmp_path)
    caught: list[str] = []

    def start_another() -> None:
        with reporting_to(ListSink()), pytest.raises(TrainingFailedError) as refused:
            train(request)
        caught.append(str(refused.value))

    with reporting_to(_ActAtStep(5, start_another)):
        train(request)
    sentence = f"another training keeps its checkpoints in {request.work_dir}; wait for it to end, or stop it"
    assert caught == [sentence]
    assert_same_artifact(tmp_path, straight[0])  # the first did not notice


def test_a_rank_that_hangs_ends_the_run_and_says_where(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STARLOOM_HANG_SECONDS", "8")  # more than a start takes
    with (
        reporting_to(_ActAtStep(6, lambda: _ranks()[1].suspend())),
        pytest.raises(TrainingFailedError, match=r"^rank 0 has been at step \d+ for 8 seconds, in \w+.py line \d+ \("),
    ):
        train(_request(corpus, tmp_path))
    assert _ranks() == []
    stacks = (tmp_path / "work" / "rank-00000.stderr").read_text()
    assert "most recent call first" in stacks
    assert "to_the_end" in stacks


def test_what_a_rank_was_started_with_and_cannot_use_is_a_mistake(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STARLOOM_HANG_SECONDS", "soon")
    with pytest.raises(RequestError, match=r"^STARLOOM_HANG_SECONDS='soon' cannot be used: give seconds above 0$"):
        train(_request(corpus, tmp_path))


def test_a_layout_that_does_not_fit_is_one_sentence_before_anything_starts(tmp_path: Path, corpus: Path):
    with pytest.raises(
        LayoutError, match=r"^pretrain.layout does not fit the model: model.num_heads 4 is not divisible"
    ):
        train(_request(corpus, tmp_path, layout={"tensor": 3}))
    assert not (tmp_path / "work").exists()


def test_a_loss_that_is_not_finite_stops_with_its_step_and_its_batch(tmp_path: Path, corpus: Path):
    request = _request(corpus, tmp_path, layout={}, model={"init_std": 1e30})
    sentence = (
        r"^training diverged at step 1: loss is (nan|inf); lower pretrain.learning_rate \(now 0.01\) or .* and look at "
        r"samples 0 to 23 \(issue \d+, python \d+\), which read owner/r\d:src/m\d+\.py \(\d+ tokens\), .* more "
        r"documents of [2-7] repositories$"
    )
    with pytest.raises(TrainingFailedError, match=sentence):
        train(request)
    assert list((tmp_path / "work" / "checkpoints").iterdir()) == []


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path, corpus: Path):
    (tmp_path / "file").write_bytes(b"")
    request = _request(corpus, tmp_path).model_copy(update={"work_dir": tmp_path / "file" / "work"})
    with pytest.raises(TrainingFailedError, match=r"work cannot be written \(Not a directory\); make room or mend"):
        train(request)


def test_a_truncated_shard_is_one_sentence_before_anything_starts(tmp_path: Path, corpus: Path):
    own_corpus = shutil.copytree(corpus, tmp_path / "corpus")
    shard = sorted((own_corpus / "shards").glob("train*.bin"))[0]
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(
        TrainingFailedError, match=r"bin has \d+ bytes, .*: it is truncated or of another type; tokenize"
    ):
        train(_request(own_corpus, tmp_path))
    assert not (tmp_path / "work").exists()


def test_a_crash_carries_the_last_words_of_the_rank(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_DISTRIBUTED_DEBUG", "nonsense")  # torch refuses it
    with pytest.raises(TrainingFailedError) as caught:
        train(_request(corpus, tmp_path, layout={}))
    sentence, *last_words = str(caught.value).splitlines()
    assert sentence.startswith("rank 0 of 1 ended with code 1, so training stopped; see ")
    assert "TORCH_DISTRIBUTED_DEBUG" in last_words[-1]


def _ranks() -> list[psutil.Process]:
    """The ranks that this process has started, in their order; a session of tests has other children too."""
    ours = [child for child in psutil.Process().children() if "model.train_worker" in child.cmdline()]
    return sorted(ours, key=lambda process: process.pid)


def _committed(request: TrainRequest) -> list[int]:
    commits = request.work_dir.glob("checkpoints/step-*/commit.json")
    return sorted(int(path.parent.name.removeprefix("step-")) for path in commits)


def _started(request: TrainRequest) -> subprocess.Popen[bytes]:
    """A process that trains and prints the number of each step."""
    file = request.out.with_name("request.json")
    file.write_text(request.model_dump_json(), encoding="utf-8")
    return subprocess.Popen([sys.executable, "-c", _LAUNCHER, str(file)], stdout=subprocess.PIPE)
