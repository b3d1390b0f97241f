"""The contracts of the tables between collection and release: each row whole, each row accounted for.

Every one of them holds what `raw_files.py` asks of any table of files, and in addition what its own step promises.
"""

import pyarrow as pa

from data_contracts.columns import CODE_FILES, COMMIT_CHANGES, ISSUE_THREADS, REDACTIONS
from data_contracts.contract import Contract, ParquetRows, ParquetShards, RowTotals, View, columns_of
from data_contracts.expectations import Between, Equal, Expectation, HasColumns, InSet, NotNull, SumBetween, UniqueKey
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

THREADS = "threads-*.parquet"
CHANGES = "changes-*.parquet"

_LONG = ("events", "before", "after", "message")


def _readable(*expectations: Expectation) -> ParquetShards:
    return ParquetShards(
        name="shards",
        files=FILES,
        nulls_of=("file_id", "content"),
        expectations=(
            NotNull(severity=BLOCK, column="rows", why="A shard whose footer cannot be read is lost to later steps."),
            Between(severity=BLOCK, column="file_id_nulls", maximum=0, why="Lineage is told file by file, by this id."),
            Between(severity=BLOCK, column="content_nulls", maximum=0, why="A document without text teaches nothing."),
            *expectations,
        ),
    )


_READABLE = _readable()
"""Of a table that may be empty: not every corpus has notebooks, conversations or commits."""

_SHARD_FOR_SHARD = _readable(
    SumBetween(severity=BLOCK, column="rows", minimum=1, why="Without a document there is nothing to learn from.")
)
"""Of a table that has a shard for each of its input's, empty where all that the input's holds are copies."""


def _kinds(*allowed: str) -> Expectation:
    return InSet(
        severity=BLOCK,
        column="kind",
        allowed=allowed,
        why="Which rules apply to a text, and whether it carries marks, goes by its kind.",
    )


def _rows(*expectations: Expectation) -> ParquetRows:
    return ParquetRows(
        name="files",
        files=FILES,
        columns=columns_of(CODE_FILES),
        not_loaded=("content",),
        key=("repository", "path"),
        max_rows=MAX_CHECKED_ROWS,
        seed=0,
        expectations=(*FILE_EXPECTATIONS, *expectations),
    )


def _accounted(*upstream: str, files: str = FILES) -> RowTotals:
    return RowTotals(
        name=f"against_{'_and_'.join(upstream)}",
        files=FILES,
        dropped=DROPPED,
        upstream=upstream,
        upstream_files=files,
        expectations=(
            Equal(
                severity=BLOCK,
                column="all_rows",
                other="upstream_rows",
                why="Every row is either kept or dropped with a reason; none gets lost on the way.",
            ),
        ),
    )


_REDACTED_SPANS = spans_of(
    "redactions",
    REDACTIONS,
    ("file_id",),
    InSet(
        severity=BLOCK,
        column="entity",
        allowed=("email", "ip_address", "key", "password", "name", "username", "id"),
        why="The card counts redactions by these words.",
    ),
)


def _contract(artifact: str, promise: str, *views: View) -> Contract:
    return Contract(artifact=artifact, promise=promise, views=(*views, DROPPED_ROWS))


_LANGUAGE = NotNull(severity=BLOCK, column="language", why="Counts, weights and evaluation go by language.")
_ALL_KINDS = _kinds("file", "notebook_script", "notebook", "issue", "commit")

