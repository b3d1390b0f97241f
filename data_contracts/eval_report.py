"""The contract of eval_report: numbers that can be true, measured on enough, better than counting bytes."""

from data_contracts.contract import Column, Contract, JsonRecords, ListSum
from data_contracts.expectations import (
    Between,
    Equal,
    Expectation,
    HasColumns,
    InSet,
    NeverAbove,
    NotNull,
    RowCountBetween,
    Severity,
    UniqueKey,
)

BLOCK, WARN = Severity.BLOCK, Severity.WARN

REPORT = "report.json"
BITS_PER_BYTE = 8.0
"""What a byte costs a model that knows nothing."""


def _entropy(column: str) -> tuple[Expectation, Expectation]:
    return (
        NotNull(severity=BLOCK, column=column, why="A number that is missing or not finite compares with nothing."),
        Between(
            severity=BLOCK,
            column=column,
            minimum=0.0,
            maximum=BITS_PER_BYTE,
            why="Below 0 is impossible, above 8 is worse than not compressing: the measurement is wrong.",
        ),
    )


def _fraction(column: str) -> Expectation:
    return Between(severity=BLOCK, column=column, minimum=0.0, maximum=1.0, why="A share of cases lies within 0 and 1.")


EVAL_REPORT = Contract(
    artifact="eval_report",
    promise="Every figure is one that can be true and was measured on enough held-out text.",
    views=(
        JsonRecords(
            name="report",
            file=REPORT,
            columns=(
                Column(name="format", type="int64"),
                Column(name="split", type="string"),
                Column(name="held_out.files", type="int64"),
                Column(name="held_out.bytes", type="int64"),
                Column(name="held_out.tokens", type="int64"),
                Column(name="bits_per_byte", type="double"),
                Column(name="baseline.bits_per_byte", type="double"),
                Column(name="problems.count", type="int64"),
                Column(name="problems.syntax_valid_fraction", type="double"),
                Column(name="fill_in_middle.cases", type="int64"),
                Column(name="fill_in_middle.exact_match_fraction", type="double"),
                Column(name="perplexity_per_token", type="double"),
            ),
            sums=(ListSum(name="bytes_of_languages", items="per_language", field="bytes"),),
            expectations=(
                HasColumns(severity=BLOCK, why="Promotion compares these figures with the champion's."),
                InSet(severity=BLOCK, column="format", allowed=(1,), why="There is no reader for another format."),
                InSet(
                    severity=BLOCK,
                    column="split",
                    allowed=("validation", "test"),
                    why="A figure measured on training data says nothing about new code.",
                ),
                *_entropy("bits_per_byte"),
                *_entropy("baseline.bits_per_byte"),
                NeverAbove(
                    severity=WARN,
                    column="bits_per_byte",
                    ceiling="baseline.bits_per_byte",
                    why="A model that counting bytes beats has not learned the language.",
                ),
                NotNull(severity=BLOCK, column="held_out.bytes", why="Bits per byte divide by it."),
                Between(severity=BLOCK, column="held_out.bytes", minimum=1, why="Bits per byte divide by it."),
                Between(
                    severity=WARN,
                    column="held_out.bytes",
                    minimum=10_000,
                    why="On less text the figure depends on which files happened to be held out.",
                ),
                Between(severity=BLOCK, column="held_out.files", minimum=1, why="Something must have been measured."),
                Between(severity=BLOCK, column="held_out.tokens", minimum=1, why="Perplexity divides by it."),
                Equal(
                    severity=BLOCK,
                    column="held_out.bytes",
                    other="bytes_of_languages",
                    why="The languages together are the held-out text; otherwise one was left out or counted twice.",
                ),
                _fraction("problems.syntax_valid_fraction"),
                _fraction("fill_in_middle.exact_match_fraction"),
                NotNull(severity=BLOCK, column="perplexity_per_token", why="Not finite means that the model diverged."),
                Between(
                    severity=BLOCK,
                    column="perplexity_per_token",
                    minimum=1.0,
                    why="A perplexity below 1 is impossible.",
                ),
                Between(
                    severity=WARN,
                    column="perplexity_per_token",
                    maximum=2**16,
                    why="Guessing among all ids of the largest vocabulary would do better.",
                ),
                Between(
                    severity=WARN,
                    column="problems.count",
                    minimum=10,
                    why="A share of so few problems moves by a tenth with each of them.",
                ),
            ),
        ),
        JsonRecords(
            name="languages",
            file=REPORT,
            records=("per_language", "[]"),
            columns=(
                Column(name="language", type="string"),
                Column(name="files", type="int64"),
                Column(name="bytes", type="int64"),
                Column(name="bits_per_byte", type="double"),
                Column(name="baseline_bits_per_byte", type="double"),
            ),
            key=("language",),
            expectations=(
                HasColumns(severity=BLOCK, why="The evaluation table prints these."),
                RowCountBetween(severity=BLOCK, minimum=1, why="Held-out text is of at least one language."),
                NotNull(severity=BLOCK, column="language", why="A figure of no language cannot be read."),
                UniqueKey(severity=BLOCK, key=("language",), why="A language listed twice was measured in pieces."),
                Between(severity=BLOCK, column="files", minimum=1, why="A language without files has no figure."),
                Between(severity=BLOCK, column="bytes", minimum=1, why="Bits per byte divide by it."),
                *_entropy("bits_per_byte"),
                *_entropy("baseline_bits_per_byte"),
            ),
        ),
    ),
)
