"""Collecting commits: what is kept of a history, what is dropped and why, and that nothing of its owner's runs."""

import json
import os
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.commits.ingest_commits import resolve_sources, run
from components.errors import CorruptArtifactError, SourceError

LINES = [b"line number %d\n" % number for number in range(60)]


def test_a_commit_of_one_file_becomes_a_row_with_all_that_is_known(repository, collected):
    repository.commit({"LICENSE": b"Permission to use, with or without fee is hereby granted", "src/a.py": b"x = 1\n"})
    variables = {"GIT_AUTHOR_NAME": "\u00c9va", "GIT_COMMITTER_DATE": "2021-02-03T04:05:06Z"}
    commit = repository.commit({"src/a.py": b"x = 2\n"}, "Mend\nx\n\nIt was wrong.\n", **variables)

    summary, [row], [first] = collected()
    assert row | {"file_id": ""} == {
        "file_id": "",
        "size_bytes": 12,
        "source": "made-up",
        "repository": "owner/project",
        "path": "src/a.py",
        "commit": commit,
        "license": "Apache-2.0",
        "stars": None,
        "forks": None,
        "updated_at": 1612325106,
        "language": "python",
        "extension": ".py",
        "author": "\u00c9va",
        "subject": "Mend x",
        "message": "Mend\nx\n\nIt was wrong.",
        "before": "x = 1\n",
        "after": "x = 2\n",
        "old_path": None,
        "num_files_in_commit": 1,
    }
    assert (first["rule"], first["value"], first["threshold"]) == ("max_files_per_commit", "2 files", "1 files")
    assert [history.model_dump() for history in summary.histories] == [
        {"name": "made-up", "commit": commit, "num_commits": 2, "files": summary.files.model_dump()}
    ]


def test_additions_deletions_and_emptied_files_have_an_empty_side(repository, collected):
    commits = [
        repository.commit({"a.py": b"1\n"}),
        repository.commit({"a.py": b""}),
        repository.commit({"a.py": b"\xef\xbb\xbf2\r\n"}),
        repository.commit({"a.py": None}),
    ]

    _, kept, dropped = collected()
    assert [(row["commit"], row["before"], row["after"]) for row in kept] == [
        (commits[0], "", "1\n"),
        (commits[1], "1\n", ""),
        (commits[2], "", "2\r\n"),
        (commits[3], "2\r\n", ""),
    ]
    assert len({row["file_id"] for row in kept}) == 4
    assert dropped == []


def test_a_renamed_file_is_one_and_has_its_old_path(repository, collected, reasons):
    repository.commit({"a.py": b"".join(LINES), "b.py": b"b\n"})
    renamed = repository.commit({"a.py": None, "deep/c.py": b"".join([*LINES[:50], b"new\n"])})
    moved = repository.commit({"b.py": None, "d.py": b"b\n"})
    replaced = repository.commit({"d.py": None, "e.py": b"something else\n"})

    _, [row], dropped = collected()
    assert (row["commit"], row["path"], row["old_path"]) == (renamed, "deep/c.py", "a.py")
    assert (row["before"], row["num_files_in_commit"]) == (b"".join(LINES).decode(), 1)
    assert reasons(dropped)[1:] == [(moved, "d.py", "no_change"), (replaced, "", "max_files_per_commit")]


def test_more_files_are_taken_where_the_config_allows_them(repository, collected, ingest_config):
    repository.commit({"LICENSE": b"all mine\n"})
    small = repository.commit({"a.py": b"1\n", "b.py": b"2\n", "uv.lock": b"3\n"})
    large = repository.commit({f"{number}.py": b"1\n" for number in range(7)})

    _, kept, dropped = collected(ingest_config({"exclude": ["*.lock", "LICENSE"]}, max_files_per_commit=3))
    assert [(row["path"], row["commit"], row["num_files_in_commit"]) for row in kept] == [
        ("a.py", small, 3),
        ("b.py", small, 3),
    ]
    [row] = dropped
    assert (row["commit"], row["value"], row["threshold"]) == (large, "more than 6 paths", "3 files")


def test_merges_and_commits_that_change_nothing_are_dropped_and_counted(repository, collected, reasons):
    repository.commit({"a.py": b"1\n"})
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit({"b.py": b"1\n"})
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "-m", "merge", "side")
    merge = repository.git("rev-parse", "HEAD")
    empty = repository.commit({})
    (repository.root / "a.py").chmod(0o755)
    mode = repository.commit({})

    summary, kept, dropped = collected()
    assert [row["path"] for row in kept] == ["a.py", "b.py"]
    assert reasons(dropped) == [(merge, "", "merge"), (empty, "", "empty_commit"), (mode, "a.py", "no_change")]
    assert summary.files.dropped_by_rule == {"empty_commit": 1, "merge": 1, "no_change": 1}