CORPUS_CONTRACTS: tuple[Contract, ...] = (
    _contract(
        "quality_files",
        "Every file is source code of a language that was asked for.",
        SHARDS,
        _rows(_kinds("file"), _LANGUAGE),
        _accounted("raw_files"),
    ),
    _contract(
        "notebook_files",
        "Every notebook is a script, a document of text, code and output, or dropped with a reason.",
        _READABLE,
        _rows(_kinds("notebook_script", "notebook"), _LANGUAGE),
    ),
    _contract(
        "issue_files",
        "Every conversation is written by people, in English, under numbers in place of names.",
        _READABLE,
        _rows(_kinds("issue"), _LANGUAGE),
        _accounted("raw_issues", files=THREADS),
    ),
    _contract(
        "commit_files",
        "Every commit changes one file in a way that its message says.",
        _READABLE,
        _rows(
            _kinds("commit"),
            _LANGUAGE,
            NotNull(severity=BLOCK, column="commit", why="A change without its commit cannot be found again."),
        ),
        _accounted("raw_commits", files=CHANGES),
    ),
    _contract(
        "permitted_files",
        "Every document may be learned from.",
        SHARDS,
        _rows(_ALL_KINDS, _LANGUAGE),
        _accounted("quality_files", "notebook_files", "issue_files", "commit_files"),
    ),
    _contract(
        "redacted_files",
        "Every document is still there, without what names or endangers a person.",
        SHARDS,
        _rows(_ALL_KINDS),
        _REDACTED_SPANS,
        _accounted("permitted_files"),
    ),
    _contract(
        "unique_files",
        "No two documents of a kind are equal; each that is gone has one that stands for it.",
        _SHARD_FOR_SHARD,
        _rows(
            _ALL_KINDS,
            UniqueKey(
                severity=BLOCK,
                key=("kind", "content_sha256"),
                why="Duplicates are memorized, and one in training and held-out data falsifies the evaluation.",
            ),
        ),
        _accounted("redacted_files"),
    ),
    _contract(
        "corpus_splits",
        "Every document belongs to one split.",
        SHARDS,
        _rows(
            _ALL_KINDS,
            NotNull(severity=BLOCK, column="split", why="A document of no split is neither trained nor measured on."),
            InSet(
                severity=BLOCK,
                column="split",
                allowed=("train", "validation", "test"),
                why="Readers ask for these names and no others.",
            ),
        ),
        _accounted("clean_files"),
    ),
)


def _collected(artifact: str, promise: str, files: str, columns: pa.Schema, *own: Expectation) -> Contract:
    """Of what is collected but not laid out yet; long and nested columns stay on disk."""
    return Contract(
        artifact=artifact,
        promise=promise,
        views=(
            ParquetShards(
                name="shards",
                files=files,
                nulls_of=("file_id", "repository"),
                expectations=(
                    NotNull(severity=BLOCK, column="rows", why="A shard whose footer cannot be read is lost."),
                    Between(severity=BLOCK, column="file_id_nulls", maximum=0, why="Lineage is told by this id."),
                    Between(severity=BLOCK, column="repository_nulls", maximum=0, why="Opt-out goes by repository."),
                ),
            ),
            ParquetRows(
                name="rows",
                files=files,
                columns=columns_of(columns),
                not_loaded=tuple(name for name in _LONG if name in columns.names),
                key=("repository", "path"),
                max_rows=MAX_CHECKED_ROWS,
                seed=0,
                expectations=(
                    HasColumns(severity=BLOCK, why="Every later step reads exactly these columns."),
                    UniqueKey(severity=BLOCK, key=("file_id",), why="Two rows with one id cannot be told apart."),
                    NotNull(severity=BLOCK, column="source", why="It names the entry of params.yaml that it came by."),
                    NotNull(
                        severity=WARN,
                        column="license",
                        at_least_fraction=0.9,
                        why="Where the licence is not known, nobody can say whether the model may learn from it.",
                    ),
                    *own,
                ),
            ),
            DROPPED_ROWS,
        ),
    )


COLLECTED_CONTRACTS: tuple[Contract, ...] = (
    _collected(
        "raw_issues",
        "Every conversation says where it was held and what was said in it, in order.",
        THREADS,
        ISSUE_THREADS,
        Between(severity=BLOCK, column="number", minimum=1, why="The thread is found again by this number."),
    ),
    _collected(
        "raw_commits",
        "Every change says which commit of which repository made it.",
        CHANGES,
        COMMIT_CHANGES,
        NotNull(severity=BLOCK, column="commit", why="A change without its commit cannot be found again."),
        Between(severity=BLOCK, column="num_files_in_commit", minimum=1, why="A commit that changes nothing is none."),
    ),
)
