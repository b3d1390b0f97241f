import subprocess
import sys

import pytest
from pydantic import ValidationError

from components.catalog import DATA_ARTIFACTS, STEPS
from data_contracts.catalog import CONTRACTS, contract_for
from data_contracts.contract import Column, Contract, JsonRecords, ParquetRows
from data_contracts.expectations import Between, HasColumns, InSet, MatchesPattern, NotNull, RowCountBetween, Severity

BLOCK = Severity.BLOCK


def view(*expectations, **changes):
    fields = {
        "name": "files",
        "files": "*.parquet",
        "columns": (Column(name="path", type="string"), Column(name="content", type="string")),
        "not_loaded": ("content",),
        "key": ("path",),
        "max_rows": 10,
        "seed": 0,
        "expectations": (HasColumns(severity=BLOCK, why="w"), *expectations),
    }
    return ParquetRows(**(fields | changes))


def contract(*views):
    return Contract(artifact="things", promise="p", views=views)


def test_every_contract_is_about_an_artifact_that_a_step_makes():
    assert set(CONTRACTS) <= {step.output for step in STEPS}
    assert all(contract_for(artifact).artifact == artifact for artifact in CONTRACTS)


def test_every_artifact_of_the_corpus_has_a_contract():
    assert [artifact for artifact in DATA_ARTIFACTS if contract_for(artifact) is None] == []


def test_an_artifact_without_a_contract_has_none():
    assert contract_for("checkpoint") is None


@pytest.mark.parametrize("artifact", CONTRACTS)
def test_a_contract_is_data_and_survives_json(artifact):
    there = contract_for(artifact)
    back = Contract.model_validate_json(there.model_dump_json())
    assert back == there
    assert back.digest == there.digest


@pytest.mark.parametrize("artifact", CONTRACTS)
def test_every_expectation_says_why_and_no_two_of_a_view_say_the_same(artifact):
    for there in contract_for(artifact).views:
        texts = [expected.text for expected in there.expectations]
        assert len(set(texts)) == len(texts)
        assert all(expected.why.endswith(".") for expected in there.expectations)


def test_no_contract_loads_the_text_of_the_files():
    views = [there for one in CONTRACTS.values() for there in one.views if isinstance(there, ParquetRows)]
    assert views
    assert not any("content" in there.column_names for there in views)


def test_the_digest_moves_with_a_threshold():
    strict = contract(view(NotNull(severity=BLOCK, why="w", column="path")))
    lax = contract(view(NotNull(severity=BLOCK, why="w", column="path", at_least_fraction=0.5)))
    assert strict.digest != lax.digest
    assert len(strict.digest) == 64


@pytest.mark.parametrize("column", ["route", "content"])
def test_an_expectation_of_a_column_that_is_not_loaded_is_refused(column):
    with pytest.raises(ValidationError, match=f"no column '{column}'"):
        contract(view(NotNull(severity=BLOCK, why="w", column=column)))


def test_two_views_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="share a name"):
        contract(view(), view())


def test_columns_that_are_declared_must_be_expected():
    with pytest.raises(ValidationError, match="declared if and only if expected"):
        contract(JsonRecords(name="report", file="r.json", columns=(), expectations=()))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Between(severity=BLOCK, why="w", column="a", minimum=2, maximum=1),
        lambda: Between(severity=BLOCK, why="w", column="a"),
        lambda: Between(severity=BLOCK, why="w", column="a", minimum=float("nan")),
        lambda: RowCountBetween(severity=BLOCK, why="w"),
        lambda: InSet(severity=BLOCK, why="w", column="a", allowed=()),
        lambda: NotNull(severity=BLOCK, why="w", column="a", at_least_fraction=0),
        lambda: NotNull(severity="maybe", why="w", column="a"),
    ],
)
def test_an_expectation_that_expects_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        wrong()


def test_a_broken_pattern_is_refused():
    with pytest.raises(Exception, match="unterminated"):
        MatchesPattern(severity=BLOCK, why="w", column="a", pattern="[", form="f")


def test_expectations_say_themselves_in_words():
    assert (
        Between(severity=BLOCK, why="w", column="size_bytes", minimum=1, maximum=2**31).text
        == "size_bytes must be between 1 and 2,147,483,648"
    )
    assert (
        NotNull(severity=BLOCK, why="w", column="license", at_least_fraction=0.9).text
        == "license must not be null in at least 90% of the rows"
    )
    assert InSet(severity=BLOCK, why="w", column="split", allowed=("a", "b")).text == "split must be a or b"
    assert RowCountBetween(severity=BLOCK, why="w", minimum=3, maximum=3).text == "the number of rows must be 3"


def test_contracts_are_read_without_great_expectations():
    code = (
        "import sys, data_contracts.catalog, data_contracts.report, data_contracts.views\n"
        "heavy = {'great_expectations', 'pandas', 'torch'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