def test_what_is_no_text_or_no_file_or_too_large_is_dropped_with_its_rule(repository, collected):
    first = repository.commit({"a.py": b"1\n"})
    commits = {
        "binary": repository.commit({"nul.py": b"a\0b\n"}),
        "not_utf8": repository.commit({"latin.py": b"\xe9t\xe9\n"}),
        "max_file_bytes": repository.commit({"large.py": b"x" * 100_001}),
    }
    (repository.root / "link.py").symlink_to("a.py")
    commits["symlink"] = repository.commit({})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{first},vendor")
    repository.git("commit", "--quiet", "--message", "submodule")
    commits["submodule"] = repository.git("rev-parse", "HEAD")

    summary, kept, dropped = collected()
    assert [row["commit"] for row in kept] == [first]
    assert {row["rule"]: row["commit"] for row in dropped} == commits
    assert summary.files.dropped_by_rule == dict.fromkeys(sorted(commits), 1)
    assert {row["rule"]: row["size_bytes"] for row in dropped}["max_file_bytes"] == 100_001


def test_a_shallow_clone_begins_where_its_history_does(repository, collected, tmp_path, ingest_config, reasons):
    commits = [repository.commit({"a.py": b"%d\n" % number}) for number in range(4)]
    shutil.move(repository.root, tmp_path / "whole")
    repository.root.mkdir()
    repository.git("clone", "--quiet", "--depth=2", f"file://{tmp_path / 'whole'}", ".")

    _, [row], dropped = collected()
    assert (row["commit"], row["before"], row["after"]) == (commits[3], "2\n", "3\n")
    assert reasons(dropped) == [(commits[2], "", "shallow_boundary")]
    assert resolve_sources(ingest_config(), tmp_path)["made-up"].startswith(f"{commits[3]}-since-")
    assert resolve_sources(ingest_config({"path": "whole"}), tmp_path) == {"made-up": commits[3]}


def test_bare_packed_and_linked_repositories_give_the_same_rows(repository, collected, ingest_config):
    for number in range(5):
        repository.commit(
            {"a.py": b"%d\n" % number, "b.py": b"".join(LINES[number:])} if number == 3 else {"a.py": b"%d\n" % number}
        )
    repository.git("clone", "--quiet", "--bare", ".", "../bare.git")
    repository.git("worktree", "add", "--quiet", "--detach", "../tree")
    expected = collected()[1:]

    assert len(expected[0]) == 4
    repository.git("gc", "--quiet")
    for path in ("repository", "repository/.git", "bare.git", "tree"):
        assert collected(ingest_config({"path": path}))[1:] == expected


def test_the_history_is_that_of_the_revision(repository, collected, tmp_path, ingest_config):
    first = repository.commit({"a.py": b"1\n"})
    repository.commit({"a.py": b"2\n"})
    repository.git("tag", "-a", "-m", "tag", "v1", first)

    _, [row], _ = collected(ingest_config({"revision": "v1"}))
    assert row["commit"] == first
    assert resolve_sources(ingest_config({"revision": "v1"}), tmp_path) == {"made-up": first}


@pytest.mark.parametrize("user", ["eva", "EVA@example.org", "Eva Example", "Eva-Login"])
def test_what_an_opted_out_author_wrote_is_left_out(repository, collected, user, reasons):
    authors = {
        "eva": {"GIT_AUTHOR_NAME": "Eva"},
        "EVA@example.org": {"GIT_AUTHOR_EMAIL": "eva@example.org"},
        "Eva Example": {},
        "Eva-Login": {"GIT_AUTHOR_EMAIL": "12345+eva-login@users.noreply.github.com"},
    }
    message = "x\n\nCo-Authored-By: eva example <e@e.org>\n" if user == "Eva Example" else "x"
    repository.commit({"a.py": b"1\n"})
    left_out = repository.commit({"a.py": b"2\n"}, message, **authors[user])
    repository.commit({"a.py": b"3\n"}, "By evangeline")

    _, kept, dropped = collected(users=[user])
    assert [row["after"] for row in kept] == ["1\n", "3\n"]
    assert reasons(dropped) == [(left_out, "", "opted_out_author")]
    assert user.lower() not in json.dumps(dropped).lower()
    assert len(collected()[1]) == 3


def test_an_opted_out_repository_is_not_read(repository, collected):
    repository.commit({"a.py": b"1\n"})

    for left_out in ({"repositories": ["Owner/Project"]}, {"users": ["OWNER"]}):
        summary, kept, [row] = collected(**left_out)
        assert (kept, row["rule"], row["commit"]) == ([], "opted_out_repository", None)
        assert summary.histories[0].num_commits == 0


