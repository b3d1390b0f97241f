"""Checkpoints of a training run on the disk: whole or not there, whatever kills the processes that write them.

    checkpoints/step-00000100/rank-00000.safetensors   fragments of rank 0: fp32 weights and Adam moments
                              rank-00001.safetensors   and so on
                              metrics.jsonl            what the run had measured up to this step
                              commit.json              written last: which run, which step, sha256 of every file

A save has two phases: each rank copies its state and goes on training while a thread writes it; once all have written,
rank 0 commits. Every file is written under another name, flushed to the disk and renamed. A directory is a checkpoint
only by its commit, and only as long as every byte is as the commit says; else the one before it counts. No pickles.
Fragments name the numbers of whole parameters that they hold, so a run may go on in another layout. With a store each
is uploaded too (`checkpoint_mirror.py`), and a run that finds a newer one there fetches it first.
"""

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError

from model.agreement import Exchange, Note, require_success, tell_all
from model.checkpoint_commit import COMMIT_FILE, KEPT, METRICS_FILE, Commit, DamagedError, rank_file, step_name
from model.checkpoint_mirror import CheckpointMirror
from model.config import ParallelLayout
from model.durable_files import flush_directory, write_durably, writing_to
from model.training_errors import CheckpointError, TrainingFailedError
from model.training_state import RankState, StateError, StateReader, state_bytes

_DIGEST_BYTES = 32


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
    mirror: CheckpointMirror | None = None
    """Of this directory, in S3."""
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))
    _open: _Save | None = None

    def begin(self, step: int, samples: int, state: RankState, metrics: bytes) -> None:
        """Copy the state and let a thread write it; `metrics` counts on rank 0. The save before must be settled.

        TrainingFailedError if the remains of a run that was killed here cannot be removed.
        """
        path = self._path(step)
        require_success(self.exchange, self._try_to_remove(step))
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
            require_success(self.exchange, self._end(save, words))
        except TrainingFailedError:
            self._try_to_remove(save.step)  # every rank has ended its writing
            raise
        if self.mirror:
            self.mirror.add(save.step)
        return save.step

    def settle_upload(self, note: Note, *, wait: bool) -> None:
        """Upload what was committed, if there is a store; `wait`, for ten minutes at most, until it is there.

        A failure harms nothing: `note` is told.
        """
        if self.mirror:
            (self.mirror.finish if wait else self.mirror.settle)(note)

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
        """End the threads."""
        self._writer.shutdown()
        if self.mirror:
            self.mirror.close()

    def load_latest(self, note: Note, *, local_only: bool = False) -> Checkpoint | None:
        """The newest undamaged checkpoint of directory and store, None if there is none; a newer one is fetched.

        `note` is told of each damaged one, which is then removed. CheckpointError if the newest belongs to another run;
        TrainingFailedError if a damaged one cannot be removed, or if the store cannot be used: it may hold a newer one.
        """
        mirror = None if local_only else self.mirror
        mirrored = mirror.steps(note) if mirror else []
        while True:
            step = self._newest_step()
            if mirror and mirrored and mirrored[-1] > step:
                self._require_same_run_at(step)
                self._fetch(mirror, mirrored.pop(), note)  # each is fetched once
                continue
            if not step:
                return None
            checkpoint, fault = self._read(step)
            faults = [said for said in tell_all(self.exchange, fault) if said]
            if checkpoint and not faults:
                return checkpoint
            note(f"the checkpoint of step {step} is damaged ({faults[0]}) and was removed; trying the one before")
            require_success(self.exchange, self._try_to_remove(step))

    def _commit(self, save: _Save, digests: dict[str, str]) -> None:
        commit = Commit(
            format=2,
            step=save.step,
            samples=save.samples,
            identity=dict(self.identity),
            layout=self.layout,
            sha256=digests,
        )
        self._write_commit(save.step, commit.content())
        for old in self._committed_steps()[:-KEPT]:
            if not self.mirror or old != self.mirror.uploading:
                self._try_to_remove(old)  # one that stays is no harm

    def _write_commit(self, step: int, content: bytes) -> None:
        write_durably(self._path(step) / COMMIT_FILE, content)
        with writing_to(self.directory):
            flush_directory(self.directory)

    def _fetch(self, mirror: CheckpointMirror, step: int, note: Note) -> None:
        """Bring a checkpoint of the store into the directory, its commit last; a damaged one is told and removed."""
        require_success(self.exchange, self._try_to_remove(step))
        content, fault = mirror.fetch(step, note), ""
        if content and self.rank == 0:
            try:
                self._write_commit(step, content)
            except TrainingFailedError as error:
                fault = str(error)
        require_success(self.exchange, fault)

    def _require_same_run_at(self, step: int) -> None:
        with suppress(OSError, ValidationError):  # a damaged commit, or none
            self._require_same_run(Commit.model_validate_json((self._path(step) / COMMIT_FILE).read_bytes()))

    def _read(self, step: int) -> tuple[Checkpoint | None, str]:
        """A checkpoint of which this rank has verified its share of the files, or what is wrong with it."""
        path = self._path(step)
        try:
            commit = Commit.model_validate_json((path / COMMIT_FILE).read_bytes())
            self._require_same_run(commit)
            files = [path / name for name in commit.rank_files()]
            for file in files[self.rank :: self.layout.world_size]:
                commit.verify(file)
            commit.verify(path / METRICS_FILE)
            state, metrics = StateReader(files), (path / METRICS_FILE).read_bytes()
        except OSError as error:
            return None, f"{error.filename or path}: {error.strerror or error}"
        except ValidationError:
            return None, f"{path / COMMIT_FILE} is not a commit"
        except SafetensorError as error:
            return None, f"{path}: {error}"
        except (StateError, DamagedError) as error:
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

    def _newest_step(self) -> int:
        """0 if there is none. Rank 0 looks and all believe it: a shared disk may show others an older state."""
        steps = self._committed_steps() if self.rank == 0 else []
        return int.from_bytes(self.exchange((steps[-1] if steps else 0).to_bytes(8, "big"))[0], "big")

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
        return self.directory / step_name(step)


def _written(path: Path, content: bytes) -> bytes:
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return write_durably(path, content)
