"""The second tier of checkpoints: what is committed on the disk goes to a store too, behind the training's back.

Three jobs for each checkpoint, in a thread of their own, each begun when all ranks have ended the one before: rank 0
looks whether the step is free; every rank uploads its file; rank 0 commits and removes what is too old. One checkpoint
is uploaded at a time and only the newest waits, so a slow store costs checkpoints there and never time here.
"""

import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

from pydantic import ValidationError

from model.agreement import Exchange, Note, fault_of, require_success, tell_all, wait_for_all
from model.checkpoint_commit import COMMIT_FILE, KEPT, METRICS_FILE, Commit, DamagedError, rank_file, step_name
from model.disks import Disk
from model.durable_files import writing_to
from model.remote_checkpoints import RemoteCheckpoints
from model.training_errors import RequestError, TrainingFailedError

_SECONDS_AT_THE_END = 600.0
"""How long the end of a run waits for its last upload; a preempted one may have less."""
_LOOKED_AT = 8
"""Newest checkpoints of the store that a start may try: more than are kept, should their removal have failed."""


@dataclass
class _Upload:
    """A checkpoint that is being uploaded."""

    step: int
    job: Future[object]
    """Runs, or has ended."""
    to_come: list[Callable[[], object]]


@dataclass
class CheckpointMirror:
    """A run's directory of checkpoints in a store, as seen by one rank. All ranks call each method together."""

    remote: RemoteCheckpoints
    directory: Path
    """Of the checkpoints on the disk."""
    disk: Disk
    exchange: Exchange
    beat: Callable[[], None] = lambda: None
    """Called while the store is waited for: this is no hanging."""
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "mirror"))
    _running: _Upload | None = None
    _waiting: int | None = None
    _left_out: int | None = None
    _is_slowness_told: bool = False

    @property
    def rank(self) -> int:
        """Whose view it is."""
        return self.disk.rank

    @property
    def uploading(self) -> int | None:
        """The step that is being uploaded; its files must stay."""
        return self._running.step if self._running else None

    def add(self, step: int) -> None:
        """Upload this committed step next, in place of one that still waits."""
        self._left_out, self._waiting = self._waiting, step

    def settle(self, note: Note) -> None:
        """See to the upload without waiting for it; `note` is told of one that failed."""
        if self._running and wait_for_all(self.exchange, self._running.job, self.beat, at_most_seconds=0):
            self._go_on(self._running, note)
        if not self._running and self._waiting:
            self._begin(self._waiting)
        if self._left_out and not self._is_slowness_told:
            self._is_slowness_told = True
            note(
                f"uploads take longer than the time between two checkpoints: that of step {self._left_out} is left "
                "out, and so will be others, untold; the newest is uploaded as soon as it can be"
            )

    def finish(self, note: Note) -> None:
        """Wait until the newest checkpoint is in the store, for ten minutes at most; `note` is told if it is not."""
        deadline = monotonic() + _SECONDS_AT_THE_END
        self.settle(note)
        while self._running:
            if not wait_for_all(self.exchange, self._running.job, self.beat, deadline - monotonic()):
                note(
                    f"the checkpoint of step {self._waiting or self._running.step} was not uploaded in "
                    f"{_SECONDS_AT_THE_END:g} seconds and stands on the disk alone; see why {self.remote.url} is slow"
                )
                return
            self.settle(note)

    def close(self) -> None:
        """Leave what still runs to itself: it ends with the process."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def steps(self, note: Note) -> list[int]:
        """The committed steps of the store, ascending, at most the newest eight.

        What killed attempts left half uploaded is ended. TrainingFailedError if the store cannot be used, which is a
        RequestError if a person must mend something first.
        """
        steps: list[int] = []
        fault: str | RequestError = ""
        if self.rank == 0:
            try:
                steps = self.remote.steps()[-_LOOKED_AT:]
                self._end_earlier_uploads(note)
            except RequestError as error:
                fault = error
            except TrainingFailedError as error:
                fault = str(error)
        require_success(self.exchange, fault)
        form, padding = f">{_LOOKED_AT}Q", [0] * (_LOOKED_AT - len(steps))
        told = struct.unpack(form, self.exchange(struct.pack(form, *steps, *padding))[0])
        return [step for step in told if step]

    def fetch(self, step: int, note: Note, needed: Callable[[Commit], Sequence[str]]) -> bytes | None:
        """Bring the files of a checkpoint to the disks, verified; returns its commit, which makes them one.

        `needed` names those that this rank's disk is to hold.

        None if it is damaged: `note` is told and it is removed from the store. TrainingFailedError if the store cannot
        be used or the disk not be written.
        """
        job = self._thread.submit(self._fetch_share, step, needed)
        wait_for_all(self.exchange, job, self.beat)
        error = job.exception()
        damage = str(error) if isinstance(error, DamagedError) else ""
        told = error if isinstance(error, RequestError) else fault_of(job)
        require_success(self.exchange, "" if damage else told)
        damages = [said for said in tell_all(self.exchange, damage) if said]
        if not damages:
            note(f"fetched the checkpoint of step {step} from {self.remote.url}")
            return job.result()
        note(f"the checkpoint of step {step} in {self.remote.url} is damaged ({damages[0]}); trying the one before")
        if self.rank == 0:
            with suppress(TrainingFailedError):  # one that stays is told again
                self.remote.remove(step)
        return None

    def _begin(self, step: int) -> None:
        jobs: list[Callable[[], object]] = [partial(job, step) for job in (self._look, self._upload, self._commit)]
        self._waiting = None
        self._running = _Upload(step, self._thread.submit(jobs[0]), jobs[1:])

    def _go_on(self, upload: _Upload, note: Note) -> None:
        """After a job that all ranks have ended."""
        faults = [said for said in tell_all(self.exchange, fault_of(upload.job)) if said]
        if upload.to_come and not faults:
            upload.job = self._thread.submit(upload.to_come.pop(0))
            return
        self._running = None
        if faults:
            note(f"the checkpoint of step {upload.step} was not uploaded and stands on the disk alone: {faults[0]}")

    def _look(self, step: int) -> None:
        if self.rank == 0:
            self.remote.require_no_other_commit(step, (self._path(step) / COMMIT_FILE).read_bytes())

    def _upload(self, step: int) -> None:
        self.remote.upload(self._path(step) / rank_file(self.rank), step)
        if self.rank == 0:
            self.remote.upload(self._path(step) / METRICS_FILE, step)

    def _commit(self, step: int) -> None:
        if self.rank != 0:
            return
        self.remote.commit(step, (self._path(step) / COMMIT_FILE).read_bytes())
        with suppress(TrainingFailedError):  # one that stays is no harm, and the next commit tries again
            self.remote.keep_newest(KEPT)

    def _fetch_share(self, step: int, needed: Callable[[Commit], Sequence[str]]) -> bytes:
        """This rank's share of the files, verified and on the disk for good; returns the commit."""
        content = self.remote.commit_of(step)
        try:
            commit = Commit.model_validate_json(content or b"")
        except ValidationError:
            raise DamagedError(f"{COMMIT_FILE} is not a commit") from None
        path = self._path(step)
        with writing_to(path):
            path.mkdir(parents=True, exist_ok=True)
        for name in self.disk.share(needed(commit)):
            self.remote.download(step, path / name)
            commit.verify(path / name)
            with writing_to(path / name), (path / name).open("rb") as file:
                os.fsync(file.fileno())
        return content or b""

    def _end_earlier_uploads(self, note: Note) -> None:
        try:
            self.remote.abort_unfinished_uploads()
        except TrainingFailedError as error:
            note(f"uploads that earlier attempts did not finish may still take room: {error}")

    def _path(self, step: int) -> Path:
        return self.directory / step_name(step)