def test_a_commit_in_two_histories_of_a_repository_is_taken_once(repository, collected, ingest_config, reasons):
    first = repository.commit({"a.py": b"1\n"})
    repository.git("branch", "old")
    repository.commit({"a.py": b"2\n"})
    both = ingest_config(
        {"name": "old", "revision": "old"}, {"name": "new"}, {"name": "fork", "repository": "other/project"}
    )

    summary, kept, dropped = collected(both)
    assert [(row["source"], row["after"]) for row in kept] == [
        ("old", "1\n"),
        ("new", "2\n"),
        ("fork", "1\n"),
        ("fork", "2\n"),
    ]
    assert reasons(dropped) == [(first, "", "duplicate_commit")]
    assert len({row["file_id"] for row in kept}) == 4
    assert [history.files.kept_files for history in summary.histories] == [1, 1, 2]


def test_no_history_at_all_is_an_empty_table(collected, ingest_config):
    summary, kept, dropped = collected(ingest_config().model_copy(update={"histories": ()}))

    assert (summary.histories, kept, dropped) == ((), [], [])


def test_paths_that_are_written_alike_are_told_apart(repository, collected, ingest_config, reasons):
    repository.commit({"a.py": b"1\n"})
    with open(os.path.join(os.fsencode(repository.root), b"\xff.py"), "wb") as file:
        file.write(b"bytes\n")
    commit = repository.commit({"\\xff.py": b"letters\n", "new\nline.py": b"1\n"})

    _, kept, dropped = collected(ingest_config(max_files_per_commit=3))
    assert [row["path"] for row in kept] == ["a.py", "\\xff.py"]
    assert sorted(reasons(dropped)) == [
        (commit, "\\xff.py", "duplicate_file"),
        (commit, "new\nline.py", "path_characters"),
    ]


def test_licences_are_those_of_the_newest_commit_and_of_the_file_itself(repository, collected):
    mit = b"Permission is hereby granted, free of charge, to any person obtaining a copy of this software. The above "
    repository.commit({"lib/a.py": b"1\n"})
    repository.commit({"lib/LICENSE": mit + b"copyright notice and this permission notice shall be included"})
    repository.commit({"lib/b.py": b"# SPDX-License-Identifier: 0BSD\n"})
    repository.commit({"c.py": b"1\n"})

    _, kept, _ = collected()
    assert [(row["path"], row["license"]) for row in kept] == [
        ("lib/a.py", "MIT"),
        ("lib/LICENSE", "MIT"),
        ("lib/b.py", "0BSD"),
        ("c.py", "Apache-2.0"),
    ]


def test_shards_are_cut_by_the_text(repository, collected, tmp_path, ingest_config):
    for number in range(6):
        repository.commit({"a.py": b"%d" % number * 700})

    summary, kept, _ = collected(ingest_config(shard_bytes=2000))
    assert [row["after"][0] for row in kept] == list("012345")
    assert summary.files.kept_bytes == 700 * 11
    assert len(list(tmp_path.glob("run-*/out/changes-*.parquet"))) > 2


def test_a_repository_that_is_not_there_is_named(collected, repository, tmp_path, ingest_config):
    with pytest.raises(SourceError, match="'made-up': there is no directory"):
        collected(ingest_config({"path": "missing"}))
    with pytest.raises(SourceError, match="has no commit 'HEAD'"):
        resolve_sources(ingest_config(), tmp_path)


def test_a_missing_list_of_opt_outs_is_no_empty_one(repository, tmp_path, ingest_config):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorruptArtifactError, match=r"lacks its opt_outs\.json"):
        run(ingest_config(), opt_outs=tmp_path / "empty", workspace=tmp_path, out=tmp_path / "empty")


def test_two_histories_of_one_name_are_refused(ingest_config):
    with pytest.raises(ValidationError, match="two histories share the name 'made-up'"):
        ingest_config({}, {})


def test_places_may_be_named_from_where_the_process_is(repository, collected, ingest_config, tmp_path, monkeypatch):
    repository.commit({"a.py": b"1\n" * 9})
    repository.commit({"a.py": None, "b.py": b"1\n" * 8})
    collected()
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    [place] = tmp_path.glob("run-*")

    run(ingest_config(), opt_outs=Path(place.name), workspace=Path(), out=Path("out"))
    assert [path.read_bytes() for path in sorted(Path("out").iterdir())] == [
        path.read_bytes() for path in sorted((place / "out").iterdir())
    ]
