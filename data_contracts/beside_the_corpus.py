"""The contracts of what stands beside the corpus: opt-outs, tagger, benchmark problems, tokenizer and dataset card."""

from data_contracts.columns import EVAL_PROBLEMS
from data_contracts.contract import Column, Contract, JsonRecords, ParquetRows, columns_of
from data_contracts.expectations import (
    Between,
    Expectation,
    HasColumns,
    InSet,
    MatchesPattern,
    NotNull,
    RowCountBetween,
    UniqueKey,
)
from data_contracts.raw_files import BLOCK, MAX_CHECKED_ROWS, WARN
from data_contracts.token_shards import MAX_VOCABULARY, MIN_VOCABULARY

_NESTED = ("uses", "texts")
_LONG = ("prompt", "canonical_solution", "test")
_NUM_SPECIAL_TOKENS = 19
"""StarCoder's; StarCoder2 has more."""


def _names(member: str, pattern: str, form: str) -> JsonRecords:
    return JsonRecords(
        name=member,
        file="opt_outs.json",
        records=(member, "[]"),
        columns=(Column(name="value", type="string"),),
        key=("value",),
        expectations=(
            HasColumns(severity=BLOCK, why="Who is left out is read from these names."),
            NotNull(severity=BLOCK, column="value", why="Without a name nobody is left out."),
            MatchesPattern(
                severity=BLOCK,
                column="value",
                pattern=pattern,
                form=form,
                why="A name of another form meets no repository and no login, and is left out nowhere.",
            ),
            UniqueKey(
                severity=BLOCK, key=("value",), why="The lists are joined; a name twice means that they were not."
            ),
        ),
    )


OPT_OUTS = Contract(
    artifact="opt_outs",
    promise="Everybody who asked to be left out stands here by name.",
    views=(
        JsonRecords(
            name="lists",
            file="opt_outs.json",
            records=("{list}",),
            columns=(),
            key=("list",),
            expectations=(
                HasColumns(severity=BLOCK, why="A file that cannot be read would leave nobody out."),
                InSet(
                    severity=BLOCK,
                    column="list",
                    allowed=("repositories", "users"),
                    why="Under another word nobody looks for names.",
                ),
                RowCountBetween(severity=BLOCK, minimum=2, maximum=2, why="A list that is missing is no empty one."),
            ),
        ),
        _names("repositories", r"[^A-Z/\s]+/[^A-Z/\s]+", "owner/name in lower case"),
        _names("users", r"[^A-Z/\s]+", "a login in lower case"),
    ),
)


def _share(column: str, why: str) -> tuple[Expectation, ...]:
    return (
        NotNull(severity=BLOCK, column=column, why=why),
        Between(severity=BLOCK, column=column, minimum=0, maximum=1, why="A share is between none and all."),
    )


PII_TAGGER = Contract(
    artifact="pii_tagger",
    promise="It says whether there is a tagger, and how well it does on what it never saw.",
    views=(
        JsonRecords(
            name="settings",
            file="tagger.json",
            columns=(Column(name="enabled", type="bool"), Column(name="overlap_tokens", type="int64")),
            expectations=(
                HasColumns(severity=BLOCK, why="The redaction must know whether there is a tagger to ask."),
                NotNull(severity=BLOCK, column="enabled", why="The redaction must know whether there is one to ask."),
            ),
        ),
        JsonRecords(
            name="scores",
            file="scores.json",
            records=("{entity}",),
            columns=(
                Column(name="precision", type="double"),
                Column(name="recall", type="double"),
                Column(name="f1", type="double"),
                Column(name="support", type="int64"),
            ),
            key=("entity",),
            optional=True,
            expectations=(
                HasColumns(severity=BLOCK, why="A tagger without scores must not be trusted."),
                *_share("precision", "What it takes for personal and is not is lost to the model."),
                *_share("recall", "What it misses stays in the corpus."),
                *_share("f1", "Taggers are compared by it."),
                Between(
                    severity=WARN,
                    column="f1",
                    minimum=0.5,
                    why="StarPII's worst entity has 0.57 (its model card); one below that misses half of it.",
                ),
            ),
        ),
    ),
)

EVAL_PROBLEMS_CONTRACT = Contract(
    artifact="eval_problems",
    promise="Every problem has a name, and those that are asked have all that a judge needs.",
    views=(
        ParquetRows(
            name="problems",
            files="problems.parquet",
            columns=tuple(column for column in columns_of(EVAL_PROBLEMS) if column.name not in _NESTED),
            not_loaded=_LONG,
            key=("benchmark", "task_id"),
            max_rows=MAX_CHECKED_ROWS,
            seed=0,
            expectations=(
                HasColumns(severity=BLOCK, why="The search and the evaluation read exactly these columns."),
                RowCountBetween(severity=BLOCK, minimum=1, why="Without a problem nothing is kept out or asked."),
                NotNull(severity=BLOCK, column="benchmark", why="A dropped file names the benchmark it gives away."),
                NotNull(severity=BLOCK, column="task_id", why="A dropped file names the problem it gives away."),
                UniqueKey(
                    severity=BLOCK,
                    key=("benchmark", "task_id"),
                    why="Two problems of one name cannot be told apart in the report.",
                ),
            ),
        ),
    ),
)

