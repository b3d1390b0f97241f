"""Each contract on a good artifact, on one that only warns, and on artifacts that break every blocking expectation."""

import copy
import json
import re
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.catalog import contract_for
from data_contracts.columns import BENCHMARK_OVERLAPS, CODE_FILES
from data_contracts.engine import check
from data_contracts.expectations import Severity
from data_contracts.report import ContractReport


@pytest.fixture
def audit(tmp_path):
    """Check an artifact against the contract of that name."""
    return lambda artifact, path, **upstream: check(contract_for(artifact), path, tmp_path / "docs", upstream=upstream)


@pytest.fixture(scope="module")
def broken_reports(tmp_path_factory, artifacts):
    """Two reports per contract; together their artifacts break every blocking expectation."""
    base = tmp_path_factory.mktemp("broken")
    nowhere = base / "nowhere"
    nowhere.mkdir()
    raw = break_files(base / "raw", artifacts)
    clean, unique, few = break_clean(base, artifacts)
    tokens = break_tokens(base / "tokens", artifacts)
    evaluation = break_evaluation(base / "evaluation", artifacts)

    def audited(artifact, path, **upstream):
        return check(contract_for(artifact), path, base / "docs", upstream=upstream)

    return {
        "raw_files": [audited("raw_files", raw), audited("raw_files", nowhere)],
        "clean_files": [
            audited("clean_files", clean, raw_files=few, unique_files=unique),
            audited("clean_files", nowhere),
        ],
        "token_shards": [audited("token_shards", tokens), audited("token_shards", nowhere)],
        "eval_report": [audited("eval_report", evaluation), audited("eval_report", nowhere)],
    }


def break_files(out, artifacts):
    """One fault per row where that is possible, and one fault per shard."""
    rows = [artifacts.code_file(number) for number in range(120)]
    rows[1]["file_id"] = None
    rows[2]["file_id"] = "ABC"
    rows[4]["file_id"] = rows[3]["file_id"]
    rows[5]["content_sha256"] = None
    rows[6]["content_sha256"] = rows[6]["content_sha256"] + "\n"
    rows[7]["size_bytes"] = None
    rows[8]["size_bytes"] = 0
    rows[9]["source"] = None
    rows[10]["repository"] = None
    rows[11]["repository"] = ""
    rows[12]["path"] = None
    rows[13]["path"] = "/etc/passwd"
    rows[14]["content"] = None
    dropped = [artifacts.dropped_file(number) for number in range(4)]
    dropped[1]["rule"] = None
    dropped[2]["rule"] = "Too long!"
    dropped[3]["file_id"] = None
    artifacts.write_files(out, rows, dropped, schema=artifacts.nullable(CODE_FILES))
    pq.write_table(CODE_FILES.empty_table(), out / "files-00007.parquet")
    (out / "files-00008.parquet").write_bytes(b"cut off")
    dropped_table = pq.read_table(out / "dropped-00000.parquet")
    pq.write_table(dropped_table.drop_columns(["detail"]), out / "dropped-00000.parquet")
    return out


def break_clean(base, artifacts):
    rows = [artifacts.code_file(number) for number in range(120)]
    rows[2]["content_sha256"] = rows[1]["content_sha256"]
    rows[3]["language"] = None
    rows[4]["language"] = "C Plus Plus"
    clean = artifacts.write_files(base / "clean", rows, [artifacts.dropped_file(0)])
    break_overlaps(clean, artifacts)
    unique = artifacts.write_files(base / "unique", rows + [artifacts.code_file(n) for n in range(120, 130)])
    few = artifacts.write_files(base / "few", rows[:50])
    return clean, unique, few


def break_overlaps(out, artifacts):
    """A row for each thing that a span must say, and a table without one of its columns."""
    hit = {name: "x" for name in BENCHMARK_OVERLAPS.names} | {"size_bytes": 9, "start_byte": 1, "end_byte": 2}
    faults = ({"file_id": None}, {"benchmark": None}, {"task_id": None}, {"kind": None}, {"start_byte": -1})
    rows = [hit | fault for fault in (*faults, {"start_byte": 3})]
    table = pa.Table.from_pylist(rows, schema=artifacts.nullable(BENCHMARK_OVERLAPS))
    pq.write_table(table, out / "overlaps-00000.parquet")
    pq.write_table(table.drop_columns(["commit"]), out / "overlaps-00001.parquet")


