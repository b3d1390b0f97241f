"""Two ranks are two threads here: a checkpoint needs nothing of torch but tensors. Seconds: below three."""

import json
import threading
from pathlib import Path

import pytest
import torch

from model import checkpoint as checkpoint_module
from model.checkpoint import Checkpoint, CheckpointStore
from model.disks import shared_disk
from model.durable_files import write_durably
from model.training_errors import CheckpointError, TrainingFailedError
from tests.model.thread_ranks import Meeting, layout_of, state_of, together

_RUN = {"model": "5f3b1c0d9e8a7766", "batch": "8"}


def _stores(directory: Path, world_size: int = 2, identity: dict[str, str] = _RUN) -> list[CheckpointStore]:
    meeting = Meeting(world_size)
    return [
        CheckpointStore(
            directory, identity, layout_of(world_size), shared_disk(rank, world_size), meeting.exchange_of(rank)
        )
        for rank in range(world_size)
    ]


def _begin(store: CheckpointStore, step: int) -> None:
    store.begin(step, step * 8, state_of(step, store.rank), b"metrics %d" % step)


def _save(directory: Path, step: int) -> list[object]:
    def save(store: CheckpointStore) -> int | None:
        _begin(store, step)
        return store.settle(wait=True)

    return together(_stores(directory), save)


def _load(directory: Path, **which: object) -> tuple[list[Checkpoint | None], list[str]]:
    notes: list[str] = []
    stores = _stores(directory, **which)  # pyright: ignore[reportArgumentType]
    found = together(stores, lambda store: store.load_latest(notes.append))
    for said in found:
        if isinstance(said, Exception):
            raise said
    return found, notes  # pyright: ignore[reportReturnType]


