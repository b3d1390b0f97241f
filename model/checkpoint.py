"""Checkpoints of a training run on the disk: whole or not there, whatever kills the processes that write them.

    checkpoints/step-00000100/rank-00000.safetensors   fragments of rank 0: fp32 weights and Adam moments
                              rank-00001.safetensors   and so on
                              metrics.jsonl            what the run had measured up to this step
                              commit.json              written last: which run, which step, sha256 of every file

Where the ranks have disks of their own, each holds the files of its ranks and only the store has a checkpoint whole.

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
from model.disks import Disk
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
    disk: Disk
    exchange: Exchange
    mirror: CheckpointMirror | None = None
    """Of this directory, in S3."""
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))
    _open: _Save | None = None

    @property
    def rank(self) -> int:
        """Whose view it is."""
        return self.disk.rank

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
        if self.disk.leads and self.rank != 0:
            self._remove_old()
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

    def load_latest(self, note: Note, *, to_export: bool = False) -> Checkpoint | None:
        """The newest undamaged checkpoint of directory and store, None if there is none; a newer one is fetched.

        With `to_export` it is that of the last save, whole for rank 0. `note` is told of each damaged one, which is
        then removed. CheckpointError if the newest belongs to another run; TrainingFailedError if a damaged one cannot
        be removed, if the store cannot be used, for it may hold a newer one, or if ranks without a store share no disk.
        """
        self._require_way_back()
        mirror = None if to_export and self.disk.is_shared else self.mirror
        mirrored = mirror.steps(note) if mirror else []
        fetched = 0
        while True:
            step = self._newest_step() if self.disk.is_shared else fetched
            if mirror and mirrored and mirrored[-1] > step:
                self._require_same_run_at(step)
                newer = mirrored.pop()  # each is fetched once
                fetched = newer if self._fetch(mirror, newer, note, to_export=to_export) else 0
                continue
            if not step:
                return None
            checkpoint, fault = self._read(step, to_export=to_export)
            faults = [said for said in tell_all(self.exchange, fault) if said]
            if checkpoint and not faults:
                return checkpoint
            note(f"the checkpoint of step {step} is damaged ({faults[0]}) and was removed; trying the one before")
            require_success(self.exchange, self._try_to_remove(step))
            fetched = 0

    def _require_way_back(self) -> None:
        if not self.disk.is_shared and self.mirror is None:
            raise TrainingFailedError(
                f"not all ranks see one disk at {self.directory}, so no checkpoint there is whole; put it on a shared "
                "file system, or set STARLOOM_CHECKPOINT_STORE"
            )

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
        self._remove_old()

    def _remove_old(self) -> None:
        """All but the newest two; away from rank 0, which commits, what was written counts."""
        steps = self._steps(f"/{COMMIT_FILE}" if self.rank == 0 else "")
        for old in steps[:-KEPT]:
            if not self.mirror or old != self.mirror.uploading:
                self._try_to_remove(old)  # one that stays is no harm

    def _write_commit(self, step: int, content: bytes) -> None:
        write_durably(self._path(step) / COMMIT_FILE, content)
        with writing_to(self.directory):
            flush_directory(self.directory)

    def _fetch(self, mirror: CheckpointMirror, step: int, note: Note, *, to_export: bool) -> bool:
        """Bring a checkpoint of the store to every disk, its commit last; a damaged one is told and removed: False."""
        require_success(self.exchange, self._try_to_remove(step))
        content, fault = mirror.fetch(step, note, lambda commit: self._needed(commit, to_export=to_export)), ""
        if content and self.disk.leads:
            try:
                self._write_commit(step, content)
            except TrainingFailedError as error:
                fault = str(error)
        require_success(self.exchange, fault)
        return content is not None

    def _needed(self, commit: Commit, *, to_export: bool) -> list[str]:
        """The files that this rank's disk must hold: in the same layout a rank needs its own alone."""
        is_whole = self.disk.is_shared or commit.layout != self.layout or (to_export and 0 in self.disk.ranks)
        files = commit.rank_files() if is_whole else [rank_file(rank) for rank in self.disk.ranks]
        return [*files, METRICS_FILE]

    def _require_same_run_at(self, step: int) -> None:
        with suppress(OSError, ValidationError):  # a damaged commit, or none
            self._require_same_run(Commit.model_validate_json((self._path(step) / COMMIT_FILE).read_bytes()))

    def _read(self, step: int, *, to_export: bool) -> tuple[Checkpoint | None, str]:
        """A checkpoint of which this rank has verified its share of the files, or what is wrong with it."""
        path = self._path(step)
        try:
            commit = Commit.model_validate_json((path / COMMIT_FILE).read_bytes())
            self._require_same_run(commit)
            *files, metrics_file = self._needed(commit, to_export=to_export)
            for name in [*self.disk.share(files), metrics_file]:
                commit.verify(path / name)
            state, metrics = StateReader(path / name for name in files), (path / metrics_file).read_bytes()
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
        steps = self._steps(f"/{COMMIT_FILE}") if self.rank == 0 else []
        return int.from_bytes(self.exchange((steps[-1] if steps else 0).to_bytes(8, "big"))[0], "big")

    def _steps(self, with_file: str) -> list[int]:
        """Of the directories here that have such a file, ascending."""
        found = self.directory.glob(f"step-{'[0-9]' * 8}{with_file}")
        return sorted(int(path.relative_to(self.directory).parts[0].removeprefix("step-")) for path in found)

    def _try_to_remove(self, step: int) -> str:
        """One rank of a disk removes a checkpoint or its remains; what it has to say if it cannot."""
        path = self._path(step)
        if not self.disk.leads:
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
