"""Sources full of bad input, through the door: each is quarantined under its rule, and the build goes on. About 3 s."""

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.catalog import step_named
from components.config import PipelineConfig, load_config, parse_config
from components.lineage import StepRecord
from components.run_step import run_step
from components.settings import Settings
from components.tables import read_dropped, read_files

ROOT = Path(__file__).parents[2]
STEPS = (
    *("collect_opt_outs", "ingest_sources", "ingest_issues", "ingest_commits"),
    *("filter_quality", "convert_notebooks", "render_issues", "render_commits", "permit_files"),
)
CODE = "def greet(name):\n    return f'Hello, {name}, nice to see you here again today'\n" * 3


def notebook(**members: object) -> bytes:
    cells = [{"cell_type": "code", "id": "same", "source": CODE, "outputs": []} for _ in range(2)]
    python = {"language_info": {"name": "python"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": python, "cells": cells} | members).encode()


def event(number: int, **payload: object) -> bytes:
    issue = {"number": number, "title": "It fails", "state": "open", "body": "It fails whenever I start it. " * 9}
    issue |= {"user": {"login": "ann"}, "created_at": "2021-01-01T00:00:00Z"}
    told = {"id": str(number), "type": "IssuesEvent", "actor": {"login": "ann"}, "repo": {"name": "owner/project"}}
    return json.dumps(
        told | {"created_at": "2021-01-01T00:00:00Z", "payload": {"action": "opened", "issue": issue} | payload}
    ).encode()


@pytest.fixture
def workspace(tmp_path: Path, repository) -> Path:
    """One good thing of each kind of source among the bad ones."""
    tree = tmp_path / "tree"
    tree.mkdir()
    files = {
        "good.py": CODE.encode(),
        "nul.py": b"x = 1\0\n",
        "surrogate.py": b"x = '\xed\xa0\x80'\n",
        "bidi.py": f"{CODE}# \u202e\n".encode(),
        "empty.py": b"",
        "new\nline.py": CODE.encode(),
        "good.ipynb": notebook(),
        "duplicate_ids.ipynb": notebook(metadata={"language_info": {"name": "python"}, "x": 1}),
        "nbformat_99.ipynb": notebook(nbformat=99),
        "deep.ipynb": b'{"nbformat": 4, "cells": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "lone.ipynb": notebook(cells=[{"cell_type": "code", "source": CODE + "'\ud800'", "outputs": []}]),
    }
    for name, content in files.items():
        (tree / name).write_bytes(content)
    table = pa.table({"content": [CODE + "# of the table\n"], "max_stars_repo_path": ["table.py"]})
    (tmp_path / "tables").mkdir()
    pq.write_table(table, tmp_path / "tables" / "good.parquet")
    whole = (tmp_path / "tables" / "good.parquet").read_bytes()
    (tmp_path / "tables" / "truncated.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "events").mkdir()
    deep = b'{"type": "IssuesEvent", "payload": ' + b"[" * 10_000
    lines = [event(1), b"this is no JSON", b"", deep, event(2, issue=7), b"\xff\xfe", event(3)]
    (tmp_path / "events" / "2021.json.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    repository.commit({"a.py": CODE.encode(), "lost.py": b"print('lost')\n"}, "Begin with two files that say hello")
    lost = repository.git("rev-parse", "HEAD:lost.py")
    repository.commit({"a.py": (CODE * 2).encode()}, "Say hello twice as often to everybody here")
    os.remove(repository.loose_object(lost))
    (tmp_path / "opt_outs.yaml").write_text("repositories: []\nusers: []\n")
    return tmp_path


@pytest.fixture
def config() -> PipelineConfig:
    raw = load_config(ROOT / "params.yaml").model_dump()
    source = {"repository": "owner/project", "license": "MIT", "exclude": []}
    raw["ingest_sources"]["sources"] = [
        source | {"name": "tree", "kind": "directory", "path": "tree"},
        source | {"name": "tables", "kind": "parquet", "path": "tables"},
        source | {"name": "git", "kind": "git", "path": "repository", "revision": "HEAD", "history": True},
    ]
    raw["ingest_issues"]["sources"] = [{"name": "events", "path": "events", "license": "MIT"}]
    history = raw["ingest_commits"]["histories"][0]
    raw["ingest_commits"]["histories"] = [history | {"path": "repository", "license": "MIT"}]
    return parse_config(raw, "bad sources")


def test_each_bad_thing_is_quarantined_under_its_rule_and_the_build_goes_on(
    workspace: Path, config: PipelineConfig
) -> None:
    settings = Settings(workspace=workspace)
    records: dict[str, StepRecord] = {name: run_step(step_named(name), config, settings) for name in STEPS}
    found = {
        (row["path"] or "a whole line or commit", row["rule"])
        for record in records.values()
        if "files" in record.summary
        for batch in read_dropped(settings.artifacts_dir / record.artifact)
        for row in batch.to_pylist()
    }
    assert {
        ("truncated.parquet", "unreadable"),
        ("nul.py", "binary"),
        ("surrogate.py", "not_utf8"),
        ("bidi.py", "bidi_controls"),
        ("empty.py", "empty"),
        ("new\nline.py", "path_characters"),
        ("nbformat_99.ipynb", "notebook_format"),
        ("deep.ipynb", "json_depth"),
        ("lost.py", "unreadable"),
    } <= found
    issues = settings.artifacts_dir / records["ingest_issues"].artifact
    bad_lines = [row for batch in read_dropped(issues) for row in batch.to_pylist()]
    assert sorted((row["rule"], row["path"]) for row in bad_lines) == [
        *(("not_json", f"2021.json.gz:{line}") for line in (2, 4, 6)),
        ("wrong_type", "2021.json.gz:5"),
    ]
    for record in records.values():
        if "files" in record.summary:
            counted = record.summary["files"]["dropped_by_rule"]
            assert sum(counted.values()) == record.summary["files"]["dropped_files"]
    kept = [row for batch in read_files(settings.artifacts_dir / "permitted_files") for row in batch.to_pylist()]
    assert {(row["kind"], row["path"]) for row in kept} >= {
        ("file", "good.py"),
        ("file", "table.py"),
        ("notebook_script", "good.ipynb"),
        ("notebook_script", "duplicate_ids.ipynb"),
        ("notebook_script", "lone.ipynb"),
        ("issue", "issues/1"),
        ("issue", "issues/3"),
        ("commit", "a.py"),
    }
    assert records["convert_notebooks"].summary["files"]["kept_files"] > 0
