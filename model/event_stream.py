"""Reports between processes: one JSON object a line, written by a worker and delivered to a sink by its parent."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from model.reporting import Sink


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Progress(_Event):
    """`Sink.progress`."""

    event: Literal["progress"] = "progress"
    done: int
    total: int | None
    what: str


class Metrics(_Event):
    """`Sink.metrics`."""

    event: Literal["metrics"] = "metrics"
    values: dict[str, float]
    step: int


class Note(_Event):
    """`Sink.note`."""

    event: Literal["note"] = "note"
    text: str


class Failure(_Event):
    """The worker stops, for a reason that a person can mend."""

    event: Literal["error"] = "error"
    kind: str
    """Name of the error's class."""
    text: str


Event = Annotated[Progress | Metrics | Note | Failure, Field(discriminator="event")]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class EventWriter:
    """A sink that writes each report to a file descriptor at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Write it."""
        self.write(Progress(done=done, total=total, what=what))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Write it."""
        self.write(Metrics(values=dict(values), step=step))

    def note(self, text: str) -> None:
        """Write it."""
        self.write(Note(text=text))

    def write(self, event: Progress | Metrics | Note | Failure) -> None:
        """Write any event, whole; silent if nobody reads any more: a sink never raises."""
        self.write_line(event.model_dump_json())

    def write_line(self, text: str) -> None:
        """Write one line, whole."""
        line = text.encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except BrokenPipeError:
            return


def read_event(line: bytes) -> Event:
    """The event in one line; pydantic's ValidationError if it is none."""
    return _EVENT.validate_json(line)


def deliver(event: Event, sink: Sink) -> None:
    """Call the sink as the worker did; a failure is not a report and is left to the caller."""
    match event:
        case Progress():
            sink.progress(event.done, event.total, event.what)
        case Metrics():
            sink.metrics(event.values, event.step)
        case Note():
            sink.note(event.text)
        case Failure():
            pass