def break_tokens(out, artifacts):
    manifest = artifacts.token_manifest()
    manifest |= {"format": 1, "dtype": "int64", "vocab_size": 70_000}
    splits = manifest["splits"]
    train, validation, test = (splits[name]["sources"] for name in ("train", "validation", "test"))
    splits["train"] |= {"tokens": 0, "documents": 0, "bytes": 0}
    long, other = train["python"]["shards"]
    long |= {"tokens": 59_999, "sha256": "none"}
    other["documents"] = 0
    train["issue"] |= {"documents": 0}
    splits["test"] |= {"tokens": None, "documents": None}
    test["C#"] = test.pop("c-sharp") | {"tokens": None, "shards": [{"file": "../manifest.json"}]}
    validation["python"]["shards"] = [
        {"file": "validation-python-00000.bin", "tokens": 0, "documents": 10, "sha256": "0" * 64},
        {"file": "validation-python-00000.bin", "tokens": 300, "documents": 400, "sha256": "0" * 64},
        {"file": None, "tokens": "7", "documents": 1, "sha256": "0" * 64},
    ]
    splits["holdout"] = {"tokens": 5, "documents": 1, "bytes": 5, "sources": {}}
    break_indexes(train, validation, test)
    artifacts.write_tokens(out, manifest)
    rows = artifacts.indexed_documents(20, 85_000)
    rows[3] |= {"repository": ""}
    rows[4] |= {"repository": None}
    rows[5] |= {"tokens": 0}
    artifacts.write_index(out / "train-python-documents.parquet", rows)
    artifacts.write_index(out / "train-issue-documents.parquet", [])
    (out / "test-python-documents.parquet").write_bytes(b"no Parquet")
    return out


def break_indexes(train, validation, test):
    """In the manifest."""
    train["python"]["index"] |= {"documents": 19, "sha256": "none"}
    train["issue"]["index"] |= {"file": "../manifest.json"}
    validation["python"]["index"] |= {"file": "train-python-documents.parquet", "sha256": None}
    test["python"]["index"] |= {"file": None}
    test["C#"]["index"] |= {"file": "train-python-documents.parquet"}
    test["C#"]["index"].pop("documents")


def break_evaluation(out, artifacts):
    report = artifacts.evaluation()
    report |= {"format": 9, "split": "train", "bits_per_byte": 8.5, "perplexity_per_token": 0.5}
    report["baseline"]["bits_per_byte"] = -0.1
    report["held_out"] = {"files": 0, "bytes": 0, "tokens": 0}
    report["problems"]["syntax_valid_fraction"] = 1.5
    report["fill_in_middle"]["exact_match_fraction"] = -1
    report["per_language"] = [
        {"language": "c", "files": 0, "bytes": 0, "bits_per_byte": 9, "baseline_bits_per_byte": 9},
        {"language": "c", "files": 1, "bytes": 1, "bits_per_byte": None, "baseline_bits_per_byte": None},
        {"language": None, "files": 1, "bytes": 1, "bits_per_byte": 1, "baseline_bits_per_byte": 1},
    ]
    return artifacts.write_evaluation(out, report)


def failing_keys(report, text, view=None):
    """Keys of the rows that are named for the broken expectation."""
    (found,) = [one for one in report.failures if one.text == text and view in (None, one.view)]
    return [row.key for row in found.examples]


def good(artifacts, base, artifact):
    match artifact:
        case "raw_files" | "clean_files":
            rows = [artifacts.code_file(number) for number in range(120)]
            return artifacts.write_files(base / artifact, rows, [artifacts.dropped_file(1)])
        case "token_shards":
            return artifacts.write_tokens(base / artifact)
        case _:
            return artifacts.write_evaluation(base / artifact)


@pytest.mark.parametrize("artifact", ["raw_files", "clean_files", "token_shards", "eval_report"])
def test_a_good_artifact_passes_and_a_second_check_reports_the_same_bytes(artifact, artifacts, audit, tmp_path):
    path = good(artifacts, tmp_path, artifact)
    page = tmp_path / "docs" / artifact / "index.html"
    report = audit(artifact, path)
    first = page.read_bytes()
    assert report.verdict == "passed", report.sentence()
    assert report.sentence() == f"contract of {artifact} holds: {len(report.results)} expectations"
    again = audit(artifact, path)
    assert again.model_dump_json() == report.model_dump_json()
    assert page.read_bytes() == first
    assert ContractReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("artifact", ["raw_files", "clean_files", "token_shards", "eval_report"])
