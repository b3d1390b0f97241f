"""The live view of a run at a terminal: one line for each step, in the order of the catalog.

Without a terminal (a log, a pipe) a line is printed when a step ends, and nothing moves.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from components.step import Step

_REFRESH_PER_SECOND = 8
_BAR_WIDTH = 24


@dataclass
class _Line:
    state: str = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    done: int = 0
    heard: tuple[float, int] | None = None
    """When the first progress came, and how far it was: a resumed step does not begin at 0."""
    total: int | None = None
    what: str = ""
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    detail: str = ""


class RunView:
    """Shows the steps of a run; `hear` takes their events, from any thread."""

    def __init__(self, steps: Sequence[Step], console: Console) -> None:
        self._console = console
        self._lines = {step.name: _Line() for step in steps}
        self._spinner = Spinner("dots")

    @contextmanager
    def shown(self) -> Generator[None]:
        """Move while the block runs; the last state stays on the screen."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self, console=self._console, refresh_per_second=_REFRESH_PER_SECOND, transient=False):
            yield

    def hear(self, step: str, event: Mapping[str, Any]) -> None:
        """Take one event of a step, see `components/event_stream.py`; a step that is heard of has begun."""
        line = self._lines.setdefault(step, _Line())
        if line.state == "waiting":
            line.state, line.started = "running", time.monotonic()
        match event["event"]:
            case "progress":
                line.done, line.total, line.what = event["done"], event["total"], event["what"]
                line.heard = line.heard or (time.monotonic(), line.done)
            case "metrics":
                line.metrics |= event["values"]
            case "note":
                line.detail = event["text"]
                if not self._console.is_terminal:
                    self._console.print(f"{step}: {event['text']}", markup=False, highlight=False)
            case "reused":
                self._end(step, line, "reused", event["record"])
            case "record":
                self._end(step, line, "done", event["record"])
            case "error":
                line.state, line.detail = "failed", ""
                line.seconds = time.monotonic() - line.started
            case _:
                pass

    def _end(self, step: str, line: _Line, state: str, record: Mapping[str, Any]) -> None:
        line.state, line.seconds = state, time.monotonic() - line.started
        line.detail = f"{record['artifact']} {record['digest'][:12]}"
        if not self._console.is_terminal:
            told = f"{step}: {state}, {line.detail}, {line.seconds:.1f} s"
            self._console.print(told, markup=False, highlight=False)

    def __rich__(self) -> RenderableType:
        """The table as it is now."""
        table = Table.grid(padding=(0, 1))
        below: list[RenderableType] = []
        for name, line in self._lines.items():
            table.add_row(self._mark(line), Text(name, style="bold" if line.state == "running" else ""), *_told(line))
            if line.state == "running":
                below += [Text(f"  {figures}", style="dim") for figures in figures_of(line.metrics)[1:]]
        return Group(table, *below)

    def _mark(self, line: _Line) -> RenderableType:
        match line.state:
            case "running":
                return self._spinner
            case "done" | "reused":
                return Text("+", style="green")
            case "failed":
                return Text("x", style="red")
            case _:
                return Text(".", style="dim")


def _told(line: _Line) -> tuple[RenderableType, RenderableType]:
    """Two cells: the bar or the outcome, and the figures."""
    if line.state == "waiting":
        return Text(""), Text("")
    if line.state == "running":
        bar = ProgressBar(total=line.total, completed=line.done, width=_BAR_WIDTH, pulse=line.total is None)
        return bar, Text(_figures(line), style="dim")
    return Text(f"{line.state} in {line.seconds:.1f} s"), Text(line.detail, style="dim")


def _figures(line: _Line) -> str:
    parts = [f"{line.done:,}/{line.total:,} {line.what}" if line.total else line.what]
    if line.total and line.heard and line.done > line.heard[1]:
        elapsed = time.monotonic() - line.heard[0]
        left = elapsed / (line.done - line.heard[1]) * (line.total - line.done)
        parts.append(f"about {_duration(left)} left")
    parts += figures_of(line.metrics)[:1]
    if not line.metrics and line.detail:
        parts.append(line.detail)
    return ", ".join(part for part in parts if part)


def figures_of(metrics: Mapping[str, float]) -> list[str]:
    """What a training measured, in up to three lines: how well, how it steps and how fast, the loss of each source."""
    utilization, memory = metrics.get("model_flops_utilization"), metrics.get("memory_bytes")
    parts = _told_of(metrics, _SHOWN_BELOW)
    if "model_flops_per_second" in metrics:
        parts.append(f"{_prefixed(metrics['model_flops_per_second'])}FLOP/s")
    if utilization is not None:
        parts.append(f"MFU {utilization:.1%}")
    if memory is not None:
        parts.append(f"{_prefixed(memory)}B a rank")
    sources = [
        f"{name.removeprefix(_OF_A_SOURCE)} {loss:.3f}"
        for name, loss in sorted(metrics.items(), key=lambda item: -item[1])
        if name.startswith(_OF_A_SOURCE)
    ]
    if len(sources) > _SOURCES_SHOWN:
        sources[_SOURCES_SHOWN:] = [f"{len(sources) - _SOURCES_SHOWN} more below"]
    lines = [_told_of(metrics, _SHOWN), parts, sources]
    return [", ".join(line) for line in lines if line]


def _told_of(metrics: Mapping[str, float], shown: Sequence[tuple[str, str, str]]) -> list[str]:
    return [f"{name} {metrics[key]:{form}}" for key, name, form in shown if key in metrics]


def _prefixed(value: float) -> str:
    """With three digits and the unit's prefix, to be followed by the unit."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000:
            return f"{value:.3g} {prefix}"
        value /= 1000
    return f"{value:,.3g} P"


def _duration(seconds: float) -> str:
    """As much of it as one cares for."""
    hours, minutes = divmod(round(seconds) // 60, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {round(seconds) % 60} s" if minutes else f"{seconds:.0f} s"


_SHOWN = (
    ("loss", "loss", ".3f"),
    ("validation_loss", "validation", ".3f"),
    ("tokens_per_second", "tokens/s", ",.0f"),
)
_SHOWN_BELOW = (
    ("gradient_norm", "gradient norm", ".3g"),
    ("learning_rate", "learning rate", ".2e"),
)
_OF_A_SOURCE = "validation_loss/"
_SOURCES_SHOWN = 6
"""The hardest ones."""
