"""The contract of clean_files: what may be trained on, and nothing that was not collected."""

from data_contracts.columns import BENCHMARK_OVERLAPS, CODE_FILES
from data_contracts.contract import Contract, ParquetRows, RowTotals, columns_of
from data_contracts.expectations import Between, Equal, MatchesPattern, NotNull, UniqueKey
from data_contracts.raw_files import (
    BLOCK,
    DROPPED,
    DROPPED_ROWS,
    FILE_EXPECTATIONS,
    FILES,
    MAX_CHECKED_ROWS,
    SHARDS,
    WARN,
    spans_of,
)

CLEAN_FILES = Contract(
    artifact="clean_files",
    promise="Every file is of a known language, differs from all others of its kind, and was collected.",
    views=(
        SHARDS,
        ParquetRows(
            name="files",
            files=FILES,
            columns=columns_of(CODE_FILES),
            not_loaded=("content",),
            key=("repository", "path"),
            max_rows=MAX_CHECKED_ROWS,
            seed=0,
            expectations=(
                *FILE_EXPECTATIONS,
                UniqueKey(
                    severity=BLOCK,
                    key=("kind", "content_sha256"),
                    why="Duplicates are memorized, and one in training and held-out data falsifies the evaluation.",
                ),
                NotNull(severity=BLOCK, column="language", why="The quality filter keeps known languages only."),
                MatchesPattern(
                    severity=BLOCK,
                    column="language",
                    pattern="[a-z][a-z0-9_+#.-]*",
                    form="a lower-case language name",
                    why="Counts per language, mixture and evaluation go by this word.",
                ),
                Between(
                    severity=WARN,
                    column="size_bytes",
                    maximum=2**24,
                    why="StarCoder2 (section 2.1) reads no file above 10 MB; larger ones are data, not code.",
                ),
            ),
        ),
        DROPPED_ROWS,
        spans_of(
            "overlaps",
            BENCHMARK_OVERLAPS,
            ("repository", "path"),
            NotNull(severity=BLOCK, column="benchmark", why="A hit names the benchmark that the file gives away."),
            NotNull(severity=BLOCK, column="task_id", why="A hit names the problem that the file gives away."),
            NotNull(severity=BLOCK, column="kind", why="A whole text and a run of tokens are told apart by it."),
        ),
        RowTotals(
            name="against_unique_files",
            files=FILES,
            dropped=DROPPED,
            upstream=("unique_files",),
            upstream_files=FILES,
            expectations=(
                Equal(
                    severity=BLOCK,
                    column="all_rows",
                    other="upstream_rows",
                    why="Every file is either kept or dropped with a reason; none gets lost on the way.",
                ),
            ),
        ),
    ),
)