def test_every_blocking_expectation_blocks_when_it_is_broken(artifact, broken_reports):
    reports = broken_reports[artifact]
    assert all(report.blocked for report in reports)
    broken = {(one.view, one.text) for report in reports for one in report.failures}
    expected = {
        (view.name, one.text)
        for view in contract_for(artifact).views
        for one in view.expectations
        if one.severity is Severity.BLOCK
    }
    tested_on_raw_files = {(one.view, one.text) for report in broken_reports["raw_files"] for one in report.failures}
    assert expected - broken - (tested_on_raw_files if artifact == "clean_files" else set()) == set()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("rows must not be null", ("files-00008.parquet",)),
        ("rows must be at least 1", ("files-00007.parquet",)),
        ("file_id_nulls must be at most 0", ("files-00000.parquet",)),
        ("content_nulls must be at most 0", ("files-00000.parquet",)),
        ("file_id must be 32 lower-case hex digits", ("python/cpython", "Lib/module_2.py")),
        ("file_id must be unique", ("python/cpython", "Lib/module_3.py")),
        ("content_sha256 must not be null", ("python/cpython", "Lib/module_5.py")),
        ("content_sha256 must be 64 lower-case hex digits", ("python/cpython", "Lib/module_6.py")),
        ("size_bytes must be between 1 and 2,147,483,648", ("python/cpython", "Lib/module_8.py")),
        ("source must not be null", ("python/cpython", "Lib/module_9.py")),
        ("repository must not be null", ("null", "Lib/module_10.py")),
        ("repository must be a name that is not empty", ("", "Lib/module_11.py")),
        ("path must not be null", ("python/cpython", "null")),
        ("path must be a relative path that is not empty", ("python/cpython", "/etc/passwd")),
        ("rule must be a word in snake case", ("python/cpython", "Lib/dropped_2.py")),
    ],
)
def test_a_broken_file_is_named_by_repository_and_path(text, key, broken_reports):
    assert failing_keys(broken_reports["raw_files"][0], text)[0] == key


def test_an_unreadable_shard_is_named_with_its_columns(broken_reports):
    keys = failing_keys(
        broken_reports["raw_files"][0], "every file must have the declared columns with their types", "files"
    )
    assert keys[0] == ("files-00008.parquet", "file_id")


def test_a_missing_column_is_named(broken_reports):
    keys = failing_keys(
        broken_reports["raw_files"][0], "every file must have the declared columns with their types", "dropped"
    )
    assert keys == [("dropped-00000.parquet", "detail")]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("kind with content_sha256 must be unique", ("python/cpython", "Lib/module_1.py")),
        ("language must not be null", ("python/cpython", "Lib/module_3.py")),
        ("language must be a lower-case language name", ("python/cpython", "Lib/module_4.py")),
        ("all_rows must equal upstream_rows", ("unique_files",)),
    ],
)
def test_a_broken_clean_file_is_named(text, key, broken_reports):
    assert failing_keys(broken_reports["clean_files"][0], text)[0] == key


@pytest.mark.parametrize(
    ("text", "view", "key"),
    [
        ("split must be train or validation or test", "splits", ("holdout",)),
        ("tokens must equal tokens_of_sources", "splits", ("train",)),
        ("documents must equal documents_of_sources", "splits", ("train",)),
        ("bytes must equal bytes_of_sources", "splits", ("train",)),
        ("tokens_of_sources must not be null", "splits", ("test",)),
        ("source must be a lower-case word of a file name", "sources", ("test", "C#")),
        ("tokens must equal tokens_of_shards", "sources", ("train", "python")),
        ("documents must equal documents_of_shards", "sources", ("train", "python")),
        ("tokens_of_shards must not be null", "sources", ("validation", "python")),
        ("documents must be at least 1", "sources", ("train", "issue")),
        ("file must be a bare name such as train-python-00000.bin", "shards", ("test", "C#", "../manifest.json")),
        ("file must be unique", "shards", ("validation", "python", "validation-python-00000.bin")),
        ("file_bytes must equal 2 x tokens", "shards", ("train", "python", "train-python-00000.bin")),
        ("file_bytes must not be null", "shards", ("validation", "python", "null")),
        ("documents must not exceed tokens", "shards", ("validation", "python", "validation-python-00000.bin")),
        ("sha256 must be 64 lower-case hex digits", "shards", ("train", "python", "train-python-00000.bin")),
        ("documents must equal index.documents", "sources", ("train", "python")),
        ("index.documents must not be null", "sources", ("test", "C#")),
        ("file must be a bare name such as train-python-documents.parquet", "indexes", ("train", "issue")),
        ("file must be unique", "indexes", ("train", "python")),
        ("file_bytes must not be null", "indexes", ("train", "issue")),
        ("sha256 must be 64 lower-case hex digits", "indexes", ("train", "python")),
        ("rows must not be null", "index_files", ("test-python-documents.parquet",)),
        ("rows must be at least 1", "index_files", ("train-issue-documents.parquet",)),
        ("repository must be a name that is not empty", "documents", ("", "m3.py")),
        ("tokens must be at least 1", "documents", ("o/p", "m5.py")),
    ],
)
def test_a_broken_shard_is_named_by_split_source_and_file(text, view, key, broken_reports):
    assert failing_keys(broken_reports["token_shards"][0], text, view)[0] == key


