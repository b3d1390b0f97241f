"""Checkpoints of a training run: either whole or not there, whatever kills the processes that write them.

    checkpoints/step-00000100/rank-00000.safetensors   fragments of rank 0: fp32 weights and Adam moments
                              rank-00001.safetensors   and so on
                              metrics.jsonl            what the run had measured up to this step
                              commit.json              written last: which run, which step, sha256 of every file

A save has two phases: each rank copies its state and goes on training while a thread writes it; once all have written,
rank 0 commits. Every file is written under another name, flushed to the disk and renamed. A directory is a checkpoint
only by its commit, and only as long as every byte is as the commit says; else the one before it counts. No pickles.
Fragments name the numbers of whole parameters that they hold, so a run may go on in another layout.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError

from model.config import ParallelLayout
from model.durable_files import flush_directory, write_durably, writing_to
from model.training_errors import CheckpointError, TrainingFailedError
from model.training_state import RankState, StateError, StateReader, state_bytes

COMMIT_FILE = "commit.json"
METRICS_FILE = "metrics.jsonl"
_KEPT = 2
_SENTENCE_BYTES = 400
_DIGEST_BYTES = 32

Exchange = Callable[[bytes], list[bytes]]
"""Gives every rank's payload to every rank, in the order of ranks; payloads are equally long."""


