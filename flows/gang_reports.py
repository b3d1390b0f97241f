"""What a gang's pods say becomes the reports of a rank: JSON lines on standard output, everything else on the error's.

A gang that is adopted tells its log from the beginning; what was passed on already is noted in a file and left out. How
long each pod has held its devices is noted too: it is what the training costs.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.event_stream import StepEvents, event_of
from flows.gang_page import summary_of
from flows.held_devices import HeldDevices, read_numbers, write_numbers
from k8s.request import GangStatus

_SECONDS_BETWEEN_NOTES = 1.0


class GangReports:
    """Takes lines and changes of a gang, in the order in which they come."""

    def __init__(self, events: StepEvents, work_dir: Path, show: Callable[[GangStatus], None]) -> None:
        """`work_dir` is the training's, for what is to be known the next time; `show` also gets each status."""
        self._events = events
        self._heard = work_dir / "heard.json"
        self._held = HeldDevices(work_dir)
        self._show = show
        self._passed_on: dict[str, float] = read_numbers(self._heard)
        self._next_note = 0.0
        self._summary = ""
        self._restarts: int | None = None
        """None before the first status."""
        self.failure: dict[str, Any] | None = None
        """What a rank told last before it failed, since the last restart."""

    def line(self, pod: str, text: str) -> None:
        """One of a pod's log."""
        event = event_of(text)
        if event is None:
            print(f"{pod}: {text}", file=sys.stderr, flush=True)
        elif event["event"] == "error":
            if self.failure is None or event["kind"] != "TrainingPreemptedError":
                self.failure = event
        elif event["event"] != "metrics":
            self._events.write_line(text)
        elif event["step"] > self._passed_on.get(pod, 0):
            self._events.write_line(text)
            self._passed_on = {pod: event["step"]}
            if time.monotonic() >= self._next_note:
                self.keep()

    def status(self, status: GangStatus, devices_per_pod: int) -> None:
        """A change of where its pods are."""
        self._held.see(status, devices_per_pod)
        if self._restarts is not None and status.restarts > self._restarts:
            why = f": {self.failure['text']}" if self.failure else ""
            self.note(f"all pods begin anew from the last checkpoint{why}")
            self.failure = None
        self._restarts = status.restarts
        summary = summary_of(status)
        if summary != self._summary:
            self._summary = summary
            self.note(summary)
        self._show(status)

    def note(self, text: str) -> None:
        """One line for a person."""
        self._events.note(text)

    def failed(self, kind: str, text: str) -> None:
        """The last word."""
        self._events.failed(kind, text)

    def keep(self) -> None:
        """Note how far the log was passed on. A disk that does not take it costs a repeated line, no training."""
        self._next_note = time.monotonic() + _SECONDS_BETWEEN_NOTES
        write_numbers(self._passed_on, self._heard)
        self._held.keep()
