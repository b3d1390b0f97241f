"""The step that keeps what reads like source code: wrapped lines, letters, a language that was asked for.

The rules of StarCoder's preprocessing (arXiv 2305.06161, section 3.2). They are asked in the order of `RULES`, and
the first that fails is the reason; the rules are a table of columns, so that a later one is one more row.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from components.corpus.config import FilterQualityConfig
from components.corpus.measure_text import measure_text
from components.errors import EmptyArtifactError, ParamsError
from components.section import Summary
from components.sources.languages import LANGUAGES
from components.tables import FilesCounts, FilesWriter, dropped_rows, track_files

XML_DECLARATION = "<?xml version="

# The functions of this module are made when it is loaded, unseen by a type checker.
_compute: Any = pyarrow.compute


class FilterQualitySummary(Summary):
    """What was kept."""

    files: FilesCounts
    bytes_by_language: dict[str, int]
    """UTF-8 bytes of the kept files per language, in alphabetical order."""


@dataclass(frozen=True)
class _Rule:
    """One rule asked of all rows of a batch."""

    name: str
    fails: NDArray[np.bool_]
    value: Callable[[int], str]
    """What was observed in a row."""
    threshold: str


def run(config: FilterQualityConfig, *, raw_files: Path, out: Path) -> FilterQualitySummary:
    """Write the files that pass every rule, and the others with their first failing rule, in the input's order.

    Raises ParamsError for a language that `languages.py` does not know, EmptyArtifactError if no file passes.
    """
    _require_known_languages(config)
    bytes_by_language: Counter[str] = Counter()
    with FilesWriter(out) as writer:
        for batch in track_files(raw_files):
            kept, dropped = filter_batch(batch, config)
            writer.keep(kept)
            writer.drop(dropped)
            for language, size_bytes in zip(
                kept.column("language").to_pylist(), kept.column("size_bytes").to_pylist(), strict=True
            ):
                bytes_by_language[language] += size_bytes
        counts = writer.counts
        if counts.kept_files == 0:
            raise EmptyArtifactError(
                f"no file passed filter_quality (dropped: {counts.rules_told()}); loosen its limits or add languages"
            )
    return FilterQualitySummary(files=counts, bytes_by_language=dict(sorted(bytes_by_language.items())))


def filter_batch(batch: pa.RecordBatch, config: FilterQualityConfig) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The rows of CODE_FILES that pass, and the entries of DROPPED_FILES for the others; each in the batch's order."""
    rules = _rules(batch, config)
    fails = np.stack([rule.fails for rule in rules])
    failed = np.flatnonzero(fails.any(axis=0)).tolist()
    reasons = [rules[index] for index in fails.argmax(axis=0)[failed].tolist()]
    dropped = dropped_rows(
        batch,
        failed,
        rules=[rule.name for rule in reasons],
        values=[rule.value(row) for rule, row in zip(reasons, failed, strict=True)],
        thresholds=[rule.threshold for rule in reasons],
    )
    return batch.filter(pa.array(~fails.any(axis=0))), dropped


def _rules(batch: pa.RecordBatch, config: FilterQualityConfig) -> tuple[_Rule, ...]:
    """The rules in the order in which they are asked."""
    measures = measure_text(batch)
    languages = batch.column("language")
    wrapped = ~_is_in(languages, config.long_lines_allowed)
    beginning = _compute.utf8_slice_codeunits(batch.column("content"), 0, config.xml_declaration_window_chars)
    return (
        _Rule(
            "max_line_length",
            wrapped & (measures.max_line_chars > config.max_line_length_chars),
            lambda row: str(measures.max_line_chars[row]),
            str(config.max_line_length_chars),
        ),
        _Rule(
            "mean_line_length",
            wrapped & (measures.mean_line_chars > config.max_mean_line_length_chars),
            lambda row: f"{measures.mean_line_chars[row]:.4f}",
            str(config.max_mean_line_length_chars),
        ),
        _Rule(
            "alphanumeric_fraction",
            measures.alphanumeric_fraction < config.min_alphanumeric_fraction,
            lambda row: f"{measures.alphanumeric_fraction[row]:.4f}",
            str(config.min_alphanumeric_fraction),
        ),
        _Rule(
            "xml_declaration",
            _compute.match_substring(beginning, XML_DECLARATION).to_numpy(zero_copy_only=False),
            lambda _: XML_DECLARATION,
            f"not in the first {config.xml_declaration_window_chars} characters",
        ),
        _Rule(
            "language",
            ~_is_in(languages, config.languages),
            lambda row: languages[row].as_py() or "unknown",
            "one of filter_quality.languages",
        ),
    )


def _is_in(column: pa.Array, names: tuple[str, ...]) -> NDArray[np.bool_]:
    return _compute.is_in(column, value_set=pa.array(names, pa.string())).to_numpy(zero_copy_only=False)


def _require_known_languages(config: FilterQualityConfig) -> None:
    known = {language.name for language in LANGUAGES}
    for section, names in (("languages", config.languages), ("long_lines_allowed", config.long_lines_allowed)):
        for name in names:
            if name not in known:
                raise ParamsError(
                    f"filter_quality.{section} names {name!r}, which components/sources/languages.py does not know; "
                    f"write one of {', '.join(sorted(known))}"
                )