def test_a_comparison_shows_both_sides(broken_reports):
    (found,) = [
        one for one in broken_reports["token_shards"][0].failures if one.text == "file_bytes must equal 2 x tokens"
    ]
    assert found.examples[0].value == "file_bytes 120000, 2 x tokens 119998"


def test_an_empty_train_split_blocks_by_itself(artifacts, audit, tmp_path):
    manifest = artifacts.token_manifest()
    manifest["splits"]["train"] |= {"tokens": 0, "documents": 0, "sources": {}}
    report = audit("token_shards", artifacts.write_tokens(tmp_path / "tokens", manifest))
    assert report.blocked
    assert "splits.train.tokens must be at least 1" in {one.text for one in report.failures}


def test_a_report_with_numbers_that_are_not_finite_blocks(artifacts, audit, tmp_path):
    path = artifacts.write_evaluation(tmp_path / "evaluation", artifacts.evaluation() | {"bits_per_byte": float("nan")})
    assert audit("eval_report", path).sentence() == (
        "contract of eval_report broken: bits_per_byte must not be null: 1 of 1 rows of report fail, "
        "for example report.json (null)"
    )


def warning_files(artifacts, out):
    rows = [artifacts.code_file(number) for number in range(60)]
    for row in rows[:7]:
        row["license"] = None
    rows[8]["extension"] = ".PY"
    rows[9]["stars"] = -1
    rows[10]["size_bytes"] = 2**25
    return artifacts.write_files(out, rows)


def warning_tokens(artifacts, out):
    manifest = artifacts.token_manifest()
    python = artifacts.token_stream("train", "python", [60_000])
    del manifest["splits"]["test"]
    manifest["splits"]["train"] = python | {"sources": {"python": python}}
    del manifest["splits"]["train"]["shards"]
    return artifacts.write_tokens(out, manifest)


def warning_evaluation(artifacts, out):
    report = artifacts.evaluation()
    report |= {"bits_per_byte": 3.0, "perplexity_per_token": 1e6}
    report["held_out"]["bytes"] = 900
    for language in report["per_language"]:
        language["bytes"] = 450
    report["problems"] |= {"count": 0, "syntax_valid_fraction": None}
    return artifacts.write_evaluation(out, report)


@pytest.mark.parametrize(
    ("artifact", "write"),
    [
        ("raw_files", warning_files),
        ("clean_files", warning_files),
        ("token_shards", warning_tokens),
        ("eval_report", warning_evaluation),
    ],
)
def test_what_only_warns_never_blocks(artifact, write, artifacts, audit, tmp_path):
    report = audit(artifact, write(artifacts, tmp_path / "artifact"))
    assert report.verdict == "warned", report.sentence()
    warnings = {
        (view.name, one.text)
        for view in contract_for(artifact).views
        for one in view.expectations
        if one.severity is Severity.WARN
    }
    assert {(one.view, one.text) for one in report.failures} == warnings


def test_clean_files_that_only_shrank_pass_against_their_upstream(artifacts, audit, tmp_path):
    rows = [artifacts.code_file(number) for number in range(120)]
    upstream = artifacts.write_files(tmp_path / "upstream", rows)
    clean = artifacts.write_files(tmp_path / "clean", rows[:110], [artifacts.dropped_file(n) for n in range(10)])
    report = audit("clean_files", clean, raw_files=upstream, unique_files=upstream)
    assert report.verdict == "passed", report.sentence()
    assert report.unchecked == ()


