"""Which limits hold for each file: the numbers of the config, as its language and its ending change them.

Later ones go before earlier ones: the numbers for all files, those for the language, StarCoder's verdicts on endings,
our own reviewers'. An ending that no table names has the limits of its language: the reference code excluded what its
table lacked, and so lost every Dockerfile, which has no ending.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from components.corpus.inspection_table import Inspection
from components.corpus.quality_config import FilterQualityConfig

OFF = float("nan")
"""A limit that is not set: nothing is above or below it."""

Verdicts = Mapping[tuple[str, str], Inspection]
"""By language and ending."""

_compute: Any = pyarrow.compute


@dataclass(frozen=True)
class FileLimits:
    """The limits of one kind of file; OFF where there is none."""

    excluded_by: Inspection | None
    max_lines: float
    max_line_chars: float
    max_mean_line_chars: float
    min_alphanumeric_fraction: float
    min_alphabetic_fraction: float
    min_letters_and_digits_fraction: float
    """Where digits count as letters, instead of `min_alphabetic_fraction`."""
    xml_window_chars: int


@dataclass(frozen=True)
class BatchLimits:
    """The limits of each row of a batch: `kinds[kind_of_row[row]]`."""

    kinds: tuple[FileLimits, ...]
    kind_of_row: NDArray[np.int64]

    def column(self, name: str) -> NDArray[np.float64]:
        """One limit of each row."""
        return np.array([getattr(kind, name) for kind in self.kinds], np.float64)[self.kind_of_row]


def verdicts_of(tables: Sequence[Sequence[Inspection]]) -> Verdicts:
    """The tables' rows together; a later table goes before an earlier one, which fills the limits it leaves empty."""
    merged: dict[tuple[str, str], Inspection] = {}
    for table in tables:
        for row in table:
            merged[row.key] = row.over(merged.get(row.key))
    return merged


def limits_of_batch(batch: pa.RecordBatch, config: FilterQualityConfig, verdicts: Verdicts) -> BatchLimits:
    """The limits of each row, from its `language` and its `extension`."""
    languages = _compute.fill_null(batch.column("language"), "")
    keys = _compute.binary_join_element_wise(languages, batch.column("extension"), "\0")
    encoded = keys.dictionary_encode()
    pairs = (key.split("\0", 1) for key in encoded.dictionary.to_pylist())
    kinds = tuple(limits_of(language, extension, config, verdicts) for language, extension in pairs)
    return BatchLimits(kinds, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64))


def limits_of(language: str, extension: str, config: FilterQualityConfig, verdicts: Verdicts) -> FileLimits:
    """The limits of files of this language and ending."""
    row = verdicts.get((language, extension)) or Inspection(language, extension, "unsure")
    is_unwrapped = language in config.long_lines_allowed
    max_line = config.long_lines_max_chars if is_unwrapped else config.max_line_length_chars
    has_digits = language in config.digits_count_as_letters
    alphabetic = _number(config.min_alphabetic_fraction, row.min_alphabetic_fraction)
    no_mean = is_unwrapped or row.max_line_chars == "off"
    return FileLimits(
        excluded_by=row if row.verdict == "exclude" else None,
        max_lines=_number(config.max_lines_by_language.get(language, config.max_lines), None),
        max_line_chars=_number(max_line, row.max_line_chars),
        max_mean_line_chars=OFF if no_mean else _number(config.max_mean_line_length_chars, None),
        min_alphanumeric_fraction=_number(config.min_alphanumeric_fraction, row.min_alphanumeric_fraction),
        min_alphabetic_fraction=OFF if has_digits else alphabetic,
        min_letters_and_digits_fraction=alphabetic if has_digits else OFF,
        xml_window_chars=0 if row.xml_declaration == "off" else config.xml_declaration_window_chars,
    )


def _number(usual: float | None, own: float | str | None) -> float:
    chosen = usual if own is None else own
    return OFF if chosen is None or chosen == "off" else float(chosen)
