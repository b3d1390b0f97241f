"""StarCoder's quality filters on real files, against Polars expressions.

Both take the same Arrow batches. Ours looks up each file's limits, and gives the kept rows and, of each other file, the
first rule that it fails with value and threshold. Polars is told each file's limits, and gives which files are kept, by
one lazy query a batch. They must agree on all but a few in a thousand (a lone carriage return ends a line for us, and
classes of letters differ a little), or nothing is printed. Pages of HTML are left out: no expression reads them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.comparison import Comparison, peer_module, take_turns
from benchmarks.source_files import SUFFIXES, SourceFile, as_batch, megabytes, source_files
from components.corpus.filter_quality import filter_batch
from components.corpus.inspection_table import starcoder_inspections
from components.corpus.language_selection import select_languages
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_limits import limits_of_batch, verdicts_of
from components.corpus.quality_presets import PRESETS
from components.corpus.quality_rules import XML_DECLARATION, QualityRules
from components.shard_map import Mapped

SAMPLE_BYTES = 40_000_000
REPETITIONS = 5
BATCH_ROWS = 2000  # a row group
MIN_AGREEMENT = 0.995
NO_PAGES = [suffix for suffix in SUFFIXES if suffix != ".html"]


def compare() -> list[Comparison]:
    """One row; AssertionError if the two keep other files."""
    files = source_files(SAMPLE_BYTES, suffixes=NO_PAGES)
    batches, rules = batches_of(files), starcoder_rules()
    ours, peer = take_turns([our_work(batches, rules), polars_work(batches, rules)], REPETITIONS)
    agreement = float(np.mean(_is_kept(batches, ours.result) == np.concatenate(peer.result)))
    assert agreement >= MIN_AGREEMENT, f"the two agree on {agreement:.4f} of the files only"
    what = f"StarCoder's quality filters, {len(files):,} files, agreement {agreement:.4f}"
    return [Comparison(what, "MB/s", megabytes(files), "Polars expressions", ours.seconds, peer.seconds)]


def batches_of(files: Sequence[SourceFile]) -> list[pa.RecordBatch]:
    return [as_batch(files[first : first + BATCH_ROWS]) for first in range(0, len(files), BATCH_ROWS)]


def our_work(batches: Sequence[pa.RecordBatch], rules: QualityRules) -> Callable[[], list[Mapped]]:
    """What the step makes of each batch."""
    return lambda: [filter_batch(batch, rules) for batch in batches]


def _is_kept(batches: Sequence[pa.RecordBatch], mapped: Sequence[Mapped]) -> NDArray[np.bool_]:
    kept = {file_id for each in mapped for file_id in each.kept["file_id"].to_pylist()}
    return np.array([file_id in kept for batch in batches for file_id in batch["file_id"].to_pylist()])


def starcoder_rules() -> QualityRules:
    raw = PRESETS["starcoder"] | {
        "recipe": 1,
        "languages": {"select": "starcoder"},
        "max_bytes_by_language": {},
        "keep_fraction_by_language": {},
        "seed": 0,
        "content_model": "none",
        "hidden_characters": "keep",
        "inspection_file": None,
    }
    config = FilterQualityConfig.model_validate(raw)
    return QualityRules(config, select_languages({}, config), verdicts_of([starcoder_inspections()]), None)


def polars_work(batches: Sequence[pa.RecordBatch], rules: QualityRules) -> Callable[[], list[NDArray[np.bool_]]]:
    """Which files of each batch are kept."""
    polars = peer_module("polars")
    limits = [_limits(batch, rules) for batch in batches]
    return lambda: [_kept(polars, *each) for each in zip(batches, limits, strict=True)]


def _limits(batch: pa.RecordBatch, rules: QualityRules) -> dict[str, NDArray[Any]]:
    """What Polars is given beside the text: each file's limits, so that it need not look them up."""
    found = limits_of_batch(batch, rules.config, rules.verdicts)
    names = ("max_line_chars", "max_mean_line_chars", "min_alphanumeric_fraction", "min_alphabetic_fraction")
    columns: dict[str, NDArray[Any]] = {name: found.column(name) for name in names}
    columns["asks_xml"] = found.column("xml_window_chars") > 0
    columns["is_excluded"] = np.array([kind.excluded_by is not None for kind in found.kinds])[found.kind_of_row]
    columns["is_data"] = np.isin(batch["language"].to_pylist(), ("json", "yaml"))
    return columns


def _kept(pl: Any, batch: pa.RecordBatch, limits: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """The rules of `starcoder` as expressions over the columns."""
    content, col = pl.col("content"), pl.col
    lines = content.str.strip_suffix("\n").str.split("\n").list.eval(pl.element().str.len_chars())
    frame = pl.from_arrow(pa.Table.from_batches([batch.select(["content"])])).with_columns(
        *(pl.Series(name, values) for name, values in limits.items())
    )
    measured = (
        frame.lazy()
        .with_columns(lines=lines, chars=content.str.len_chars())
        .with_columns(
            longest=col("lines").list.max(),
            mean=col("lines").list.mean(),
            alphanumeric=content.str.replace_all(r"[^\p{Alphabetic}\p{N}]+", "").str.len_chars() / col("chars"),
            alphabetic=content.str.replace_all(r"[^\p{Alphabetic}]+", "").str.len_chars() / col("chars"),
            is_xml=content.str.slice(0, 100).str.contains(XML_DECLARATION, literal=True),
        )
    )
    # NaN is an unset limit, and in Polars NaN is above everything.
    fails = (
        col("is_excluded")
        | ((col("longest") > col("max_line_chars")) & col("max_line_chars").is_not_nan())
        | ((col("mean") > col("max_mean_line_chars")) & col("max_mean_line_chars").is_not_nan())
        | ((col("alphanumeric") < col("min_alphanumeric_fraction")) & col("min_alphanumeric_fraction").is_not_nan())
        | ((col("alphabetic") < col("min_alphabetic_fraction")) & col("min_alphabetic_fraction").is_not_nan())
        | (col("is_xml") & col("asks_xml"))
        | (col("is_data") & ((col("chars") < 50) | (col("chars") > 5000) | (col("alphabetic") < 0.5)))
    )
    return measured.select(~fails).collect().to_series().to_numpy()