def test_a_comparison_without_its_upstream_is_told_as_not_checked(artifacts, audit, tmp_path):
    report = audit("clean_files", good(artifacts, tmp_path, "clean_files"))
    assert report.unchecked == ("against_unique_files",)
    assert "for want of the upstream artifact: against\\_unique\\_files" in report.to_markdown()


def test_the_data_docs_name_every_expectation_and_neither_run_nor_fetch_anything(
    artifacts, audit, tmp_path, monkeypatch
):
    rows = [artifacts.code_file(number) for number in range(120)]
    rows[3] |= {"path": "/<script>alert(1)</script>", "content_sha256": "<img src=x onerror=alert(2)>"}
    monkeypatch.chdir(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = artifacts.write_files(tmp_path / "raw", rows)
    report = audit("raw_files", path)
    page = (tmp_path / "docs" / "raw_files" / "index.html").read_text("utf-8")
    assert all(one.text in page for one in report.results)
    assert "alert(1)" in page
    assert "alert(2)" in page
    assert not re.search(r"<(script|img|link|iframe|object)|https?://|url\(", page)
    assert "default-src 'none'" in page
    assert str(tmp_path) not in page
    assert list(scratch.iterdir()) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["docs", "raw", "scratch"]
    assert [entry.name for entry in (tmp_path / "docs").rglob("*")] == ["raw_files", "index.html"]


def test_a_million_rows_are_sampled(artifacts, audit, tmp_path):
    row = artifacts.code_file(0)
    artifacts.write_files(tmp_path / "raw", [])
    for shard in range(10):
        numbers = range(shard * 100_000, (shard + 1) * 100_000)
        columns = {field.name: pa.repeat(pa.scalar(row[field.name], field.type), 100_000) for field in CODE_FILES}
        columns |= {"file_id": pa.array([f"{n:032x}" for n in numbers]), "path": pa.array([f"p{n}" for n in numbers])}
        table = pa.table(columns, schema=CODE_FILES)
        pq.write_table(table, tmp_path / "raw" / f"files-{shard:05d}.parquet", row_group_size=50_000)
    report = audit("raw_files", tmp_path / "raw")
    assert report.verdict == "passed", report.sentence()
    sizes = {size.view: (size.rows, size.rows_total) for size in report.views}
    assert sizes["files"] == (100_000, 1_000_000)
    assert sizes["shards"] == (10, 10)
    assert "none of 100,000 sampled rows of files fail" in {one.observed for one in report.results}


def test_a_fault_in_one_shard_of_many_is_seen_in_the_footers(artifacts, audit, tmp_path):
    rows = [artifacts.code_file(number) for number in range(600)]
    path = artifacts.write_files(tmp_path / "raw", rows, rows_per_shard=2)
    (path / "files-00222.parquet").write_bytes(b"")
    report = audit("raw_files", path)
    assert failing_keys(report, "rows must not be null") == [("files-00222.parquet",)]


def test_a_flipped_byte_inside_a_shard_blocks_and_names_the_shard(artifacts, audit, tmp_path):
    rows = [artifacts.code_file(number) for number in range(120)]
    path = artifacts.write_files(tmp_path / "raw", rows)
    shard = path / "files-00001.parquet"
    metadata = pq.read_metadata(shard).row_group(0)
    position = next(n for n in range(metadata.num_columns) if metadata.column(n).path_in_schema == "path")
    column = metadata.column(position)
    raw = bytearray(shard.read_bytes())
    raw[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    shard.write_bytes(raw)
    report = audit("raw_files", path)
    assert report.blocked
    (found,) = [one for one in report.failures if one.text.startswith("every file must have")]
    assert found.examples[0].text == "files-00001.parquet:file_id (declared string, found unreadable)"


def test_a_manifest_of_hostile_values_is_a_finding_and_never_an_exception(artifacts, audit, tmp_path):
    manifest = copy.deepcopy(artifacts.token_manifest())
    hostile = {"shards": [{"file": "a\0b", "tokens": 2**70}, 7, None], "tokens": []}
    manifest["splits"]["\ud800<b>"] = {"sources": {"\udfff/..": hostile, "list": [], "number": 3}, "tokens": []}
    manifest["splits"]["train"]["sources"]["more"] = None
    path = artifacts.write_tokens(tmp_path / "tokens")
    (path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert audit("token_shards", path).blocked
