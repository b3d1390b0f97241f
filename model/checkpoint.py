"""Checkpoints of a training run: either whole or not there, whatever kills the processes that write them.

    checkpoints/step-00000100/rank-00000.safetensors   slice of rank 0: fp32 weights and Adam moments
                              rank-00001.safetensors   and so on
                              weights.safetensors      the whole model's fp32 weights
                              metrics.jsonl            what the run had measured up to this step
                              commit.json              written last: which run, which step, sha256 of every file

Every file is written under another name, flushed to the disk and renamed. A directory is a checkpoint only by its
commit, and only as long as every byte is as the commit says; else the one before it counts. No pickles.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from model.durable_files import flush_directory, write_durably, writing_to
from model.training_errors import CheckpointError

COMMIT_FILE = "commit.json"
WEIGHTS_FILE = "weights.safetensors"
METRICS_FILE = "metrics.jsonl"
_KEPT = 2
_SENTENCE_BYTES = 400

Exchange = Callable[[bytes], list[bytes]]
"""Gives every rank's payload to every rank, in the order of ranks; payloads are equally long."""


class Commit(BaseModel):
    """What `commit.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    step: Annotated[int, Field(ge=1)]
    samples: Annotated[int, Field(ge=0)]
    """Seen by all ranks up to here."""
    run_digest: str
    """Of everything that the weights depend on; a checkpoint of another run is refused."""
    world_size: Annotated[int, Field(ge=1)]
    sha256: dict[str, str]
    """By file name."""


@dataclass(frozen=True)
class Checkpoint:
    """What one rank needs to go on, and what was measured so far."""

    step: int
    state: dict[str, Tensor]
    metrics: bytes


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run in `directory`, as seen by one rank. All ranks call each method together."""

    directory: Path
    run_digest: str
    rank: int
    world_size: int
    exchange: Exchange

    def save(
        self, step: int, samples: int, state: Mapping[str, Tensor], weights: Mapping[str, Tensor], metrics: bytes
    ) -> None:
        """Write the checkpoint of `step`, then remove all but the newest two; `weights` and `metrics` count on rank 0.

        TrainingFailedError if a file cannot be written; the checkpoints before it stand.
        """
        path = self._path(step)
        with writing_to(path):
            if self.rank == 0:
                self._remove(step)  # remains of a run that was killed here
                path.mkdir(parents=True)
        self._meet()
        mine = write_durably(path / _rank_file(self.rank), safetensors.torch.save(dict(state)))
        digests = {_rank_file(rank): digest.hex() for rank, digest in enumerate(self.exchange(mine))}
        if self.rank == 0:
            digests[WEIGHTS_FILE] = write_durably(path / WEIGHTS_FILE, safetensors.torch.save(dict(weights))).hex()
            digests[METRICS_FILE] = write_durably(path / METRICS_FILE, metrics).hex()
            self._commit(step, samples, digests)

    def load_latest(self, note: Callable[[str], None]) -> Checkpoint | None:
        """The newest undamaged checkpoint, None if there is none; `note` is told of each damaged one, then removed.

        CheckpointError if the newest belongs to another run or to another number of ranks.
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
            if self.rank == 0:
                self._remove(step)
            self._meet()

    def _commit(self, step: int, samples: int, digests: dict[str, str]) -> None:
        commit = Commit(
            format=1,
            step=step,
            samples=samples,
            run_digest=self.run_digest,
            world_size=self.world_size,
            sha256=digests,
        )
        content = json.dumps(commit.model_dump(), sort_keys=True).encode() + b"\n"
        write_durably(self._path(step) / COMMIT_FILE, content)
        with writing_to(self.directory):
            flush_directory(self.directory)
            for old in self._committed_steps()[:-_KEPT]:
                self._remove(old)

    def _read(self, step: int) -> tuple[Checkpoint | None, str]:
        """This rank's part of a checkpoint, or what is wrong with it."""
        path = self._path(step)
        try:
            commit = Commit.model_validate_json((path / COMMIT_FILE).read_bytes())
            self._require_same_run(commit)
            state = safetensors.torch.load(_read_verified(path / _rank_file(self.rank), commit))
            metrics = _read_verified(path / METRICS_FILE, commit)
            if self.rank == 0:
                _read_verified(path / WEIGHTS_FILE, commit)
        except OSError as error:
            return None, f"{error.filename}: {error.strerror}"
        except ValidationError:
            return None, f"{path / COMMIT_FILE} is not a commit"
        except SafetensorError as error:
            return None, f"{path / _rank_file(self.rank)}: {error}"
        except _DamagedError as error:
            return None, str(error)
        return Checkpoint(step, state, metrics), ""

    def _require_same_run(self, commit: Commit) -> None:
        if commit.world_size != self.world_size:
            raise CheckpointError(
                f"{self.directory} holds a checkpoint of {commit.world_size} processes, but this run has "
                f"{self.world_size}; train with {commit.world_size} or remove that directory to start anew"
            )
        if commit.run_digest != self.run_digest:
            raise CheckpointError(
                f"{self.directory} holds a checkpoint of another run (digest {commit.run_digest[:12]}, this one has "
                f"{self.run_digest[:12]}): parameters, tokenizer or data differ; restore them or remove that "
                "directory to start anew"
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

    def _remove(self, step: int) -> None:
        path = self._path(step)
        (path / COMMIT_FILE).unlink(missing_ok=True)  # first: half a directory must not pass for a checkpoint
        if path.exists():
            shutil.rmtree(path)

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def _tell_all(self, sentence: str) -> list[str]:
        payload = sentence.encode(errors="replace")[:_SENTENCE_BYTES].ljust(_SENTENCE_BYTES, b"\0")
        return [said.rstrip(b"\0").decode(errors="replace") for said in self.exchange(payload)]

    def _meet(self) -> None:
        self.exchange(b"\0")


class _DamagedError(Exception):
    """A file's bytes are not those that its commit names."""


def _rank_file(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"


def _read_verified(path: Path, commit: Commit) -> bytes:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != commit.sha256.get(path.name):
        raise _DamagedError(f"{path} has sha256 {digest[:12]}, not {str(commit.sha256.get(path.name))[:12]}")
    return content
