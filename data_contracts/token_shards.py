"""The contract of token_shards: the manifest and the files on disk tell the same."""

from data_contracts.contract import Column, Contract, JsonRecords, ListSum, ParquetRows, ParquetShards
from data_contracts.expectations import (
    Between,
    Equal,
    HasColumns,
    InSet,
    MatchesPattern,
    NeverAbove,
    NotNull,
    RowCountBetween,
    Severity,
    SumBetween,
    UniqueKey,
)

BLOCK, WARN = Severity.BLOCK, Severity.WARN

MANIFEST = "manifest.json"
INDEX_FILES = "*-documents.parquet"
TOKEN_BYTES = 2
"""A token is a uint16."""
MIN_VOCABULARY = 19 + 256
"""The special tokens of StarCoder and the bytes: the least a byte-level vocabulary can be."""
MAX_VOCABULARY = 2**16

TOKEN_SHARDS = Contract(
    artifact="token_shards",
    promise="The manifest tells exactly what the shard files hold, and there is something to train on.",
    views=(
        JsonRecords(
            name="manifest",
            file=MANIFEST,
            columns=(
                Column(name="format", type="int64"),
                Column(name="dtype", type="string"),
                Column(name="vocab_size", type="int64"),
                Column(name="splits.train.tokens", type="int64"),
                Column(name="splits.train.documents", type="int64"),
            ),
            expectations=(
                HasColumns(severity=BLOCK, why="Without a readable manifest the shards are bytes without meaning."),
                NotNull(severity=BLOCK, column="format", why="A reader must know what it reads."),
                InSet(severity=BLOCK, column="format", allowed=(3,), why="There is no reader for another format."),
                NotNull(severity=BLOCK, column="dtype", why="A reader must know what it reads."),
                InSet(severity=BLOCK, column="dtype", allowed=("uint16",), why="Readers map the files as uint16."),
                NotNull(severity=BLOCK, column="vocab_size", why="The embedding has one row per token id."),
                Between(
                    severity=BLOCK,
                    column="vocab_size",
                    minimum=MIN_VOCABULARY,
                    maximum=MAX_VOCABULARY,
                    why="A larger id does not fit uint16; a smaller vocabulary lacks a byte or a special token.",
                ),
                NotNull(severity=BLOCK, column="splits.train.tokens", why="Without a train split nothing is learned."),
                Between(
                    severity=BLOCK, column="splits.train.tokens", minimum=1, why="An empty train split teaches nothing."
                ),
                Between(
                    severity=WARN,
                    column="splits.train.tokens",
                    minimum=100_000,
                    why="Fewer tokens than that are learned by heart by the smallest model.",
                ),
            ),
        ),
        JsonRecords(
            name="splits",
            file=MANIFEST,
            records=("splits", "{split}"),
            columns=(
                Column(name="tokens", type="int64"),
                Column(name="documents", type="int64"),
                Column(name="bytes", type="int64"),
            ),
            sums=(
                ListSum(name="tokens_of_sources", items="sources", field="tokens"),
                ListSum(name="documents_of_sources", items="sources", field="documents"),
                ListSum(name="bytes_of_sources", items="sources", field="bytes"),
            ),
            key=("split",),
            expectations=(
                HasColumns(severity=BLOCK, why="Readers and the data card go by these counts."),
                InSet(
                    severity=BLOCK,
                    column="split",
                    allowed=("train", "validation", "test"),
                    why="No step reads a split of another name.",
                ),
                RowCountBetween(
                    severity=WARN, minimum=3, why="Without validation and test splits the model cannot be judged."
                ),
                NotNull(severity=BLOCK, column="tokens", why="The data card reports this count."),
                NotNull(severity=BLOCK, column="documents", why="The data card reports this count."),
                Between(severity=BLOCK, column="documents", minimum=1, why="A split without documents is not written."),
                Between(severity=BLOCK, column="bytes", minimum=1, why="Bits per byte divide by this count."),
                NotNull(severity=BLOCK, column="tokens_of_sources", why="A split is the sum of its sources."),
                *(
                    Equal(
                        severity=BLOCK,
                        column=column,
                        other=f"{column}_of_sources",
                        why="A split is the sum of its sources.",
                    )
                    for column in ("tokens", "documents", "bytes")
                ),
            ),
        ),
        JsonRecords(
            name="sources",
            file=MANIFEST,
            records=("splits", "{split}", "sources", "{source}"),
            columns=(
                Column(name="tokens", type="int64"),
                Column(name="documents", type="int64"),
                Column(name="bytes", type="int64"),
                Column(name="index.documents", type="int64"),
            ),
            sums=(
                ListSum(name="tokens_of_shards", items="shards", field="tokens"),
                ListSum(name="documents_of_shards", items="shards", field="documents"),
            ),
            key=("split", "source"),
            expectations=(
                HasColumns(severity=BLOCK, why="The blend of sources and batches are planned from these counts."),
                MatchesPattern(
                    severity=BLOCK,
                    column="source",
                    pattern="[a-z][a-z0-9_-]{0,63}",
                    form="a lower-case word of a file name",
                    why="Files, weights of the blend and losses are named by it.",
                ),
                NotNull(severity=BLOCK, column="tokens", why="The blend goes by this count."),
                Between(
                    severity=BLOCK, column="documents", minimum=1, why="A source without documents is not written."
                ),
                NotNull(severity=BLOCK, column="tokens_of_shards", why="A source is the sum of its shards."),
                Equal(
                    severity=BLOCK,
                    column="tokens",
                    other="tokens_of_shards",
                    why="A source that is not the sum of its shards makes windows that do not exist.",
                ),
                Equal(
                    severity=BLOCK,
                    column="documents",
                    other="documents_of_shards",
                    why="A source is the sum of its shards.",
                ),
                NotNull(severity=BLOCK, column="index.documents", why="Every source has an index of its documents."),
                Equal(
                    severity=BLOCK,
                    column="documents",
                    other="index.documents",
                    why="A document that the index lacks cannot be named when it does harm.",
                ),
            ),
        ),
        JsonRecords(
            name="shards",
            file=MANIFEST,
            records=("splits", "{split}", "sources", "{source}", "shards", "[]"),
            columns=(
                Column(name="file", type="string"),
                Column(name="tokens", type="int64"),
                Column(name="documents", type="int64"),
                Column(name="sha256", type="string"),
            ),
            sized="file",
            key=("split", "source", "file"),
            expectations=(
                HasColumns(severity=BLOCK, why="The reader finds and verifies each file by these."),
                NotNull(severity=BLOCK, column="file", why="The reader finds the file by it."),
                MatchesPattern(
                    severity=BLOCK,
                    column="file",
                    pattern=r"(?:train|validation|test)-[a-z][a-z0-9_-]{0,63}-[0-9]{5,}\.bin",
                    form="a bare name such as train-python-00000.bin",
                    why="A name with a directory in it could lead out of the artifact.",
                ),
                UniqueKey(severity=BLOCK, key=("file",), why="A shard listed twice would be trained on twice."),
                NotNull(severity=BLOCK, column="file_bytes", why="A shard that the manifest names must be there."),
                NotNull(severity=BLOCK, column="tokens", why="Windows are cut by this count."),
                Between(severity=BLOCK, column="tokens", minimum=1, why="An empty file cannot be mapped."),
                Equal(
                    severity=BLOCK,
                    column="file_bytes",
                    other="tokens",
                    times=TOKEN_BYTES,
                    why="A shorter file was cut off while it was written; a longer one holds what nobody counted.",
                ),
                NotNull(severity=BLOCK, column="documents", why="The source's count is the sum of these."),
                Between(severity=BLOCK, column="documents", minimum=1, why="A shard ends after a whole document."),
                NeverAbove(
                    severity=BLOCK,
                    column="documents",
                    ceiling="tokens",
                    why="Each document ends in a token of its own.",
                ),
                MatchesPattern(
                    severity=BLOCK,
                    column="sha256",
                    pattern="[0-9a-f]{64}",
                    form="64 lower-case hex digits",
                    why="The reader verifies the file by it.",
                ),
                SumBetween(
                    severity=BLOCK, column="tokens", minimum=1, why="Without a token there is nothing to learn."
                ),
            ),
        ),
        JsonRecords(
            name="indexes",
            file=MANIFEST,
            records=("splits", "{split}", "sources", "{source}", "index"),
            columns=(Column(name="file", type="string"), Column(name="sha256", type="string")),
            sized="file",
            key=("split", "source"),
            expectations=(
                HasColumns(severity=BLOCK, why="The reader finds and verifies each index by these."),
                NotNull(severity=BLOCK, column="file", why="The reader finds the index by it."),
                MatchesPattern(
                    severity=BLOCK,
                    column="file",
                    pattern=r"(?:train|validation|test)-[a-z][a-z0-9_-]{0,63}-documents\.parquet",
                    form="a bare name such as train-python-documents.parquet",
                    why="A name with a directory in it could lead out of the artifact.",
                ),
                UniqueKey(severity=BLOCK, key=("file",), why="Two streams have no document in common."),
                NotNull(severity=BLOCK, column="file_bytes", why="An index that the manifest names must be there."),
                NotNull(severity=BLOCK, column="sha256", why="The reader verifies the index by it."),
                MatchesPattern(
                    severity=BLOCK,
                    column="sha256",
                    pattern="[0-9a-f]{64}",
                    form="64 lower-case hex digits",
                    why="The reader verifies the index by it.",
                ),
            ),
        ),
        ParquetShards(
            name="index_files",
            files=INDEX_FILES,
            nulls_of=("repository",),
            expectations=(
                NotNull(severity=BLOCK, column="rows", why="An index that cannot be read names no document."),
                Between(severity=BLOCK, column="rows", minimum=1, why="A source without documents is not written."),
                Between(severity=BLOCK, column="repository_nulls", maximum=0, why="Every document is of a repository."),
            ),
        ),
        ParquetRows(
            name="documents",
            files=INDEX_FILES,
            columns=(
                Column(name="start", type="uint64"),
                Column(name="tokens", type="uint64"),
                Column(name="repository", type="string"),
                Column(name="path", type="string"),
                Column(name="files", type="uint32"),
            ),
            key=("repository", "path"),
            max_rows=20_000,
            seed=0,
            expectations=(
                HasColumns(severity=BLOCK, why="The guards of a training name the documents of a batch by these."),
                MatchesPattern(
                    severity=BLOCK,
                    column="repository",
                    pattern=".+",
                    form="a name that is not empty",
                    why="It is what a person looks for, and what an opt-out names.",
                ),
                Between(severity=BLOCK, column="tokens", minimum=1, why="A document ends in a token of its own."),
            ),
        ),
    ),
)
