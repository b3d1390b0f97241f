"""The contract of raw_files: everything that was collected, each file with where it comes from.

What every table of source files owes is here too; `clean_files.py` builds on it.
"""

import pyarrow as pa

from data_contracts.columns import CODE_FILES, DROPPED_FILES
from data_contracts.contract import Contract, ParquetRows, ParquetShards, columns_of
from data_contracts.expectations import (
    Between,
    Expectation,
    HasColumns,
    MatchesPattern,
    NeverAbove,
    NotNull,
    RowCountBetween,
    Severity,
    SumBetween,
    UniqueKey,
)

BLOCK, WARN = Severity.BLOCK, Severity.WARN

FILES = "files-*.parquet"
DROPPED = "dropped-*.parquet"

MAX_CHECKED_ROWS = 100_000
"""Rows whose values are checked: seconds of work, and a fault in one row of 30,000 is still found 19 times in 20."""

SHARDS = ParquetShards(
    name="shards",
    files=FILES,
    nulls_of=("file_id", "content", "repository"),
    expectations=(
        RowCountBetween(severity=BLOCK, minimum=1, why="Without a single shard there is nothing to read."),
        NotNull(severity=BLOCK, column="rows", why="A shard whose footer cannot be read is lost to every later step."),
        Between(severity=BLOCK, column="rows", minimum=1, why="An empty shard is the trace of a writer that failed."),
        Between(severity=BLOCK, column="file_id_nulls", maximum=0, why="Lineage is told file by file, by this id."),
        Between(severity=BLOCK, column="content_nulls", maximum=0, why="A file without text teaches nothing."),
        Between(severity=BLOCK, column="repository_nulls", maximum=0, why="Opt-out and attribution go by repository."),
        SumBetween(
            severity=WARN,
            column="rows",
            minimum=100,
            why="With so few files the splits, the deduplication and the evaluation mean little.",
        ),
    ),
)
"""Facts of every shard, from its footer."""

FILE_EXPECTATIONS: tuple[Expectation, ...] = (
    HasColumns(severity=BLOCK, why="Every later step reads exactly these columns."),
    NotNull(severity=BLOCK, column="file_id", why="Lineage is told file by file, by this id."),
    MatchesPattern(
        severity=BLOCK,
        column="file_id",
        pattern="[0-9a-f]{32}",
        form="32 lower-case hex digits",
        why="The id is computed from origin and content; another form means that it was not.",
    ),
    UniqueKey(severity=BLOCK, key=("file_id",), why="Two rows with one id cannot be told apart in the lineage."),
    NotNull(severity=BLOCK, column="content_sha256", why="Exact duplicates are found by this digest."),
    MatchesPattern(
        severity=BLOCK,
        column="content_sha256",
        pattern="[0-9a-f]{64}",
        form="64 lower-case hex digits",
        why="Exact duplicates are found by this digest.",
    ),
    NotNull(severity=BLOCK, column="size_bytes", why="Size rules and the data card add these up."),
    Between(
        severity=BLOCK,
        column="size_bytes",
        minimum=1,
        maximum=2**31,
        why="An empty file teaches nothing; one beyond 2 GiB overflows the offsets of a string column.",
    ),
    NotNull(severity=BLOCK, column="source", why="It names the entry of params.yaml that the file came by."),
    NotNull(severity=BLOCK, column="repository", why="Opt-out and attribution go by repository."),
    MatchesPattern(
        severity=BLOCK,
        column="repository",
        pattern=".+",
        form="a name that is not empty",
        why="Opt-out and attribution go by it.",
    ),
    NotNull(severity=BLOCK, column="path", why="A person finds the file again by repository and path."),
    MatchesPattern(
        severity=BLOCK,
        column="path",
        pattern="[^/].*",
        form="a relative path that is not empty",
        why="An absolute path tells of the machine that collected, not of the repository.",
    ),
    MatchesPattern(
        severity=WARN,
        column="extension",
        pattern=r"|\.[^A-Z/]*",
        form="empty, or lower case with its dot",
        why="The language is looked up by extension; another spelling is not found.",
    ),
    Between(severity=WARN, column="stars", minimum=0, why="Stars break ties between duplicates and enter the prompt."),
    NotNull(
        severity=WARN,
        column="license",
        at_least_fraction=0.9,
        why="Where the licence is not known, nobody can say whether the model may learn from the file.",
    ),
)
"""What each row of a table of source files owes, from ingestion on."""

DROPPED_ROWS = ParquetRows(
    name="dropped",
    files=DROPPED,
    columns=columns_of(DROPPED_FILES),
    key=("repository", "path"),
    max_rows=MAX_CHECKED_ROWS,
    seed=0,
    expectations=(
        HasColumns(severity=BLOCK, why="The funnel and the opt-out report read exactly these columns."),
        NotNull(severity=BLOCK, column="rule", why="Every drop has a reason; without one it cannot be defended."),
        MatchesPattern(
            severity=BLOCK,
            column="rule",
            pattern="[a-z][a-z0-9_]*",
            form="a word in snake case",
            why="The funnel counts drops by this word.",
        ),
        NotNull(severity=BLOCK, column="file_id", why="A dropped file is found again by its id."),
    ),
)
"""What each dropped row owes."""


def spans_of(name: str, columns: pa.Schema, key: tuple[str, ...], *own: Expectation) -> ParquetRows:
    """The view of a table of spans in files, `NAME-*.parquet`, which is there only if there is one."""
    return ParquetRows(
        name=name,
        files=f"{name}-*.parquet",
        columns=columns_of(columns),
        key=key,
        max_rows=MAX_CHECKED_ROWS,
        seed=0,
        optional=True,
        expectations=(
            HasColumns(severity=BLOCK, why="Whoever asks what became of a file reads exactly these columns."),
            NotNull(severity=BLOCK, column="file_id", why="A span without its file cannot be found again."),
            Between(severity=BLOCK, column="start_byte", minimum=0, why="No text has a byte before its first."),
            NeverAbove(
                severity=BLOCK,
                column="start_byte",
                ceiling="end_byte",
                why="A span that ends before it begins marks nothing.",
            ),
            *own,
        ),
    )


RAW_FILES = Contract(
    artifact="raw_files",
    promise="Every collected file says what it holds and where it comes from.",
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
            expectations=FILE_EXPECTATIONS,
        ),
        DROPPED_ROWS,
    ),
)
