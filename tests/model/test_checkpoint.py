"""Two ranks are two threads here: a checkpoint needs nothing of torch but tensors. Seconds: below two."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.checkpoint import Checkpoint, CheckpointStore
from model.training_errors import CheckpointError, TrainingFailedError


class _Meeting:
    """What `Engine.exchange` does, between threads."""

    def __init__(self, size: int) -> None:
        self.payloads = [b""] * size
        self.barrier = threading.Barrier(size)

    def exchange_of(self, rank: int) -> Callable[[bytes], list[bytes]]:
        def exchange(payload: bytes) -> list[bytes]:
            self.payloads[rank] = payload
            self.barrier.wait(10)
            everyone = list(self.payloads)
            self.barrier.wait(10)
            assert len({len(said) for said in everyone}) == 1
            return everyone

        return exchange


def _stores(directory: Path, world_size: int = 2, run_digest: str = "run a") -> list[CheckpointStore]:
    meeting = _Meeting(world_size)
    return [
        CheckpointStore(directory, run_digest, rank, world_size, meeting.exchange_of(rank))
        for rank in range(world_size)
    ]


def _state(step: int, rank: int) -> dict[str, Tensor]:
    return {"group0.weights": torch.tensor([step + rank / 3, -0.0]), "group0.step": torch.tensor(float(step))}


def _save(directory: Path, step: int) -> None:
    stores = _stores(directory)
    weights = {"wte": torch.full((2, 2), step / 7)}
    with ThreadPoolExecutor(2) as ranks:
        jobs = [
            ranks.submit(store.save, step, step * 10, _state(step, store.rank), weights, b"metrics %d" % step)
            for store in stores
        ]
    for job in jobs:
        job.result()


def _load(directory: Path, **which: int | str) -> tuple[list[Checkpoint | None], list[str]]:
    stores = _stores(directory, **which)  # pyright: ignore[reportArgumentType]
    notes: list[str] = []
    with ThreadPoolExecutor(len(stores)) as ranks:
        jobs = [ranks.submit(store.load_latest, notes.append) for store in stores]
    return [job.result() for job in jobs], notes


def _steps(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_each_rank_gets_back_the_bits_that_it_saved(tmp_path: Path):
    _save(tmp_path, 4)
    found, notes = _load(tmp_path)
    for rank, checkpoint in enumerate(found):
        assert checkpoint is not None
        assert (checkpoint.step, checkpoint.metrics) == (4, b"metrics 4")
        assert {name: tensor.numpy().tobytes() for name, tensor in checkpoint.state.items()} == {
            name: tensor.numpy().tobytes() for name, tensor in _state(4, rank).items()
        }
    assert notes == []


def test_without_a_checkpoint_there_is_none(tmp_path: Path):
    assert _load(tmp_path / "absent") == ([None, None], [])


def test_the_newest_two_are_kept_and_the_highest_is_the_latest(tmp_path: Path):
    for step in (4, 8, 12):
        _save(tmp_path, step)
    assert _steps(tmp_path) == ["step-00000008", "step-00000012"]
    assert [checkpoint and checkpoint.step for checkpoint in _load(tmp_path)[0]] == [12, 12]


def test_the_commit_names_step_samples_run_ranks_and_every_file(tmp_path: Path):
    _save(tmp_path, 4)
    commit = json.loads((tmp_path / "step-00000004" / "commit.json").read_bytes())
    files = {path.name for path in (tmp_path / "step-00000004").iterdir()}
    assert set(commit.pop("sha256")) == files - {"commit.json"}
    assert commit == {"format": 1, "step": 4, "samples": 40, "run_digest": "run a", "world_size": 2}


@pytest.mark.parametrize(
    "file",
    ["rank-00000.safetensors", "rank-00001.safetensors", "weights.safetensors", "metrics.jsonl", "commit.json"],
)
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path, file: str, damage: str):
    _save(tmp_path, 4)
    _save(tmp_path, 8)
    path = tmp_path / "step-00000008" / file
    content = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        case "truncate":
            path.write_bytes(content[:-2])
        case _:
            path.unlink()
    found, notes = _load(tmp_path)
    assert [checkpoint and checkpoint.step for checkpoint in found] == [4, 4]
    if (file, damage) == ("commit.json", "remove"):
        assert notes == []  # what has no commit is not a checkpoint
    else:
        assert len(notes) == 2
        assert notes[0].startswith("the checkpoint of step 8 is damaged (")
        assert _steps(tmp_path) == ["step-00000004"]


def test_a_directory_that_was_being_written_is_not_a_checkpoint_and_does_not_hinder_the_next(tmp_path: Path):
    _save(tmp_path, 4)
    torn = tmp_path / "step-00000008"
    torn.mkdir()
    (torn / "rank-00000.safetensors.unfinished").write_bytes(b"half")
    assert [checkpoint and checkpoint.step for checkpoint in _load(tmp_path)[0]] == [4, 4]
    _save(tmp_path, 8)
    assert not (torn / "rank-00000.safetensors.unfinished").exists()
    assert [checkpoint and checkpoint.step for checkpoint in _load(tmp_path)[0]] == [8, 8]


def test_if_all_are_damaged_training_starts_anew(tmp_path: Path):
    _save(tmp_path, 4)
    (tmp_path / "step-00000004" / "metrics.jsonl").write_bytes(b"")
    found, notes = _load(tmp_path)
    assert found == [None, None]
    assert len(notes) == 2


def test_another_number_of_ranks_is_refused_and_nothing_is_removed(tmp_path: Path):
    _save(tmp_path, 4)
    with pytest.raises(CheckpointError, match=r"a checkpoint of 2 processes, but this run has 3; train with 2 or"):
        _load(tmp_path, world_size=3)
    assert _steps(tmp_path) == ["step-00000004"]


def test_another_run_is_refused_and_nothing_is_removed(tmp_path: Path):
    _save(tmp_path, 4)
    with pytest.raises(CheckpointError, match=r"a checkpoint of another run \(digest run a, this one has run b\)"):
        _load(tmp_path, run_digest="run b")
    assert _steps(tmp_path) == ["step-00000004"]


def test_equal_states_have_equal_bytes(tmp_path: Path):
    for name in ("one", "two"):
        _save(tmp_path / name, 4)
    for path in (tmp_path / "one" / "step-00000004").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "step-00000004" / path.name).read_bytes()


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    store = CheckpointStore(tmp_path / "file" / "checkpoints", "run a", 0, 1, lambda payload: [payload])
    with pytest.raises(TrainingFailedError, match=r"cannot be written \(Not a directory\); make room or mend"):
        store.save(4, 40, _state(4, 0), {}, b"")
