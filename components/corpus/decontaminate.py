"""Drop every file that gives away a benchmark problem, so that the evaluation measures skill and not memory.

Texts are compared in folded form (lower case, blanks and escapes as one space), so layout and quoting in JSON or
source do not hide a copy. A file is dropped if it holds a docstring, question or solution whole (BigCode
decontamination), or as many consecutive tokens of one as an n-gram has (GPT-3, arXiv 2005.14165, appendix C). Each
overlap is written down with its span in the table `overlaps-*.parquet`.

BigCode exempts four trivial solutions by name, one of them misspelt so that it never matches. Here a rule does it:
what is shorter than `min_match_chars` is not looked for, and no n-gram of fewer words than `min_ngram_words`.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.corpus.benchmark_search import NGRAM, BenchmarkSearch, Overlaps
from components.corpus.config import DecontaminateConfig
from components.errors import EmptyArtifactError
from components.evaluation.problem_table import digest_of, read_rows
from components.markup import visible
from components.section import Summary
from components.shard_map import Mapped, map_shards
from components.tables import FilesCounts, TableFormat, dropped_rows
from data_contracts.columns import BENCHMARK_OVERLAPS

RULE = "benchmark_overlap"
MATCH_CHARS = 120
"""So much of the first overlap goes into the detail of a dropped file."""
MAX_OVERLAPS = 1_000
"""So many overlaps of one file are written down: a hostile file can repeat a text a hundred thousand times."""

_OF_FILE = ("file_id", "source", "repository", "path", "commit", "size_bytes")
_UTF8_BYTES = 4
"""The most that a character takes."""

OVERLAPS = TableFormat("overlaps", BENCHMARK_OVERLAPS)


class DecontaminateSummary(Summary):
    """What was looked for and what was dropped."""

    files: FilesCounts
    problems: int
    overlaps: int
    """Rows of the table of overlaps."""
    dropped_by_kind: dict[str, int]
    """Files per kind of the overlap that their dropped row names, in alphabetical order."""
    dropped_by_benchmark: dict[str, int]
    """Files per benchmark that they overlap with, in alphabetical order; a file counts for each of them."""


def run(
    config: DecontaminateConfig, *, unique_files: Path, eval_problems: Path, out: Path, work_dir: Path
) -> DecontaminateSummary:
    """Write clean_files in the input's order; a dropped row names its first overlap, a whole text before an n-gram.

    Raises EmptyArtifactError if no file is left.
    """
    function = partial(drop_overlaps, config=config, eval_problems=eval_problems, digest=digest_of(eval_problems))
    outcome = map_shards(function, [unique_files], out, work_dir)
    if outcome.files.kept_files == 0:
        raise EmptyArtifactError(_nothing_left(outcome.files))
    return DecontaminateSummary(
        files=outcome.files,
        problems=len(read_rows(eval_problems)),
        overlaps=outcome.counts.get("overlaps", 0),
        dropped_by_kind=_under("kind ", outcome.counts),
        dropped_by_benchmark=_under("benchmark ", outcome.counts),
    )


def drop_overlaps(batch: pa.RecordBatch, *, config: DecontaminateConfig, eval_problems: Path, digest: str) -> Mapped:
    """Take the files out of a batch that overlap with a problem; `digest` is that of the problems."""
    search = _search(config, eval_problems, digest)  # pyright: ignore[reportArgumentType] - frozen models are hashable
    found = search.overlaps(batch)
    rows, firsts = np.unique(found.rows, return_index=True)
    is_kept = np.ones(batch.num_rows, np.bool_)
    is_kept[rows] = False
    kinds = [search.kinds[kind] for kind in found.kinds[firsts]]
    of_whole_texts, of_ngrams = f"{config.min_match_chars} characters", f"{config.ngram_tokens} tokens"
    table = _table(batch, _at_most(MAX_OVERLAPS, found), search)
    return Mapped(
        kept=batch.filter(pa.array(is_kept)),
        dropped=dropped_rows(
            batch,
            rows.tolist(),
            rules=[RULE] * len(rows),
            values=kinds,
            thresholds=[of_ngrams if kind == NGRAM else of_whole_texts for kind in kinds],
            details=_details(batch, found.select(firsts), search),
        ),
        counts=_counts(found, kinds, search) | {"overlaps": table.num_rows},
        tables={OVERLAPS.prefix: table},
    )


def _counts(found: Overlaps, kinds: Sequence[str], search: BenchmarkSearch) -> Counter[str]:
    """Files per kind that their dropped row names, and files per benchmark that they overlap with."""
    pairs = np.unique(np.stack([found.rows, found.problems]), axis=1).T.tolist()
    counts = Counter(f"kind {kind}" for kind in kinds)
    counts.update(f"benchmark {name}" for _, name in {(row, search.problems[number][0]) for row, number in pairs})
    return counts


@lru_cache(maxsize=1)
def _search(config: DecontaminateConfig, eval_problems: Path, digest: str) -> BenchmarkSearch:
    """Made once per worker; the digest tells problems that were collected anew from those read before."""
    return BenchmarkSearch(read_rows(eval_problems), config)


def _at_most(limit: int, found: Overlaps) -> Overlaps:
    """The first `limit` overlaps of each row."""
    first_of_row = np.searchsorted(found.rows, found.rows, side="left")
    return found.select(np.arange(len(found.rows)) - first_of_row < limit)


def _details(batch: pa.RecordBatch, found: Overlaps, search: BenchmarkSearch) -> list[str]:
    """Problem, kind, span and text of each overlap, on one line."""
    content: Any = batch.column("content")
    details: list[str] = []
    for index, row in enumerate(found.rows.tolist()):
        first, end = int(found.first[index]), int(found.end[index])
        cut = min(end, first + _UTF8_BYTES * MATCH_CHARS)
        span = content[row].as_buffer()[first:cut].to_pybytes().decode("utf-8", "ignore")
        text = " ".join(visible(span[:MATCH_CHARS]).split())
        problem = " ".join(search.problems[found.problems[index]])
        details.append(f"{problem} {search.kinds[found.kinds[index]]} bytes {first}..{end}: {text}")
    return details


def _table(batch: pa.RecordBatch, found: Overlaps, search: BenchmarkSearch) -> pa.RecordBatch:
    """The rows of OVERLAPS."""
    benchmarks, tasks = zip(*search.problems, strict=True) if search.problems else ((), ())
    columns = [
        *batch.select(_OF_FILE).take(pa.array(found.rows)).columns,
        pa.array(benchmarks, pa.string()).take(pa.array(found.problems)),
        pa.array(tasks, pa.string()).take(pa.array(found.problems)),
        pa.array(search.kinds, pa.string()).take(pa.array(found.kinds)),
        pa.array(found.first),
        pa.array(found.end),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=OVERLAPS.schema)


def _under(prefix: str, counts: dict[str, int]) -> dict[str, int]:
    """The counts whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}


def _nothing_left(counts: FilesCounts) -> str:
    return (
        f"decontaminate left none of {counts.dropped_files} files: each shares text with a benchmark problem; "
        "add sources, or take benchmarks out of collect_problems.problem_files"
    )