def _steps(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_each_rank_gets_back_the_bits_that_it_saved(tmp_path: Path):
    assert _save(tmp_path, 4) == [4, 4]
    found, notes = _load(tmp_path)
    for rank, checkpoint in enumerate(found):
        assert checkpoint is not None
        assert (checkpoint.step, checkpoint.metrics, checkpoint.layout) == (4, b"metrics 4", layout_of(2))
        saved = state_of(4, rank)["w"]
        read = checkpoint.state.fragment("w", saved.place)
        assert {kind: tensor.numpy().tobytes() for kind, tensor in read.items()} == {
            kind: tensor.numpy().tobytes() for kind, tensor in saved.tensors.items()
        }
    assert notes == []


@pytest.mark.parametrize("world_size", [1, 3])
def test_another_number_of_ranks_reads_it_too(tmp_path: Path, world_size: int):
    _save(tmp_path, 4)
    found, notes = _load(tmp_path, world_size=world_size)
    for checkpoint in found:
        assert checkpoint is not None
        assert checkpoint.layout == layout_of(2)
        assert checkpoint.state.whole("w", "weights").flatten().tolist() == [4.0, 0.0, torch.tensor(13 / 3).item(), 0.0]
    assert notes == []


def test_without_a_checkpoint_there_is_none(tmp_path: Path):
    assert _load(tmp_path / "absent") == ([None, None], [])


def test_the_newest_two_are_kept_and_the_highest_is_the_latest(tmp_path: Path):
    for step in (4, 8, 12):
        _save(tmp_path, step)
    assert _steps(tmp_path) == ["step-00000008", "step-00000012"]
    assert [checkpoint and checkpoint.step for checkpoint in _load(tmp_path)[0]] == [12, 12]


def test_the_commit_names_step_samples_run_layout_and_every_file(tmp_path: Path):
    _save(tmp_path, 4)
    commit = json.loads((tmp_path / "step-00000004" / "commit.json").read_bytes())
    files = {path.name for path in (tmp_path / "step-00000004").iterdir()}
    assert set(commit.pop("sha256")) == files - {"commit.json"}
    assert files == {"commit.json", "metrics.jsonl", "rank-00000.safetensors", "rank-00001.safetensors"}
    assert commit == {
        "format": 2,
        "step": 4,
        "samples": 32,
        "identity": _RUN,
        "layout": layout_of(2).model_dump(mode="json"),
    }


def test_the_run_goes_on_while_a_thread_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    may_write = threading.Event()

    def write_later(path: Path, content: bytes) -> bytes:
        assert may_write.wait(10)
        return write_durably(path, content)

    monkeypatch.setattr(checkpoint_module, "write_durably", write_later)
    stores = _stores(tmp_path)
    assert together(stores, lambda store: _begin(store, 4)) == [None, None]
    assert together(stores, lambda store: store.settle(wait=False)) == [None, None]
    assert not list(tmp_path.glob("*/commit.json"))
    may_write.set()
    assert together(stores, lambda store: store.settle(wait=True)) == [4, 4]
    assert together(stores, lambda store: store.settle(wait=True)) == [None, None]  # nothing is open
    assert _load(tmp_path)[0][0]


def test_what_is_saved_is_the_state_of_then(tmp_path: Path):
    state = state_of(4, 0)

    def save(store: CheckpointStore) -> None:
        store.begin(4, 32, state if store.rank == 0 else state_of(4, 1), b"")
        for tensor in state["w"].tensors.values():
            tensor.fill_(99.0)  # the next step
        store.settle(wait=True)

    together(_stores(tmp_path), save)
    checkpoint = _load(tmp_path)[0][0]
    assert checkpoint
    assert checkpoint.state.whole("w", "weights").max() < 5


@pytest.mark.parametrize("file", ["rank-00000.safetensors", "rank-00001.safetensors", "metrics.jsonl", "commit.json"])
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


def test_another_run_is_refused_by_what_differs_and_nothing_is_removed(tmp_path: Path):
    _save(tmp_path, 4)
    sentence = (
        r"a checkpoint of another run, which differs in batch \(there 8, here 16\), model \(there 5f3b1c0d9e8a, here 0"
    )
    with pytest.raises(CheckpointError, match=sentence):
        _load(tmp_path, identity={"model": "0" * 64, "batch": "16"})
    assert _steps(tmp_path) == ["step-00000004"]


def test_equal_states_have_equal_bytes(tmp_path: Path):
    for name in ("one", "two"):
        _save(tmp_path / name, 4)
    for path in (tmp_path / "one" / "step-00000004").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "step-00000004" / path.name).read_bytes()


@pytest.mark.parametrize("file", ["rank-00001.safetensors", "metrics.jsonl", "commit.json"])
def test_a_save_that_fails_is_one_sentence_on_all_ranks_and_the_one_before_stands(
    tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
):
    _save(tmp_path, 4)

    def write_to_a_full_disk(path: Path, content: bytes) -> bytes:
        if path.name == file:
            path.with_name(f"{file}.unfinished").symlink_to("/dev/full")
        return write_durably(path, content)

    with monkeypatch.context() as disk:
        disk.setattr(checkpoint_module, "write_durably", write_to_a_full_disk)
        said = _save(tmp_path, 8)
    assert [type(error) for error in said] == [TrainingFailedError] * 2
    assert len({str(error) for error in said}) == 1
    assert f"{file} cannot be written (No space left on device); make room" in str(said[0])
    assert _steps(tmp_path) == ["step-00000004"]  # what was written is gone: there is room again
    assert _save(tmp_path, 8) == [8, 8]


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    said = _save(tmp_path / "file" / "checkpoints", 4)
    assert "cannot be written (Not a directory); make room or mend" in str(said[0])
    assert [type(error) for error in said] == [TrainingFailedError] * 2


def test_remains_that_cannot_be_removed_are_one_sentence(tmp_path: Path):
    (tmp_path / "step-00000004").write_bytes(b"a file where a directory should be")
    said = _save(tmp_path, 4)
    assert "step-00000004 cannot be written (Not a directory)" in str(said[1])
    assert [type(error) for error in said] == [TrainingFailedError] * 2
