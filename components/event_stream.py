"""A step's reports as JSON lines on its standard output: what a launcher reads, one object a line.

The reports are those of `model/event_stream.py`; the last line of a step is its record or its error.
"""

import json
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from components.lineage import StepRecord
from model.event_stream import EventWriter, Failure

_PROGRESS_INTERVAL_SECONDS = 0.1


class Published(BaseModel):
    """The step's artifact stands in its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: Literal["record"] = "record"
    record: StepRecord


def event_of(line: str) -> dict[str, Any] | None:
    """The event that a line tells; None for a line that is only text."""
    if not line.startswith("{"):
        return None
    try:
        event: Any = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


class StepEvents(EventWriter):
    """Writes progress at most ten times a second and always its end, and how the step ended."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._last_progress = 0.0

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Write it unless one was written a moment ago."""
        now = time.monotonic()
        if done == total or now - self._last_progress >= _PROGRESS_INTERVAL_SECONDS:
            self._last_progress = now
            super().progress(done, total, what)

    def published(self, record: StepRecord) -> None:
        """The last line of a step that went well."""
        self.write_line(Published(record=record).model_dump_json())

    def failed(self, kind: str, sentence: str) -> None:
        """The last line of a step that a person can mend."""
        self.write(Failure(kind=kind, text=sentence))
