"""The contracts beside the corpus: each holds on what its step writes, and each breach is named."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.catalog import contract_for
from data_contracts.columns import BENCHMARK_OVERLAPS, EVAL_PROBLEMS, REDACTIONS
from data_contracts.engine import check

LETTERS = [chr(256 + byte) for byte in range(256)]
SPECIAL = [f"<special_{number}>" for number in range(19)]
GOOD = {
    "opt_outs": {"opt_outs.json": {"repositories": ["owner/name", "other/name"], "users": ["login"]}},
    "pii_tagger": {
        "tagger.json": {"enabled": True, "encoder": {}, "overlap_tokens": 32},
        "scores.json": {
            name: {"precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 12} for name in ("EMAIL", "NAME", "all")
        },
    },
    "tokenizer": {
        "tokenizer.json": {
            "added_tokens": [{"id": n, "content": token, "special": True} for n, token in enumerate(SPECIAL)],
            "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": {token: n for n, token in enumerate([*SPECIAL, *LETTERS])}, "merges": []},
        }
    },
    "dataset_card": {
        "facts.json": {
            "title": "a corpus",
            "funnel": [{"artifact": "raw_files", "kept_files": 3, "kept_bytes": 90, "dropped_files": 1}],
            "by_language": {"files": {"python": 3}, "bytes": {"python": 90}},
            "by_license": {"files": {"MIT": 3}, "bytes": {"MIT": 90}},
            "repositories": 1,
            "tokens_by_split": {"train": 30},
            "near_duplicates": 0,
            "least_jaccard": None,
        }
    },
}


@pytest.fixture
def audit(tmp_path):
    """Call it with an artifact's name and its documents by file name: the report."""

    def call(name, documents):
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        for file, document in documents.items():
            (place / file).write_text(json.dumps(document), "utf-8")
        return check(contract_for(name), place, tmp_path / "docs")

    return call


@pytest.mark.parametrize("name", GOOD)
def test_what_the_step_writes_holds(audit, name):
    report = audit(name, GOOD[name])
    assert report.verdict == "passed", report.sentence()


def test_opt_outs_without_a_name_and_a_tagger_that_is_off_hold(audit):
    assert audit("opt_outs", {"opt_outs.json": {"repositories": [], "users": []}}).verdict == "passed"
    off = {"tagger.json": {"enabled": False, "encoder": None, "overlap_tokens": 0}}
    assert audit("pii_tagger", off).verdict == "passed"


def changed(document, way, value):
    """A copy with another value at the end of the way; Ellipsis takes the member out."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for step in way[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("name", "way", "value", "told"),
    [
        ("opt_outs", ("opt_outs.json", "repositories", 0), "no_slash", "value must be owner/name in lower case"),
        ("opt_outs", ("opt_outs.json", "repositories", 0), "Owner/Name", "value must be owner/name in lower case"),
        ("opt_outs", ("opt_outs.json", "repositories", 0), 7, "value must not be null"),
        ("opt_outs", ("opt_outs.json", "repositories", 1), "owner/name", "value must be unique"),
        ("opt_outs", ("opt_outs.json", "users", 0), "two words", "value must be a login in lower case"),
        ("opt_outs", ("opt_outs.json", "users"), ..., "the number of rows must be 2"),
        ("opt_outs", ("opt_outs.json", "people"), ["login"], "list must be repositories or users"),
        ("pii_tagger", ("tagger.json", "enabled"), "yes", "enabled must not be null"),
        ("pii_tagger", ("scores.json", "NAME", "recall"), 1.2, "recall must be between 0 and 1"),
        ("pii_tagger", ("scores.json", "NAME", "f1"), None, "f1 must not be null"),
        ("tokenizer", ("tokenizer.json", "model", "type"), "Unigram", "model.type must be BPE"),
        ("tokenizer", ("tokenizer.json", "model", "vocab", LETTERS[0]), 20, "value must be unique"),
        ("tokenizer", ("tokenizer.json", "model", "vocab", LETTERS[0]), 2**16, "value must be between 0 and 65,535"),
        ("tokenizer", ("tokenizer.json", "model", "vocab", LETTERS[0]), ..., "number of rows must be between 275 and"),
        ("tokenizer", ("tokenizer.json", "added_tokens", 3, "special"), False, "special must be True"),
        ("tokenizer", ("tokenizer.json", "added_tokens", 3, "id"), 2, "id must be unique"),
        ("dataset_card", ("facts.json", "funnel", 0, "dropped_files"), -1, "dropped_files must be at least 0"),
        ("dataset_card", ("facts.json", "least_jaccard"), 1.5, "least_jaccard must be between 0 and 1"),
        ("dataset_card", ("facts.json", "title"), ..., "title must not be null"),
    ],
)
def test_a_breach_blocks_and_is_named(audit, name, way, value, told):
    report = audit(name, changed(GOOD[name], way, value))
    assert report.blocked
    assert any(told in failure.text for failure in report.failures), report.to_markdown()


@pytest.mark.parametrize("name", GOOD)
def test_a_file_that_cannot_be_read_blocks(audit, name, tmp_path):
    (tmp_path / name).mkdir()
    file = next(iter(GOOD[name]))
    (tmp_path / name / file).write_bytes(b"{")
    assert audit(name, {}).blocked


def problem(number):
    asked = {"language": "python", "prompt": "p", "canonical_solution": "s", "test": "t", "entry_point": "e"}
    texts = [{"kind": "docstring", "text": "d"}]
    return {"task_id": f"HumanEval/{number}", "benchmark": "humaneval", "uses": ["search"], "texts": texts} | asked


def test_problems_have_names_of_their_own(audit, tmp_path):
    place = tmp_path / "eval_problems"
    place.mkdir()
    for rows, verdict in (([problem(0), problem(1)], "passed"), ([problem(0), problem(0)], "blocked"), ([], "blocked")):
        pq.write_table(pa.Table.from_pylist(rows, EVAL_PROBLEMS), place / "problems.parquet", write_page_checksum=True)
        report = audit("eval_problems", {})
        assert report.verdict == verdict, report.to_markdown()


@pytest.mark.parametrize(
    ("name", "table", "schema", "row", "told"),
    [
        ("redacted_files", "redactions", REDACTIONS, {"entity": "phone"}, "entity must be email or"),
        ("redacted_files", "redactions", REDACTIONS, {"end_byte": 3}, "start_byte must not exceed end_byte"),
        ("clean_files", "overlaps", BENCHMARK_OVERLAPS, {"end_byte": 3}, "start_byte must not exceed end_byte"),
    ],
)
def test_spans_are_held_to_their_columns_where_there_are_any(
    audit, artifacts, tmp_path, name, table, schema, row, told
):
    artifacts.write_files(tmp_path / name, [artifacts.code_file(number) for number in range(120)])
    assert not audit(name, {}).blocked
    good = {"start_byte": 4, "end_byte": 9, "entity": "email", "rule": "email", "kind": "ngram", "size_bytes": 20}
    full = {field.name: "x" for field in schema} | {key: good[key] for key in good if key in schema.names}
    place = tmp_path / name / f"{table}-00000.parquet"
    pq.write_table(pa.Table.from_pylist([full], schema), place, write_page_checksum=True)
    assert not audit(name, {}).blocked
    pq.write_table(pa.Table.from_pylist([full | row], schema), place, write_page_checksum=True)
    report = audit(name, {})
    assert report.blocked
    assert any(told in failure.text for failure in report.failures)