class Commit(BaseModel):
    """What `commit.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2]
    step: Annotated[int, Field(ge=1)]
    samples: Annotated[int, Field(ge=0)]
    """Seen by all replicas up to here."""
    identity: dict[str, str]
    """What the weights depend on but for the layout; a checkpoint of another run is refused."""
    layout: ParallelLayout
    sha256: dict[str, str]
    """By file name."""


@dataclass(frozen=True)
class Checkpoint:
    """What a rank needs to go on, and what was measured so far."""

    step: int
    layout: ParallelLayout
    """In which it was written."""
    state: StateReader
    metrics: bytes


@dataclass
class _Save:
    """A checkpoint that is being written."""

    step: int
    samples: int
    metrics: bytes
    digest: Future[bytes]


@dataclass
class CheckpointStore:
    """The checkpoints of one run in `directory`, as seen by one rank. All ranks call each method together."""

    directory: Path
    identity: Mapping[str, str]
    """Of the run, by the names of its parts."""
    layout: ParallelLayout
    rank: int
    exchange: Exchange
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))
    _open: _Save | None = None

    def begin(self, step: int, samples: int, state: RankState, metrics: bytes) -> None:
        """Copy the state and let a thread write it; `metrics` counts on rank 0. The save before must be settled.

        TrainingFailedError if the remains of a run that was killed here cannot be removed.
        """
        path = self._path(step)
        self._require_success(self._try_to_remove(step))
        content = state_bytes(state)
        digest = self._writer.submit(_written, path / rank_file(self.rank), content)
        self._open = _Save(step, samples, metrics, digest)

    def settle(self, *, wait: bool) -> int | None:
        """Commit what was begun once every rank has written it, then remove all but the newest two.

        The step of the checkpoint that now stands; None if nothing is open or, without `wait`, some rank still writes.
        TrainingFailedError if a file could not be written, or the commit: the checkpoints before it stand.
        """
        if self._open is None:
            return None
        save, word = self._open, b"\0" + bytes(_DIGEST_BYTES)
        if wait or save.digest.done():
            fault = save.digest.exception()
            word = b"\2" + bytes(_DIGEST_BYTES) if fault else b"\1" + save.digest.result()
        words = self.exchange(word)
        if any(said[0] == 0 for said in words) and not any(said[0] == 2 for said in words):
            return None
        self._open = None
        try:
            self._require_success(self._end(save, words))
        except TrainingFailedError:
            self._try_to_remove(save.step)  # every rank has ended its writing
            raise
        return save.step

    def _end(self, save: _Save, words: list[bytes]) -> str:
        """What this rank has to say against the save, after rank 0 has committed it."""
        fault = save.digest.exception()  # waits: nothing may be written into the directory behind its end
        if fault is not None:
            return str(fault)
        if any(said[0] == 2 for said in words) or self.rank != 0:
            return ""
        try:
            digests = {rank_file(rank): said[1:].hex() for rank, said in enumerate(words)}
            digests[METRICS_FILE] = write_durably(self._path(save.step) / METRICS_FILE, save.metrics).hex()
            self._commit(save, digests)
        except TrainingFailedError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """End the writing thread."""
        self._writer.shutdown()

    def load_latest(self, note: Callable[[str], None]) -> Checkpoint | None:
        """The newest undamaged checkpoint, None if there is none; `note` is told of each damaged one, then removed.

        CheckpointError if the newest belongs to another run; TrainingFailedError if a damaged one cannot be removed.
        """
        while True:
            step = self._newest_step()
            if step is None:
                return None
            checkpoint, fault = self._read(step)
            faults = [said for said in self._tell_all(fault) if said]
            if checkpoint and not faults:
                return checkpoint
            note(f"the checkpoint of step {step} is damaged ({faults[0]}) and was removed; trying the one before")
            self._require_success(self._try_to_remove(step))

    def _commit(self, save: _Save, digests: dict[str, str]) -> None:
        commit = Commit(
            format=2,
            step=save.step,
            samples=save.samples,
            identity=dict(self.identity),
            layout=self.layout,
            sha256=digests,
        )
        content = json.dumps(commit.model_dump(), sort_keys=True).encode() + b"\n"
        write_durably(self._path(save.step) / COMMIT_FILE, content)
        with writing_to(self.directory):
            flush_directory(self.directory)
        for old in self._committed_steps()[:-_KEPT]:
            self._try_to_remove(old)  # one that stays is no harm

    def _read(self, step: int) -> tuple[Checkpoint | None, str]:
        """A checkpoint of which this rank has verified its share of the files, or what is wrong with it."""
        path = self._path(step)
        try:
            commit = Commit.model_validate_json((path / COMMIT_FILE).read_bytes())
            self._require_same_run(commit)
            files = [path / rank_file(rank) for rank in range(commit.layout.world_size)]
            for file in files[self.rank :: self.layout.world_size]:
                _verify(file, commit)
            _verify(path / METRICS_FILE, commit)
            state, metrics = StateReader(files), (path / METRICS_FILE).read_bytes()
        except OSError as error:
            return None, f"{error.filename or path}: {error.strerror or error}"
        except ValidationError:
            return None, f"{path / COMMIT_FILE} is not a commit"
        except SafetensorError as error:
            return None, f"{path}: {error}"
        except (StateError, _DamagedError) as error:
            return None, str(error)
        return Checkpoint(step, commit.layout, state, metrics), ""

    def _require_same_run(self, commit: Commit) -> None:
        differing = [
            f"{name} (there {commit.identity.get(name, '')[:12]}, here {self.identity.get(name, '')[:12]})"
            for name in sorted(commit.identity.keys() | self.identity.keys())
            if commit.identity.get(name) != self.identity.get(name)
        ]
        if differing:
            raise CheckpointError(
                f"{self.directory} holds a checkpoint of another run, which differs in {', '.join(differing)}; "
                "restore what differs, or remove that directory to start anew"
            )

    def _newest_step(self) -> int | None:
        """Rank 0 looks and all believe it: a shared disk may show others an older state."""
        steps = self._committed_steps() if self.rank == 0 else []
        newest = int.from_bytes(self.exchange((steps[-1] if steps else 0).to_bytes(8, "big"))[0], "big")
        return newest or None

    def _committed_steps(self) -> list[int]:
        return sorted(
            int(commit.parent.name.removeprefix("step-"))
            for commit in self.directory.glob(f"step-{'[0-9]' * 8}/{COMMIT_FILE}")
        )

    def _try_to_remove(self, step: int) -> str:
        """Rank 0 removes a checkpoint or its remains; what it has to say if it cannot."""
        path = self._path(step)
        if self.rank != 0:
            return ""
        try:
            with writing_to(path):
                (path / COMMIT_FILE).unlink(missing_ok=True)  # first: half a directory must not pass for a checkpoint
                if path.exists():
                    shutil.rmtree(path)
        except TrainingFailedError as error:
            return str(error)
        return ""

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def _tell_all(self, sentence: str) -> list[str]:
        payload = sentence.encode(errors="replace")[:_SENTENCE_BYTES].ljust(_SENTENCE_BYTES, b"\0")
        return [said.rstrip(b"\0").decode(errors="replace") for said in self.exchange(payload)]

    def _require_success(self, sentence: str) -> None:
        """Wait for all ranks; TrainingFailedError on all of them if one has something to say."""
        for said in self._tell_all(sentence):
            if said:
                raise TrainingFailedError(said)


class _DamagedError(Exception):
    """A file's bytes are not those that its commit names."""


def rank_file(rank: int) -> str:
    """The name of the file that a rank writes."""
    return f"rank-{rank:05d}.safetensors"


def _written(path: Path, content: bytes) -> bytes:
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return write_durably(path, content)


def _verify(path: Path, commit: Commit) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != commit.sha256.get(path.name):
        raise _DamagedError(f"{path} has sha256 {digest[:12]}, not {str(commit.sha256.get(path.name))[:12]}")
