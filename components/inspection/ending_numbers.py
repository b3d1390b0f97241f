"""What the files of one ending look like in numbers, and which of them each filter would drop.

The columns are those of StarCoder's inspection sheet (bigcode-dataset, `visual_inspection.csv`): files with few letters
and digits, with long lines, that begin as XML, that hold data. Their shares come from a sample; here are whole ranges.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.corpus.encoded_data import find_encoded_data
from components.corpus.quality_limits import FileLimits
from components.corpus.quality_presets import PRESETS
from components.corpus.quality_rules import RULES, XML_DECLARATION, Asked, QualityRules
from components.tables import text_buffers

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

XML_WINDOW_BYTES = 100
"""StarCoder looked for the declaration in the first 100 characters; before it there is hardly more than ASCII."""

_ENCODED_DATA = PRESETS["starcoder2"]["encoded_data"]
_BY_VERDICT_ON_LANGUAGE = ("notebook", "language", "extension_excluded")


@dataclass(frozen=True, slots=True)
class Drop:
    """One rule that a file fails."""

    rule: str
    value: str
    threshold: str
    detail: str


@dataclass(frozen=True, slots=True)
class FileNumbers:
    """One file, measured."""

    size_bytes: int
    num_lines: int
    max_line_chars: int
    mean_line_chars: float
    alphanumeric_fraction: float
    alphabetic_fraction: float
    num_bidi_controls: int
    num_nul: int
    begins_as_xml: bool
    is_data: bool
    """It holds so much encoded data that StarCoder2 would drop it, whatever the parameters say."""
    drops: tuple[Drop, ...]
    """Every rule on contents that it fails, not only the first."""


@dataclass(frozen=True)
class Range:
    """How one number is spread over the files of an ending."""

    name: str
    quantiles: tuple[float, ...]
    """At QUANTILES."""
    limit: float | None
    """What the filters allow of it, None if anything."""
    beyond: int
    """Files that the limit does not allow."""
    is_fraction: bool
    """Of all characters; the limit is the least that is allowed, of other numbers the most."""


@dataclass(frozen=True)
class RuleCount:
    """How many files of the sample fail a rule, whatever else they fail."""

    rule: str
    files: int


def measure_files(batch: pa.RecordBatch, rules: QualityRules) -> list[FileNumbers]:
    """The numbers of each row of CODE_FILES under these rules; what inspections exclude is measured as all else."""
    asked = Asked(batch, rules)
    measures, (data, offsets) = asked.measures, text_buffers(batch)
    encoded = find_encoded_data(batch, np.arange(batch.num_rows))
    share = encoded.matched_chars / np.maximum(measures.num_chars, 1)
    is_data = (encoded.max_match_chars > _ENCODED_DATA["max_match_chars"]) | (share > _ENCODED_DATA["max_fraction"])
    drops = _drops(asked)
    declaration = XML_DECLARATION.encode()
    sizes = batch.column("size_bytes").to_pylist()
    return [
        FileNumbers(
            size_bytes=sizes[row],
            num_lines=int(measures.num_lines[row]),
            max_line_chars=int(measures.max_line_chars[row]),
            mean_line_chars=float(measures.mean_line_chars[row]),
            alphanumeric_fraction=float(measures.alphanumeric_fraction[row]),
            alphabetic_fraction=float(measures.alphabetic_fraction[row]),
            num_bidi_controls=int(measures.num_bidi_controls[row]),
            num_nul=int(measures.num_nul[row]),
            begins_as_xml=declaration in data[offsets[row] : offsets[row + 1]][:XML_WINDOW_BYTES].tobytes(),
            is_data=bool(is_data[row]),
            drops=tuple(drops[row]),
        )
        for row in range(batch.num_rows)
    ]


def ranges_of(files: Sequence[FileNumbers], limits: FileLimits) -> tuple[Range, ...]:
    """How the numbers of at least one file are spread, beside what is allowed."""
    has_digits = np.isfinite(limits.min_letters_and_digits_fraction)
    alphanumeric = np.fmax(limits.min_alphanumeric_fraction, limits.min_letters_and_digits_fraction)
    least_letters = np.nan if has_digits else limits.min_alphabetic_fraction
    table = (
        ("longest line", [file.max_line_chars for file in files], limits.max_line_chars, False),
        ("mean line", [file.mean_line_chars for file in files], limits.max_mean_line_chars, False),
        ("lines", [file.num_lines for file in files], limits.max_lines, False),
        ("bytes", [file.size_bytes for file in files], np.nan, False),
        ("letters, digits", [file.alphanumeric_fraction for file in files], alphanumeric, True),
        ("letters", [file.alphabetic_fraction for file in files], least_letters, True),
    )
    return tuple(_range(name, np.array(values, np.float64), limit, least) for name, values, limit, least in table)


def rule_counts(files: Sequence[FileNumbers]) -> tuple[RuleCount, ...]:
    """Every rule that some of the files fail, the most frequent first."""
    counts = Counter(rule for file in files for rule in {drop.rule for drop in file.drops})
    return tuple(
        RuleCount(rule, number) for rule, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _drops(asked: Asked) -> list[list[Drop]]:
    drops: list[list[Drop]] = [[] for _ in range(asked.batch.num_rows)]
    for name, rule in RULES:
        if name in _BY_VERDICT_ON_LANGUAGE:
            continue
        failed = rule(asked)
        details = failed.details or [""] * len(failed.rows)
        for row, *reason in zip(failed.rows.tolist(), failed.values, failed.thresholds, details, strict=True):
            drops[row].append(Drop(name, *reason))
    return drops


def _range(name: str, values: NDArray[np.float64], limit: float, is_fraction: bool) -> Range:
    beyond = values < limit if is_fraction else values > limit
    return Range(
        name=name,
        quantiles=tuple(round(float(value), 4) for value in np.quantile(values, QUANTILES)),
        limit=float(limit) if np.isfinite(limit) else None,
        beyond=int(np.count_nonzero(beyond)),
        is_fraction=is_fraction,
    )
