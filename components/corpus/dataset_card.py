"""The dataset card: the facts of a corpus as Markdown for the hub and as one HTML page with charts.

Names in it come from hostile files: they are escaped, and the page forbids its reader's browser to run or fetch.
"""

import json
from collections.abc import Mapping
from html import escape

from components.corpus.corpus_facts import CorpusFacts, FunnelRow, Shares

TOP = 25
"""Names that a chart or table spells out; the rest is one line."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: .2rem } .lead { color: #666; margin-top: 0 }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0 }
.tile { background: #f4f6f8; border-radius: .4rem; padding: .7rem 1.1rem; min-width: 8rem }
.tile b { display: block; font-size: 1.5rem }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.6rem }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; overflow-wrap: anywhere }
th { border-bottom: 2px solid #ccc; font-weight: 600 } td { border-bottom: 1px solid #eee }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
td:first-child { white-space: nowrap }
td.bar { width: 30% }
td.bar div { background: #4a7fb5; height: .9rem; border-radius: .15rem; min-width: 1px }
.why { color: #666 }
"""


def card_markdown(facts: CorpusFacts) -> str:
    """The card as the hub shows it: front matter, then the same facts as the page."""
    kept, funnel = facts.funnel[-1], [_funnel_cells(row) for row in facts.funnel]
    front = {
        "pretty_name": facts.title,
        "task_categories": ["text-generation"],
        "language": ["code"],
        "tags": sorted(facts.by_kind.files),
    }
    parts = [
        "---\n" + "".join(f"{name}: {json.dumps(value)}\n" for name, value in front.items()) + "---",
        f"# {facts.title}",
        facts.description,
        f"{kept.kept_files:,} documents, {_size(kept.kept_bytes)} of text, {facts.repositories:,} repositories.",
        "## What each step kept and dropped",
        _markdown_table(("artifact", "documents", "text", "dropped", "why"), funnel),
    ]
    for heading, shares in _sections(facts):
        rows = [(name, f"{files:,}", _size(size)) for name, files, size in _top(shares)]
        parts += [f"## {heading}", _markdown_table((heading.split()[-1], "documents", "text"), rows)]
    parts += ["## Tokens", _markdown_table(("split", "tokens"), _counts(facts.tokens_by_split))]
    parts += ["## Redactions", _markdown_table(("entity", "spans"), _counts(facts.redactions_by_entity))]
    parts += ["## Deduplication", _deduplication(facts)]
    return "\n\n".join(parts) + "\n"


def card_page(facts: CorpusFacts) -> str:
    """The card as one HTML file that opens from disk."""
    kept = facts.funnel[-1]
    tiles = (
        (f"{kept.kept_files:,}", "documents"),
        (_size(kept.kept_bytes), "of text"),
        (f"{sum(facts.tokens_by_split.values()):,}", "tokens"),
        (f"{facts.repositories:,}", "repositories"),
        (f"{sum(facts.redactions_by_entity.values()):,}", "redacted spans"),
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"<title>{escape(facts.title)}</title>\n</head>\n<body>",
        f'<h1>{escape(facts.title)}</h1>\n<p class="lead">{escape(facts.description)}</p>',
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>' for value, name in tiles)
        + "</div>",
        "<h2>What each step kept and dropped</h2>",
        _funnel_chart(facts.funnel),
    ]
    for heading, shares in _sections(facts):
        parts += [f"<h2>{escape(heading)}</h2>", _share_chart(shares)]
    parts += ["<h2>Tokens</h2>", _count_chart(facts.tokens_by_split)]
    parts += ["<h2>Redactions</h2>", _count_chart(facts.redactions_by_entity)]
    parts += ["<h2>Deduplication</h2>", f"<p>{escape(_deduplication(facts))}</p>", "</body>\n</html>\n"]
    return "\n".join(parts)


def _sections(facts: CorpusFacts) -> tuple[tuple[str, Shares], ...]:
    return (
        ("By kind", facts.by_kind),
        ("By language", facts.by_language),
        ("By license", facts.by_license),
        ("By source", facts.by_source),
        ("By split", facts.by_split),
    )


def _deduplication(facts: CorpusFacts) -> str:
    if facts.least_jaccard is None:
        return "No document was dropped as a near-duplicate."
    return (
        f"{facts.near_duplicates:,} documents were dropped as near-duplicates, each for one that is kept; the least "
        f"Jaccard similarity between a dropped document and the kept one is {facts.least_jaccard:.4f}."
    )


def _funnel_cells(row: FunnelRow) -> tuple[str, ...]:
    why = ", ".join(f"{rule} {count:,}" for rule, count in row.dropped_by_rule.items())
    return row.artifact, f"{row.kept_files:,}", _size(row.kept_bytes), f"{row.dropped_files:,}", why


def _top(shares: Shares) -> list[tuple[str, int, int]]:
    rows = [(name, shares.files[name], size) for name, size in shares.bytes.items()]
    rest = rows[TOP:]
    if not rest:
        return rows
    other = (f"{len(rest)} others", sum(files for _, files, _ in rest), sum(size for *_, size in rest))
    return [*rows[:TOP], other]


def _counts(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{count:,}") for name, count in counts.items()] or [("none", "0")]


def _markdown_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(_markdown_text(cell) for cell in line)} |" for line in lines)


def _markdown_text(text: str) -> str:
    """On one line, with nothing that ends a cell or begins a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _size(num_bytes: int) -> str:
    """In the largest unit of which there is at least one."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:,.1f} {unit}"
    return f"{num_bytes} B"


def _bar(share: float) -> str:
    return f'<td class="bar"><div style="width:{100 * share:.2f}%"></div></td>'


def _chart(headings: str, rows: list[str]) -> str:
    return f"<table>\n<tr>{headings}</tr>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>"


def _funnel_chart(funnel: tuple[FunnelRow, ...]) -> str:
    largest = max(row.kept_bytes for row in funnel) or 1
    rows: list[str] = []
    for row in funnel:
        artifact, files, size, dropped, why = (escape(cell) for cell in _funnel_cells(row))
        numbers = f'<td class="n">{files}</td><td class="n">{size}</td>'
        reasons = f'<td class="n">{dropped}</td><td class="why">{why}</td>'
        rows.append(f"<td>{artifact}</td>{_bar(row.kept_bytes / largest)}{numbers}{reasons}")
    headings = '<th>artifact</th><th></th><th class="n">documents</th><th class="n">text</th><th class="n">dropped</th>'
    return _chart(headings + "<th>why</th>", rows)


def _share_chart(shares: Shares) -> str:
    largest = max(shares.bytes.values(), default=0) or 1
    rows: list[str] = []
    for name, files, size in _top(shares):
        numbers = f'<td class="n">{files:,}</td><td class="n">{_size(size)}</td>'
        rows.append(f"<td>{escape(name)}</td>{_bar(size / largest)}{numbers}")
    return _chart('<th></th><th></th><th class="n">documents</th><th class="n">text</th>', rows)


def _count_chart(counts: Mapping[str, int]) -> str:
    largest = max(counts.values(), default=0) or 1
    rows = [
        f'<td>{escape(name)}</td>{_bar(count / largest)}<td class="n">{count:,}</td>' for name, count in counts.items()
    ]
    return _chart('<th></th><th></th><th class="n">count</th>', rows)
