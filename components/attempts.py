"""What every attempt at a training has taken, those that were killed before it ended among them: one note each.

    attempts/00001.json   a RunCost: what the first attempt had taken at its last note
             00002.json   and so on; the last is the one that runs

A note is replaced as a whole from time to time and when its attempt ends, however it ends. Only what no process can
tell is lost: after kill -9 the time since the last note.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from components.errors import StorageError
from components.planning.run_cost import RunCost, sum_of_costs
from model.durable_files import write_durably
from model.reporting import current_sink
from model.training_errors import TrainingFailedError

NOTE_EVERY_SECONDS = 30.0
"""A note is one small file; the checkpoints that a kill costs lie minutes apart."""

HELD_FILE = "held_device_seconds"
"""In the working directory of a training whose ranks are elsewhere: what they have held until now, all attempts."""


def read_held_seconds(work_dir: Path) -> float:
    """Devices times seconds, of all attempts so far; 0 before the first."""
    try:
        return float((work_dir / HELD_FILE).read_text())
    except (OSError, ValueError):
        return 0.0


def write_held_seconds(work_dir: Path, device_seconds: float) -> None:
    """The same, to be read at any time. StorageError if the disk does not take it."""
    try:
        write_durably(work_dir / HELD_FILE, f"{device_seconds:.1f}\n".encode())
    except TrainingFailedError as error:
        raise StorageError(str(error)) from None


class Attempts:
    """The notes in the directory `place`; a context manager that adds one more attempt, its block.

    `cost_after` says what an attempt of so many seconds costs, by the `clock`. A disk that takes no note is told and
    ends no training.
    """

    def __init__(
        self,
        place: Path,
        cost_after: Callable[[float], RunCost],
        every_seconds: float = NOTE_EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cost_after = cost_after
        self._every_seconds = every_seconds
        self._clock = clock
        notes = sorted(place.glob("[0-9][0-9][0-9][0-9][0-9].json"))
        self._before = [cost for cost in map(_read, notes) if cost is not None]
        self._note = place / f"{int(notes[-1].stem) + 1 if notes else 1:05d}.json"
        self._started = clock()
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._keep_writing, name="attempts", daemon=True)

    @property
    def count(self) -> int:
        """Attempts that `cost` sums up: those before, and this one."""
        return len(self._before) + 1

    def cost(self) -> RunCost:
        """What all attempts took until now."""
        return sum_of_costs([*self._before, self._cost_so_far()])

    def __enter__(self) -> Self:
        with suppress(OSError):  # told at the end
            self._note.parent.mkdir(parents=True, exist_ok=True)
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._writer.join()
        try:
            self._write()
        except TrainingFailedError as error:
            current_sink().note(f"what this attempt took is not noted for the next: {error}")

    def _keep_writing(self) -> None:
        while True:
            with suppress(TrainingFailedError):  # there may be room the next time
                self._write()
            if self._over.wait(self._every_seconds):
                return

    def _write(self) -> None:
        write_durably(self._note, self._cost_so_far().model_dump_json().encode() + b"\n")

    def _cost_so_far(self) -> RunCost:
        return self._cost_after(self._clock() - self._started)


def _read(note: Path) -> RunCost | None:
    try:
        return RunCost.model_validate_json(note.read_bytes())
    except (OSError, ValidationError):
        current_sink().note(f"an attempt at this training is not counted in its cost: {note} cannot be read")
        return None
