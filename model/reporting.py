"""How work tells what it is doing: progress, metrics and notes go to one sink, wherever it leads.

A step or the training loop calls `progress`, `metrics` or `note`; who started it chose the sink with
`reporting_to` (a terminal, a pipe to the parent, MLflow, or a list in a test). Without one nothing is told.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Sink(Protocol):
    """Where reports go. Calls come often: a sink throttles by itself and never raises."""

    def progress(self, done: int, total: int | None, what: str) -> None:
        """`done` of `total` units are finished; `what` names the unit, for example "files"."""
        ...

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Named values at global step `step`."""
        ...

    def note(self, text: str) -> None:
        """One line that a person should see."""
        ...


class SilentSink:
    """Tells nobody."""

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Drop it."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Drop it."""

    def note(self, text: str) -> None:
        """Drop it."""


@dataclass
class ListSink:
    """Keeps everything, for tests and for later reading."""

    progresses: list[tuple[int, int | None, str]] = field(default_factory=list[tuple[int, int | None, str]])
    measured: list[tuple[int, dict[str, float]]] = field(default_factory=list[tuple[int, dict[str, float]]])
    notes: list[str] = field(default_factory=list[str])

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Keep it."""
        self.progresses.append((done, total, what))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep it."""
        self.measured.append((step, dict(values)))

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


_sink: ContextVar[Sink] = ContextVar("sink", default=SilentSink())  # noqa: B039 - SilentSink holds no state


def current_sink() -> Sink:
    """The sink chosen by the innermost `reporting_to`, else a silent one."""
    return _sink.get()


@contextmanager
def reporting_to(sink: Sink) -> Generator[None]:
    """Send the reports of the enclosed work to `sink`."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


def track(items: Iterable[Item], total: int | None, what: str) -> Iterator[Item]:
    """Yield `items` and report progress after each."""
    sink = current_sink()
    sink.progress(0, total, what)
    for done, item in enumerate(items, start=1):
        yield item
        sink.progress(done, total, what)
