"""Licences and opt-outs: every part of an expression counts, and whoever asked is asked for again at the gate."""

import json

import pytest

from components.corpus.config import PermitFilesConfig
from components.corpus.license_policy import LicensePolicy
from components.corpus.permit_files import run
from components.errors import EmptyArtifactError, ParamsError
from components.tables import read_dropped, read_files

PERMISSIVE = LicensePolicy(frozenset({"Permissive", "Public Domain"}), frozenset())


def config(**changes):
    fields = {"recipe": 1, "permitted_categories": ["Permissive"], "also_permitted": [], "unlicensed": "drop"}
    return PermitFilesConfig.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("expression", "permitted"),
    [
        ("MIT", True),
        ("Python-2.0", True),
        ("CC0-1.0", True),
        ("Unlicense", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0", False),
        ("MPL-2.0", False),
        ("SSPL-1.0", False),
        ("MIT AND Apache-2.0", True),
        ("MIT AND GPL-2.0-or-later", False),
        ("MIT OR GPL-2.0-or-later", True),
        ("(MIT OR GPL-3.0-only) AND MPL-2.0", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("No-Such-License-9", False),
        ("not an expression at all (", False),
        ("", False),
    ],
)
def test_every_part_of_an_expression_counts(expression, permitted):
    assert PERMISSIVE.permits(expression) is permitted


def test_a_licence_can_be_permitted_by_name():
    assert LicensePolicy(frozenset({"Permissive"}), frozenset({"MPL-2.0"})).permits("MIT AND MPL-2.0")


@pytest.fixture
def permit(table_of, tmp_path):
    """Call it with rows per input and opt-outs: the summary, the kept and the dropped rows."""

    def call(parameters, files, issues=(), opted_out=()):
        place = tmp_path / f"permit-{len(list(tmp_path.iterdir()))}"
        for name in ("out", "opt_outs"):
            (place / name).mkdir(parents=True)
        listed = {"repositories": [name for name in opted_out if "/" in name]}
        listed["users"] = [name for name in opted_out if "/" not in name]
        (place / "opt_outs/opt_outs.json").write_text(json.dumps(listed))
        empty = table_of([])
        summary = run(
            parameters,
            quality_files=table_of(files),
            notebook_files=empty,
            issue_files=table_of(issues),
            commit_files=empty,
            opt_outs=place / "opt_outs",
            out=place / "out",
            work_dir=place / "work",
        )
        kept = [row for batch in read_files(place / "out") for row in batch.to_pylist()]
        return summary, kept, [row for batch in read_dropped(place / "out") for row in batch.to_pylist()]

    return call


def test_all_kinds_go_on_as_one_table_and_each_drop_says_why(permit):
    files = [
        {"content": "a", "license": "MIT", "path": "a.py"},
        {"content": "b", "license": None, "path": "b.py"},
        {"content": "c", "license": "GPL-3.0-only", "path": "c.py"},
        {"content": "d", "license": "MIT", "repository": "Gone/Away", "path": "d.py"},
        {"content": "e", "license": "MIT", "repository": "nobody/tools", "path": "e.py"},
    ]
    issues = [{"content": "talk", "kind": "issue", "license": "MIT", "path": "issues/1"}]
    summary, kept, dropped = permit(config(), files, issues, ["gone/away", "Nobody"])
    assert [row["path"] for row in kept] == ["a.py", "issues/1"]
    assert {row["path"]: (row["rule"], row["value"]) for row in dropped} == {
        "b.py": ("no_license", "none"),
        "c.py": ("license", "GPL-3.0-only"),
        "d.py": ("opted_out_repository", "Gone/Away"),
        "e.py": ("opted_out_repository", "nobody/tools"),
    }
    assert summary.files_by_kind == {"file": 1, "issue": 1}
    assert summary.files_by_license == {"MIT": 2}


def test_what_has_no_licence_is_kept_where_the_section_says_so(permit):
    summary, kept, dropped = permit(config(unlicensed="keep"), [{"content": "b", "license": None}])
    assert (len(kept), dropped) == (1, [])
    assert summary.files_by_license == {"unknown": 1}


def test_nothing_permitted_is_told_with_the_reasons(permit):
    with pytest.raises(EmptyArtifactError, match=r"permits none of 1 files \(dropped: license 1\)"):
        permit(config(), [{"content": "b", "license": "GPL-2.0-only"}])


def test_a_category_that_no_licence_has_is_refused_with_those_there_are(permit):
    with pytest.raises(ParamsError, match=r"names 'Permisive', .* Permissive"):
        permit(config(permitted_categories=["Permisive"]), [{"content": "b", "license": "MIT"}])
