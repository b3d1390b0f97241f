"""Writes the page of an inspection: one HTML file with files, numbers and forms that needs nothing from elsewhere.

What comes from files is hostile. It stands in the page only as base64 or as JSON without `<`, the page's script puts
it in as text and never as markup, and the page's policy lets no other script run: neither one that a file brought in
nor one from elsewhere. The files of an ending are deflated and read when it is opened, so that three hundred endings
of fifty files open as fast as one.
"""

import base64
import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from string import Template
from typing import Any

from components.corpus.inspection_table import COLUMNS, Inspection, starcoder_inspections
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_limits import FileLimits, limits_of
from components.inspection.ending_numbers import Drop
from components.inspection.highlight_code import PLAIN, CodeText, Highlighter, Marked
from components.inspection.sample_files import EndingSample, Sample, ShownFile
from components.inspection.shown_text import printable
from components.inspection.verdict_table import LIMITS, cells_of
from components.store import storage_errors_told
from model.reporting import current_sink

_SCRIPTS = ("elements.js", "verdicts.js", "endings.js", "numbers.js", "files.js", "page.js")
_END = "</body>\n</html>\n"


@dataclass(frozen=True)
class PageFacts:
    """What the page tells beside the sample."""

    seed: int
    table: str
    """Name of the table of verdicts, as people know it."""
    reviewer: str
    """Who judges, unless the page is told otherwise; "" if not known."""
    standing: Sequence[Inspection]
    """Our own verdicts by now."""
    config: FilterQualityConfig


def write_page(path: Path, sample: Sample, facts: PageFacts, highlighter: Highlighter) -> None:
    """Write the page, whole or not at all; the same sample and facts give the same bytes.

    StorageError if the disk is full or may not be written.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    with storage_errors_told(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("w", encoding="utf-8", newline="\n") as page:
                page.write(_head(sample, facts))
                for number, payload in enumerate(_payloads(sample, highlighter)):
                    page.write(f'<script id="files-{number}" type="text/plain">{payload}</script>\n')
                page.write(_END)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def _head(sample: Sample, facts: PageFacts) -> str:
    """The page but for the files; its script comes before these, so that it answers while they are still read."""
    style = _part("page.css")
    script = f'(() => {{\n"use strict";\n{"".join(_part(name) for name in _SCRIPTS)}}})();\n'
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    index = _quoted(json.dumps(_index(sample, facts), allow_nan=False))
    return Template(_part("page.html")).substitute(policy=policy, style=style, script=script, index=index)


def _index(sample: Sample, facts: PageFacts) -> dict[str, Any]:
    standing = {row.key: cells_of(row) for row in facts.standing}
    starcoder = {row.key: row for row in starcoder_inspections()}
    starcoder_counts = facts.config.extension_rules == "starcoder"
    without_own = starcoder if starcoder_counts else {}
    endings = [
        {
            "language": ending.language,
            "extension": ending.extension,
            "is_taken": ending.is_taken,
            "reason": ending.reason,
            "files": ending.files,
            "bytes": ending.bytes,
            "is_estimate": ending.is_estimate,
            "measured": ending.measured,
            "shown": len(ending.shown),
            "dropped": ending.dropped,
            "xml": ending.xml,
            "data": ending.data,
            "rules": [asdict(rule) for rule in ending.rules],
            "ranges": [asdict(spread) for spread in ending.ranges],
            "limits": _limits_told(limits_of(*key, facts.config, without_own)),
            "own": standing.get(key),
            "starcoder": cells_of(starcoder[key]) if key in starcoder else None,
        }
        for ending in sample.endings
        for key in [(ending.language, ending.extension)]
    ]
    return {
        "sample": _digest_of_names(sample, facts.seed),
        "columns": COLUMNS,
        "seed": facts.seed,
        "table": facts.table,
        "reviewer": facts.reviewer,
        "starcoder_counts": starcoder_counts,
        "unknown_files": sample.unknown_files,
        "endings": endings,
    }


def _limits_told(limits: FileLimits) -> dict[str, str]:
    """What holds of each limit in a form if the form leaves it empty, in the words that the form takes."""
    letters = limits.min_letters_and_digits_fraction
    numbers = (
        limits.max_line_chars,
        limits.min_alphanumeric_fraction,
        limits.min_alphabetic_fraction if math.isnan(letters) else letters,
    )
    told = ["off" if math.isnan(number) else f"{number:.10g}" for number in numbers]
    return dict(zip(LIMITS, [*told, "off" if limits.xml_window_chars == 0 else ""], strict=True))


def _payloads(sample: Sample, highlighter: Highlighter) -> Iterator[str]:
    """The files of each ending, as base64 of deflated JSON; progress goes to the current sink."""
    sink, done = current_sink(), 0
    total = sum(len(ending.shown) for ending in sample.endings)
    marks = highlighter.mark_texts(_texts(sample.endings))
    for ending in sample.endings:
        files = [
            _file(file, marked) for file, marked in zip(ending.shown, islice(marks, len(ending.shown)), strict=True)
        ]
        yield base64.b64encode(zlib.compress(json.dumps(files).encode())).decode()
        done += len(files)
        sink.progress(done, total, "files highlighted")


def _texts(endings: Iterable[EndingSample]) -> Iterator[CodeText]:
    for ending in endings:
        for file in ending.shown:
            yield CodeText(ending.language, file.shown.text)


def _file(file: ShownFile, marked: Marked | None) -> dict[str, Any]:
    text, numbers = file.shown.text, file.numbers
    return {
        "repository": file.repository,
        "path": file.path,
        "license": file.license,
        "size_bytes": numbers.size_bytes,
        "num_lines": numbers.num_lines,
        "shown_lines": text.count("\n") + 1,
        "text": text,
        "marks": marked.runs if marked else f"{len(text.encode('utf-16-le')) // 2}{PLAIN}",
        "note": file.shown.note,
        "drops": [_drop(drop) for drop in numbers.drops],
        "oddities": list(_oddities(file, marked)),
    }


def _drop(drop: Drop) -> dict[str, str]:
    """The reason; what a rule observed may be the file's own words."""
    return {name: printable(text) for name, text in asdict(drop).items()}


def _oddities(file: ShownFile, marked: Marked | None) -> Iterator[str]:
    """What no rule drops and a reviewer should know."""
    numbers = file.numbers
    counts = (
        (numbers.num_bidi_controls, "character that turns the reading direction", "characters that turn it"),
        (numbers.num_nul, "NUL character", "NUL characters"),
        (
            marked.num_errors if marked and not file.shown.has_cut_lines else 0,
            "place that is not of this language",
            "places that are not of this language",
        ),
    )
    yield from (f"{number:,} {one if number == 1 else many}" for number, one, many in counts if number)
    if numbers.is_data:
        yield "encoded data"


def _digest_of_names(sample: Sample, seed: int) -> str:
    """Names the sample, so that a browser finds verdicts that it keeps for this page and no other."""
    names = [[e.language, e.extension, e.files, [file.path for file in e.shown]] for e in sample.endings]
    return hashlib.sha256(json.dumps([seed, names]).encode()).hexdigest()[:16]


def _quoted(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _part(name: str) -> str:
    return (resources.files("components.inspection") / "page" / name).read_text(encoding="utf-8")
