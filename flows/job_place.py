"""Where a step's command runs: the one place that knows both the step's needs and the launchers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from components.step import Step
from flows.run_context import RunContext
from k8s.local_launcher import launch
from k8s.request import JobOutcome, JobRequest


class RunningJob(Protocol):
    """A command at work, wherever it is."""

    def lines(self) -> Iterator[str]:
        """What it says, line by line as it comes, until it ends."""
        ...

    def outcome(self) -> JobOutcome:
        """How it ended; asked when the lines are read to their end."""
        ...


def start_job(step: Step, request: JobRequest, run: RunContext) -> AbstractContextManager[RunningJob]:
    """Start it where the profile of the run says; leaving the block ends whatever of it still runs."""
    return launch(request)
