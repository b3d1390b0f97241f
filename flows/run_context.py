"""Opens a run: what is computed (parameters with the request's overrides), where (settings), and the workspace's lock.

Who started the run may listen to its steps with `listening`; a flow's only parameter is its request, so the listener
comes by context and not by argument.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from components.config import PipelineConfig, load_config
from components.errors import StarloomError
from components.settings import Settings
from components.workspace import exclusive
from flows.plan_run import known_profile
from k8s.profile import Profile

StepListener = Callable[[str, dict[str, Any]], None]
"""Hears a step's name and one of its events, see `components/event_stream.py`; also "started" and "reused"."""


def _hear_nothing(step: str, event: dict[str, Any]) -> None:
    """Drop it."""


_listener: ContextVar[StepListener] = ContextVar("listener", default=_hear_nothing)


@contextmanager
def listening(listener: StepListener) -> Generator[None]:
    """Let `listener` hear the events of every run that is opened inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@dataclass(frozen=True)
class RunContext:
    """What the steps of one run share."""

    params_file: str
    overrides: tuple[str, ...]
    config: PipelineConfig
    """The parameter file with the overrides applied."""
    settings: Settings
    profile_name: str
    """As it was asked for: a name, or a file of the workspace."""
    profile: Profile
    """Where it trains, and where its corpus is made."""
    hear: StepListener


@contextmanager
def open_workspace(purpose: str) -> Generator[Settings]:
    """Hold the workspace; WorkspaceBusyError says who holds it already."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_ONE_SENTENCE)
    settings = Settings.from_environment()
    with exclusive(settings, purpose):
        yield settings


@contextmanager
def open_run(
    purpose: str, params_file: str, overrides: tuple[str, ...] = (), profile: str | None = None
) -> Generator[RunContext]:
    """Hold the workspace with its parameters read; ParamsError comes before anything is run.

    Without a profile it trains where the settings say.
    """
    with open_workspace(purpose) as settings:
        config = load_config(settings.workspace / params_file, overrides)
        name = profile or settings.profile
        known = known_profile(name, settings.workspace)
        yield RunContext(params_file, overrides, config, settings, name, known, _listener.get())


class _OneSentence(logging.Filter):
    """Takes the traceback off what a person can mend: its sentence says all."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], StarloomError):
            record.exc_info = None
        return True


_ONE_SENTENCE = _OneSentence()
