"""The plan as one HTML file that opens from disk: memory, time, layouts, and the pipeline as a picture.

Nothing is loaded and no script runs; the page forbids both.
"""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from components.planning.hardware import Hardware
from components.planning.layout_plan import MFU_FORMULA, LayoutPlan
from components.planning.memory import MEMORY_PARTS
from components.planning.plan_facts import amount, assumptions, durations, run_rows
from components.planning.search_layouts import PoolPlan
from components.planning.step_time import TIME_PARTS

if TYPE_CHECKING:
    from model.pipeline_schedule import Work  # DeepSpeed costs seconds

SHOWN_LAYOUTS = 20
SHOWN_MICRO_BATCHES = 32
"""How many the picture of the pipeline has at most."""

_COLOURS = ("#2f5d8c", "#4a7fb5", "#8ab4d8", "#c9742b", "#e0a458", "#7a9e5f", "#b8b8b8", "#dcdcdc")
_WORK_COLOURS = {"forward": "#4a7fb5", "backward": "#c9742b", "activation": "#2f5d8c", "gradient": "#8c4a14"}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: .2rem } .lead { color: #666; margin-top: 0 }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0 }
.tile { background: #f4f6f8; border-radius: .4rem; padding: .7rem 1.1rem; min-width: 8rem }
.tile b { display: block; font-size: 1.4rem }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.6rem }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: middle }
th { border-bottom: 2px solid #ccc; font-weight: 600 } td { border-bottom: 1px solid #eee }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
td:first-child { white-space: nowrap } .bars td:first-child { width: 5rem } td.bar { width: auto }
.bars td.n { width: 6rem }
.stack { display: flex; height: 1.1rem; position: relative; background: #fafafa }
.stack div { height: 100% }
.stack .limit { position: absolute; border-left: 2px solid #b00020; width: 0 }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; color: #444; margin: .4rem 0 }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; border-radius: .15rem }
.no { color: #b00020 } .why { color: #666 } tr.asked td { font-weight: 600 }
svg { width: 100%; height: auto; background: #fafafa }
"""


def plan_page(plan: PoolPlan, hardware: Hardware, works: Sequence["Work"], drawn_micro_batches: int) -> str:
    """The page; `works` is the timeline of the asked layout with `drawn_micro_batches` of its micro-batches."""
    asked = plan.asked
    title = f"{asked.name} on {hardware.pool}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"<title>{escape(title)}</title>\n</head>\n<body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{asked.parameters:,} parameters, {asked.layout.world_size:,} x {escape(hardware.device)}, '
        f"{asked.config.num_steps:,} steps of {asked.config.global_batch_size:,} samples.</p>",
        _verdict(plan),
        _tiles(asked),
        f"<h2>Memory of one device, by stage</h2>{_memory_chart(asked, hardware)}",
        f"<h2>One step, by part</h2>{_time_chart(asked)}",
        f"<h2>The pipeline</h2>{_pipeline(asked, works, drawn_micro_batches)}",
        f"<h2>Layouts of the pool at this batch</h2>{_layout_table(plan)}",
        f"<h2>The whole run</h2>{_run_table(asked)}",
        "<h2>What this stands on</h2><ul>",
        *[f"<li>{escape(line)}</li>" for line in (f"MFU is {MFU_FORMULA}.", *assumptions(hardware))],
        "</ul>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _verdict(plan: PoolPlan) -> str:
    if not plan.asked.refusals:
        return ""
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in plan.asked.refusals)
    mend = f"<p>The nearest layout that fits: {escape(plan.nearest.name)}.</p>" if plan.nearest else ""
    return f'<div class="no"><p>This layout cannot be had:</p><ul>{lines}</ul></div>{mend}'


def _tiles(asked: LayoutPlan) -> str:
    fast, slow = asked.fast, asked.slow
    tiles = (
        (f"{fast.step.total:.2f} to {slow.step.total:.2f} s", "a step"),
        (f"{slow.tokens_per_second / 1e3:,.0f} to {fast.tokens_per_second / 1e3:,.0f} k", "tokens a second"),
        (f"{slow.mfu:.1%} to {fast.mfu:.1%}", "MFU, causal"),
        (durations(fast.days, slow.days), "wall time"),
        (f"{amount(fast.cost.device_hours)} to {amount(slow.cost.device_hours)}", "device-hours"),
        (f"{asked.largest_memory_bytes / 1e9:.1f} GB", "on the fullest device"),
    )
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>' for value, name in tiles)
        + "</div>"
    )


def _legend(names: Sequence[str], colours: Sequence[str]) -> str:
    items = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name.replace("_", " "))}</span>'
        for name, colour in zip(names, colours, strict=False)
    )
    return f'<div class="legend">{items}</div>'


def _stack(values: Sequence[float], whole: float, limit: float | None = None) -> str:
    pieces = "".join(
        f'<div style="width:{100 * value / whole:.3f}%;background:{colour}"></div>'
        for value, colour in zip(values, _COLOURS, strict=False)
    )
    mark = f'<div class="limit" style="left:{100 * limit / whole:.3f}%"></div>' if limit is not None else ""
    return f'<td class="bar"><div class="stack">{pieces}{mark}</div></td>'


def _memory_chart(asked: LayoutPlan, hardware: Hardware) -> str:
    there = hardware.kind.memory_bytes
    whole = max(asked.largest_memory_bytes, there)
    rows = [
        f"<tr><td>stage {number}</td>{_stack([getattr(stage, part) for part in MEMORY_PARTS], whole, there)}"
        f'<td class="n">{stage.total / 1e9:.1f} GB</td></tr>'
        for number, stage in enumerate(asked.memory)
    ]
    legend = _legend((*MEMORY_PARTS, f"the device's {there / 1e9:.1f} GB"), (*_COLOURS, "#b00020"))
    return legend + '<table class="bars">' + "\n".join(rows) + "</table>"


def _time_chart(asked: LayoutPlan) -> str:
    ends = (("fast", asked.fast.step), ("slow", asked.slow.step))
    rows = [
        f"<tr><td>{name}</td>{_stack([getattr(step, part) for part in TIME_PARTS], asked.slow.step.total)}"
        f'<td class="n">{step.total:.2f} s</td></tr>'
        for name, step in ends
    ]
    return _legend(TIME_PARTS, _COLOURS) + '<table class="bars">' + "\n".join(rows) + "</table>"


def _pipeline(asked: LayoutPlan, works: Sequence["Work"], drawn: int) -> str:
    if asked.layout.pipeline == 1:
        return "<p>One stage: each micro-batch goes forward and back, and nothing waits.</p>"
    all_of = asked.config.accumulation_steps
    which = f"all {all_of}" if drawn == all_of else f"the first {drawn} of {all_of}"
    return (
        f"<p>DeepSpeed's own 1F1B schedule with {which} micro-batches; of the whole step's pipeline "
        f"{asked.fast.step.bubble_fraction:.1%} is bubble.</p>"
        + _legend(tuple(_WORK_COLOURS), tuple(_WORK_COLOURS.values()))
        + _schedule_picture(works)
    )


def _schedule_picture(works: Sequence["Work"]) -> str:
    width, row, head = 1200.0, 34.0, 64.0
    stages = 1 + max(work.stage for work in works)
    scale = (width - head) / max(work.end for work in works)
    shapes = [f'<text x="4" y="{stage * row + 21:.0f}" font-size="13">stage {stage}</text>' for stage in range(stages)]
    for work in works:
        left, wide, top = head + work.start * scale, (work.end - work.start) * scale, work.stage * row + 4
        if wide <= 0:
            continue
        shapes.append(
            f'<rect x="{left:.2f}" y="{top:.0f}" width="{max(wide - 0.4, 0.3):.2f}" height="{row - 8:.0f}" '
            f'fill="{_WORK_COLOURS[work.kind]}"><title>{work.kind} of micro-batch {work.micro_batch}, '
            f"{work.start:.3f} to {work.end:.3f} s</title></rect>"
        )
        if wide > 14:
            shapes.append(
                f'<text x="{left + wide / 2:.2f}" y="{top + 17:.0f}" font-size="11" fill="#fff" '
                f'text-anchor="middle">{work.micro_batch}</text>'
            )
    return f'<svg viewBox="0 0 {width:.0f} {stages * row:.0f}" role="img">{"".join(shapes)}</svg>'


def _layout_table(plan: PoolPlan) -> str:
    heads = ("step", "tokens/s", "MFU", "memory", "wall time", "bubble")
    rows = ["<tr><th>layout</th>" + "".join(f'<th class="n">{head}</th>' for head in heads) + "</tr>"]
    shown = list(plan.fitting[:SHOWN_LAYOUTS])
    if not any(one.config == plan.asked.config for one in shown):
        shown.append(plan.asked)
    for one in shown:
        cells = (
            f"{one.fast.step.total:.2f} to {one.slow.step.total:.2f} s",
            f"{one.slow.tokens_per_second / 1e3:,.0f} to {one.fast.tokens_per_second / 1e3:,.0f} k",
            f"{one.slow.mfu:.1%} to {one.fast.mfu:.1%}",
            f"{one.largest_memory_bytes / 1e9:.1f} GB",
            durations(one.fast.days, one.slow.days),
            f"{one.fast.step.bubble_fraction:.1%}",
        )
        mark = ' class="asked"' if one.config == plan.asked.config else ""
        name = f"{one.name} (asked)" if mark else one.name
        rows.append(
            f"<tr{mark}><td>{escape(name)}</td>" + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"
        )
    told = ", ".join(f"{count:,} for {reason}" for reason, count in plan.refused.items()) or "none"
    return (
        "<table>"
        + "\n".join(rows)
        + f'</table><p class="why">{len(plan.fitting):,} layouts fit; refused: {escape(told)}.</p>'
    )


def _run_table(asked: LayoutPlan) -> str:
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{escape(value)}</td></tr>' for name, value in run_rows(asked)
    )
    return f"<table>{rows}</table>"
