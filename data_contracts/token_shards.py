"""The contract of token_shards: the manifest and the files on disk tell the same."""

from data_contracts.contract import Column, Contract, JsonRecords, ListSum
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
                InSet(severity=BLOCK, column="format", allowed=(1,), why="There is no reader for another format."),
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
                ListSum(name="tokens_of_shards", items="shards", field="tokens"),
                ListSum(name="documents_of_shards", items="shards", field="documents"),
            ),
            key=("split",),
            expectations=(
                HasColumns(severity=BLOCK, why="Batches are planned from these counts."),
                InSet(
                    severity=BLOCK,
                    column="split",
                    allowed=("train", "validation", "test"),
                    why="No step reads a split of another name.",
                ),
                RowCountBetween(
                    severity=WARN, minimum=3, why="Without validation and test splits the model cannot be judged."
                ),
                NotNull(severity=BLOCK, column="tokens", why="Batches are planned from this count."),
                NotNull(severity=BLOCK, column="documents", why="The data card reports this count."),
                Between(severity=BLOCK, column="documents", minimum=1, why="A split without documents is not written."),
                Between(severity=BLOCK, column="bytes", minimum=1, why="Bits per byte divide by this count."),
                NotNull(severity=BLOCK, column="tokens_of_shards", why="A split is the sum of its shards."),
                Equal(
                    severity=BLOCK,
                    column="tokens",
                    other="tokens_of_shards",
                    why="A split that is not the sum of its shards makes windows that do not exist.",
                ),
                Equal(
                    severity=BLOCK,
                    column="documents",
                    other="documents_of_shards",
                    why="A split is the sum of its shards.",
                ),
            ),
        ),
        JsonRecords(
            name="shards",
            file=MANIFEST,
            records=("splits", "{split}", "shards", "[]"),
            columns=(
                Column(name="file", type="string"),
                Column(name="tokens", type="int64"),
                Column(name="documents", type="int64"),
                Column(name="sha256", type="string"),
            ),
            sized="file",
            key=("split", "file"),
            expectations=(
                HasColumns(severity=BLOCK, why="The reader finds and verifies each file by these."),
                NotNull(severity=BLOCK, column="file", why="The reader finds the file by it."),
                MatchesPattern(
                    severity=BLOCK,
                    column="file",
                    pattern=r"(?:train|validation|test)-[0-9]{5,}\.bin",
                    form="a bare name such as train-00000.bin",
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
                NotNull(severity=BLOCK, column="documents", why="The split's count is the sum of these."),
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
    ),
)
