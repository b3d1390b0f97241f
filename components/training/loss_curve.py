"""The loss curve as a picture: what a person looks at first after a training.

A pure function of the metrics, drawn without pyplot: no window, no global figure, the same bytes each time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from components.training.training_metrics import StepMetrics, read_metrics

_TRAIN, _VALIDATION, _BASELINE, _RATE, _INK = "#2a6fbb", "#d1495b", "#5f6b3a", "#9a9a9a", "#333333"
_SIZE_INCHES = (9.6, 6.4)
_DOTS_PER_INCH = 150
_REACH_SHARE = 0.01
"""The training loss is averaged over this share of the run to either side."""


@dataclass(frozen=True)
class BaselineLevel:
    """A model without tokens, put on the axis of nats per token."""

    name: str
    bits_per_byte: float
    bytes_per_token: float
    """Of the validation text."""

    @property
    def nats_per_token(self) -> float:
        """The loss of a network that codes the text equally well."""
        return self.bits_per_byte * math.log(2) * self.bytes_per_token


def draw_loss_curve(metrics: Path, picture: Path, baseline: BaselineLevel | None = None) -> None:
    """Draw `metrics.jsonl` to the PNG `picture`; CorruptArtifactError if the metrics cannot be read."""
    steps = read_metrics(metrics)
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    losses, norms = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _draw_learning_rate(losses.twinx(), steps)
    _draw_losses(losses, steps)
    if baseline is not None:
        _draw_baseline(losses, steps, baseline)
    _dress(losses, steps)
    _draw_gradient_norm(norms, steps)
    figure.savefig(picture, format="png", metadata={"Software": None})


def smooth(values: Sequence[float], reach: int) -> list[float]:
    """The mean of each value and its neighbours, as many before as after and at most `reach`.

    So a fall is not delayed, as a running average would. Only at the end, neighbours after are fewer.
    """
    sums = list(accumulate(values, initial=0.0))
    averages: list[float] = []
    for place in range(len(values)):
        near = min(reach, place)
        end = min(place + near + 1, len(values))
        averages.append((sums[end] - sums[place - near]) / (end - place + near))
    return averages


def _draw_losses(axes: Any, steps: Sequence[StepMetrics]) -> None:
    numbers, losses = [step.step for step in steps], [step.loss for step in steps]
    smoothed = smooth(losses, round(_REACH_SHARE * len(losses)))
    axes.plot(numbers, losses, color=_TRAIN, alpha=0.25, linewidth=0.8)
    label = f"training, smoothed: {smoothed[-1]:.3f} at the end"
    axes.plot(numbers, smoothed, color=_TRAIN, linewidth=1.8, label=label)
    validated = [(step.step, step.validation_loss) for step in steps if step.validation_loss is not None]
    if validated:
        best_step, best = min(validated, key=lambda point: point[1])
        label = f"validation: best {best:.3f} at step {best_step:,}"
        axes.plot(*zip(*validated, strict=True), color=_VALIDATION, linewidth=1.6, marker="o", ms=4, label=label)
        axes.plot([best_step], [best], color=_VALIDATION, marker="o", ms=9, fillstyle="none", clip_on=False)
    _draw_sources(axes, [step for step in steps if step.source_losses])


def _draw_sources(axes: Any, validated: Sequence[StepMetrics]) -> None:
    """A faint line for each source; with one source alone it would be the validation's own."""
    if not validated or len(validated[-1].source_losses) < 2:
        return
    last = validated[-1].source_losses
    numbers = [step.step for step in validated]
    for name in last:
        losses = [step.source_losses.get(name, math.nan) for step in validated]
        axes.plot(numbers, losses, color=_VALIDATION, alpha=0.3, linewidth=0.7, zorder=1.5)
    low, high = min(last, key=lambda name: last[name]), max(last, key=lambda name: last[name])
    label = f"validation of {len(last)} sources: {low} {last[low]:.3f} to {high} {last[high]:.3f} at the end"
    axes.plot([], [], color=_VALIDATION, alpha=0.5, linewidth=0.7, label=label)


def _draw_baseline(axes: Any, steps: Sequence[StepMetrics], baseline: BaselineLevel) -> None:
    level = baseline.nats_per_token
    label = f"{baseline.name}: {level:.3f} ({baseline.bits_per_byte:.3f} bits per byte)"
    axes.axhline(level, color=_BASELINE, linewidth=1.2, linestyle=(0, (5, 3)), label=label)


def _draw_learning_rate(axes: Any, steps: Sequence[StepMetrics]) -> None:
    rates = [step.learning_rate for step in steps]
    axes.fill_between([step.step for step in steps], rates, color=_RATE, alpha=0.13, linewidth=0)
    # A third of the height: it stays below the losses and is still read.
    axes.set_ylim(0, 3 * max(rates) or 1.0)
    axes.set_yticks([max(rates)], [f"peak learning\nrate {max(rates):g}"], color=_RATE)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_gradient_norm(axes: Any, steps: Sequence[StepMetrics]) -> None:
    """Below, by powers of ten: what foretells a loss that diverges."""
    norms = [step.gradient_norm for step in steps]
    axes.plot([step.step for step in steps], norms, color=_INK, alpha=0.7, linewidth=0.8)
    if min(norms) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("gradient\nnorm", color=_INK)
    axes.set_xlabel("optimizer step", color=_INK)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _dress(axes: Any, steps: Sequence[StepMetrics]) -> None:
    last = steps[-1]
    axes.set_title(f"Loss over {last.step:,} steps and {last.tokens:,} tokens", loc="left", color=_INK, fontsize=13)
    axes.set_ylabel("nats per token", color=_INK)
    axes.set_xlim(0, last.step * 1.005)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_zorder(1)
    axes.patch.set_visible(False)
    axes.legend(frameon=False, loc="upper right", labelcolor=_INK)