TOKENIZER = Contract(
    artifact="tokenizer",
    promise="It gives every byte an id, and its special tokens the first ones.",
    views=(
        JsonRecords(
            name="model",
            file="tokenizer.json",
            columns=(Column(name="model.type", type="string"), Column(name="decoder.type", type="string")),
            expectations=(
                HasColumns(severity=BLOCK, why="Without a readable file nothing can be encoded."),
                NotNull(severity=BLOCK, column="model.type", why="The encoders know one kind of model."),
                InSet(
                    severity=BLOCK, column="model.type", allowed=("BPE",), why="The encoders know one kind of model."
                ),
                InSet(
                    severity=BLOCK,
                    column="decoder.type",
                    allowed=("ByteLevel",),
                    why="Only bytes come back exactly from their ids.",
                ),
            ),
        ),
        JsonRecords(
            name="vocabulary",
            file="tokenizer.json",
            records=("model", "vocab", "{token}"),
            columns=(Column(name="value", type="int64"),),
            key=("token",),
            expectations=(
                HasColumns(severity=BLOCK, why="The embedding has one row for each id."),
                NotNull(severity=BLOCK, column="value", why="A token without an id cannot be written."),
                UniqueKey(severity=BLOCK, key=("value",), why="Two tokens of one id cannot be told apart."),
                Between(
                    severity=BLOCK,
                    column="value",
                    minimum=0,
                    maximum=MAX_VOCABULARY - 1,
                    why="Token shards hold ids of two bytes.",
                ),
                RowCountBetween(
                    severity=BLOCK,
                    minimum=MIN_VOCABULARY,
                    maximum=MAX_VOCABULARY,
                    why="A smaller one lacks a byte or a special token, a larger one does not fit two bytes.",
                ),
            ),
        ),
        JsonRecords(
            name="special_tokens",
            file="tokenizer.json",
            records=("added_tokens", "[]"),
            columns=(
                Column(name="id", type="int64"),
                Column(name="content", type="string"),
                Column(name="special", type="bool"),
            ),
            key=("content",),
            expectations=(
                HasColumns(severity=BLOCK, why="Documents are laid out with these tokens."),
                NotNull(severity=BLOCK, column="id", why="Documents are laid out with these ids."),
                UniqueKey(severity=BLOCK, key=("id",), why="Two special tokens of one id cannot be told apart."),
                UniqueKey(severity=BLOCK, key=("content",), why="A special token has one id."),
                InSet(
                    severity=BLOCK, column="special", allowed=(True,), why="A plain token would be found in any text."
                ),
                RowCountBetween(
                    severity=BLOCK, minimum=_NUM_SPECIAL_TOKENS, why="Neither family has fewer special tokens."
                ),
            ),
        ),
    ),
)


def _counts(name: str, *way: str) -> JsonRecords:
    """Numbers by name: none of them negative."""
    return JsonRecords(
        name=name,
        file="facts.json",
        records=(*way, "{name}"),
        columns=(Column(name="value", type="int64"),),
        key=("name",),
        expectations=(
            HasColumns(severity=BLOCK, why="The card tells these numbers."),
            NotNull(severity=BLOCK, column="value", why="The card tells this number."),
            Between(severity=BLOCK, column="value", minimum=0, why="Nothing can be there less than not at all."),
            RowCountBetween(severity=BLOCK, minimum=1, why="Of no corpus there is nothing to tell."),
        ),
    )


DATASET_CARD = Contract(
    artifact="dataset_card",
    promise="It tells what the corpus holds and what each step took out of it.",
    views=(
        JsonRecords(
            name="facts",
            file="facts.json",
            columns=(
                Column(name="title", type="string"),
                Column(name="repositories", type="int64"),
                Column(name="near_duplicates", type="int64"),
                Column(name="least_jaccard", type="double"),
            ),
            expectations=(
                HasColumns(severity=BLOCK, why="The card is written from these facts."),
                NotNull(severity=BLOCK, column="title", why="A card without a title is of no data set."),
                Between(severity=BLOCK, column="repositories", minimum=1, why="Text comes from somewhere."),
                Between(
                    severity=BLOCK,
                    column="least_jaccard",
                    minimum=0,
                    maximum=1,
                    why="It says that nothing was dropped for a file that is unlike it.",
                ),
            ),
        ),
        JsonRecords(
            name="funnel",
            file="facts.json",
            records=("funnel", "[]"),
            columns=(
                Column(name="artifact", type="string"),
                Column(name="kept_files", type="int64"),
                Column(name="kept_bytes", type="int64"),
                Column(name="dropped_files", type="int64"),
            ),
            key=("artifact",),
            expectations=(
                HasColumns(severity=BLOCK, why="The funnel tells what each step took out."),
                UniqueKey(severity=BLOCK, key=("artifact",), why="Each step is told once."),
                RowCountBetween(severity=BLOCK, minimum=1, why="A funnel without a step tells nothing."),
                *(
                    Between(severity=BLOCK, column=name, minimum=0, why="Nothing can be there less than not at all.")
                    for name in ("kept_files", "kept_bytes", "dropped_files")
                ),
            ),
        ),
        _counts("languages", "by_language", "bytes"),
        _counts("licenses", "by_license", "bytes"),
        _counts("splits", "tokens_by_split"),
    ),
)

BESIDE_THE_CORPUS: tuple[Contract, ...] = (OPT_OUTS, PII_TAGGER, EVAL_PROBLEMS_CONTRACT, TOKENIZER, DATASET_CARD)
