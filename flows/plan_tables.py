"""A plan at the terminal: pure functions from a plan to rich tables."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from components.planning.hardware import Hardware
from components.planning.layout_plan import MFU_FORMULA, LayoutPlan
from components.planning.memory import MEMORY_PARTS
from components.planning.plan_facts import assumptions, run_rows
from components.planning.search_layouts import PoolPlan
from components.planning.step_time import TIME_PARTS
from flows.summary import together

_SHOWN_LAYOUTS = 10
_MOST_STAGES = 6
_WORTH_TELLING = 0.05
"""Share of a step that another layout must save to be named; less is within what the plan can tell."""


def plan_tables(plan: PoolPlan, hardware: Hardware) -> RenderableType:
    """Everything, the verdict last."""
    return together(
        _memory_table(plan.asked, hardware),
        _time_table(plan.asked),
        _run_table(plan.asked),
        _layouts_table(plan),
        _assumptions(hardware),
        _verdict(plan, hardware),
    )


def _memory_table(asked: LayoutPlan, hardware: Hardware) -> Table:
    title = f"Memory of one device ({hardware.device}), GB of {hardware.kind.memory_bytes / 1e9:.1f}"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("part")
    shown = _shown_stages(asked)
    for number in shown:
        table.add_column(f"stage {number}", justify="right")
    for part in MEMORY_PARTS:
        table.add_row(part, *[f"{getattr(asked.memory[number], part) / 1e9:.2f}" for number in shown])
    totals = [asked.memory[number].total for number in shown]
    styles = ["bold" if total <= hardware.kind.memory_bytes else "red" for total in totals]
    cells = [Text(f"{total / 1e9:.2f}", style=style) for total, style in zip(totals, styles, strict=True)]
    table.add_row("total", *cells)
    return table


def _shown_stages(asked: LayoutPlan) -> list[int]:
    """All of a short pipeline; of a long one the first, the fullest and the last."""
    numbers = range(len(asked.memory))
    if len(numbers) <= _MOST_STAGES:
        return list(numbers)
    fullest = max(numbers, key=lambda number: asked.memory[number].total)
    return sorted({0, fullest, numbers[-1]})


def _time_table(asked: LayoutPlan) -> Table:
    title = f"One step of {asked.config.global_batch_size:,} samples, seconds"
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("part", "fast", "slow"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    fast, slow = asked.fast.step, asked.slow.step
    for part in TIME_PARTS:
        table.add_row(part.replace("_", " "), f"{getattr(fast, part):.3f}", f"{getattr(slow, part):.3f}")
    table.add_row("step", f"{fast.total:.3f}", f"{slow.total:.3f}", style="bold")
    return table


def _run_table(asked: LayoutPlan) -> Table:
    title = f"The whole run, {asked.config.num_steps:,} steps"
    table = Table(title=title, title_justify="left", show_header=False)
    fast, slow = asked.fast, asked.slow
    table.add_row("parameters", f"{asked.parameters:,}")
    table.add_row("tokens/s", f"{slow.tokens_per_second:,.0f} to {fast.tokens_per_second:,.0f}")
    table.add_row("MFU, causal", f"{slow.mfu:.1%} to {fast.mfu:.1%}")
    for name, value in run_rows(asked):
        table.add_row(name, value)
    return table


def _layouts_table(plan: PoolPlan) -> Table:
    title = f"Fastest of {len(plan.fitting):,} layouts that fit, at the same batch; what was asked is bold"
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("layout", "seconds a step", "MFU", "GB"):
        table.add_column(heading, justify="left" if heading == "layout" else "right", no_wrap=True)
    for one in plan.fitting[:_SHOWN_LAYOUTS]:
        table.add_row(
            Text(one.name, style="bold" if one.config == plan.asked.config else ""),
            f"{one.fast.step.total:.2f} to {one.slow.step.total:.2f}",
            f"{one.slow.mfu:.1%} to {one.fast.mfu:.1%}",
            f"{one.largest_memory_bytes / 1e9:.1f}",
        )
    return table


def _assumptions(hardware: Hardware) -> Text:
    return Text("\n".join((f"MFU is {MFU_FORMULA}.", *assumptions(hardware))), style="dim")


def _verdict(plan: PoolPlan, hardware: Hardware) -> Text:
    asked, best = plan.asked, plan.best
    if asked.refusals:
        lines = [f"{asked.name} cannot be had on {hardware.pool}: {'; '.join(asked.refusals)}"]
        lines.append(f"nearest that fits: {plan.nearest.name}" if plan.nearest else "no layout of the pool fits")
        return Text("\n".join(lines), style="red")
    line = f"{asked.name} fits {hardware.pool}"
    gain = 1 - best.step_seconds / asked.step_seconds if best else 0.0
    if best is not None and gain >= _WORTH_TELLING:
        line += f"; fastest is {best.name}, {gain:.0%} less time a step"
    return Text(line, style="green")
