"""python -m benchmarks.quality_filters: StarCoder's quality filters on real files, ours against Polars expressions.

Both take the same Arrow batches with the same limits for each file and give which files are kept; they must agree on
all but a few in a thousand (a lone carriage return ends a line for us, and classes of letters differ a little), or
nothing is printed. Pages of HTML are left out: no expression reads them. CPU-seconds of one thread, medians in turn.
"""

import importlib
import os
import statistics
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.comparison import Comparison
from components.corpus.filter_quality import filter_batch
from components.corpus.inspection_table import starcoder_inspections
from components.corpus.language_selection import select_languages
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_limits import limits_of_batch, verdicts_of
from components.corpus.quality_presets import PRESETS
from components.corpus.quality_rules import XML_DECLARATION, QualityRules
from components.sources.languages import extension_of, language_of
from data_contracts.columns import CODE_FILES

SAMPLE_BYTES = 24_000_000
REPETITIONS = 5
BATCH_ROWS = 2000
MIN_AGREEMENT = 0.995
_ENDINGS = {".py", ".pyi", ".c", ".h", ".hpp", ".cpp", ".cu", ".js", ".json", ".md", ".rst", ".yaml", ".css"}
_MAX_FILE_BYTES = 1_000_000


def compare() -> list[Comparison]:
    """Ours against Polars on the same batches; AssertionError if they keep other files."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    polars = importlib.import_module("polars")
    batches, rules = list(_batches()), _rules()
    limits = [_limits(batch, rules) for batch in batches]

    def ours() -> NDArray[np.bool_]:
        kept = [set(filter_batch(batch, rules).kept.column("file_id").to_pylist()) for batch in batches]
        pairs = zip(batches, kept, strict=True)
        return np.array([file_id in found for batch, found in pairs for file_id in batch["file_id"].to_pylist()])

    def peer() -> NDArray[np.bool_]:
        return np.concatenate([_kept(polars, *each) for each in zip(batches, limits, strict=True)])

    agreement = float(np.mean(ours() == peer()))
    assert agreement >= MIN_AGREEMENT, f"the two agree on {agreement:.4f} of the files only"
    seconds = _alternate(ours, peer)
    files, size = sum(batch.num_rows for batch in batches), sum(sum(b["size_bytes"].to_pylist()) for b in batches)
    what = f"StarCoder's quality filters, {files} files, agreement {agreement:.4f}"
    return [Comparison(what, "bytes/s", size, f"Polars {polars.__version__} expressions", *seconds)]


def _rules() -> QualityRules:
    raw = PRESETS["starcoder"] | {
        "recipe": 1,
        "languages": {"select": "starcoder"},
        "max_bytes_by_language": {},
        "keep_fraction_by_language": {},
        "seed": 0,
        "content_model": "none",
        "inspection_file": None,
    }
    config = FilterQualityConfig.model_validate(raw)
    return QualityRules(config, select_languages({}, config), verdicts_of([starcoder_inspections()]), None)


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


def _batches() -> Iterator[pa.RecordBatch]:
    rows = list(_real_files())
    for start in range(0, len(rows), BATCH_ROWS):
        yield pa.RecordBatch.from_pylist(rows[start : start + BATCH_ROWS], CODE_FILES)


def _real_files() -> Iterator[dict[str, Any]]:
    """Source files of the running Python's library and packages: every few of them, up to SAMPLE_BYTES."""
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    paths = [path for root in roots for path in sorted(root.rglob("*")) if path.suffix in _ENDINGS and path.is_file()]
    left = SAMPLE_BYTES
    for number, path in enumerate(paths[:: max(1, len(paths) // 4000)]):
        data = path.read_bytes()
        if not 0 < len(data) <= _MAX_FILE_BYTES or b"\0" in data:
            continue
        try:
            content = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        left -= len(data)
        if left < 0:
            return
        yield dict.fromkeys(CODE_FILES.names) | {
            "file_id": f"{number:032x}",
            "kind": "file",
            "content": content,
            "content_sha256": "",
            "size_bytes": len(data),
            "source": "machine",
            "repository": "machine/python",
            "path": path.name,
            "language": language_of(path.name, data[:256]),
            "extension": extension_of(path.name),
        }


def _alternate(*works: Callable[[], object]) -> tuple[float, ...]:
    """Median CPU-seconds of each, measured in turns so that all meet the same machine."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(REPETITIONS):
        for work, taken in zip(works, seconds, strict=True):
            started = time.process_time()
            work()
            taken.append(time.process_time() - started)
    return tuple(statistics.median(taken) for taken in seconds)
