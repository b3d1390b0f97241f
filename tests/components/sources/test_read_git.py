"""A Git repository as a source: its objects as they are, and nothing that its owner would have us run."""

import os
import shutil

import pytest

from components.errors import SourceError
from components.sources.read_git import open_git, resolve_revision
from components.sources.source_files import Refusal, outcome_of, path_filter

LIMIT = 10_000


def read(root, revision="HEAD", history=False, exclude=()):
    """(path, commit, outcome) of each entry, refusals by their rule."""
    found = resolve_revision("made-up", root, revision)
    with open_git(found, history, path_filter(exclude)) as entries:
        told = [(entry.path, entry.commit, outcome_of(entry, LIMIT)) for entry in entries]
    return [(path, commit, got.rule if isinstance(got, Refusal) else got) for path, commit, got in told]


def test_the_tree_at_a_revision_is_read_and_not_the_working_tree(repository):
    first = repository.commit({"a.py": b"1\n", "b/c.py": b"2\n"})
    second = repository.commit({"a.py": b"3\n"})
    (repository.root / "a.py").write_bytes(b"not committed")
    repository.git("tag", "v1", first)

    assert read(repository.root) == [("a.py", second, b"3\n"), ("b/c.py", second, b"2\n")]
    assert read(repository.root, "v1") == [("a.py", first, b"1\n"), ("b/c.py", first, b"2\n")]


def test_history_gives_each_version_once_with_the_commit_that_brought_it_oldest_first(repository):
    first = repository.commit({"a.py": b"1\n", "b.py": b"same\n"})
    second = repository.commit({"a.py": b"2\n"})
    repository.commit({"a.py": b"1\n"}, "back again")
    repository.commit({"a.py": None}, "deleted")
    fifth = repository.commit({"c.py": b"same\n"})

    assert read(repository.root, history=True) == [
        ("a.py", first, b"1\n"),
        ("a.py", second, b"2\n"),
        ("b.py", first, b"same\n"),
        ("c.py", fifth, b"same\n"),
    ]


def test_a_merge_brings_only_what_no_parent_has(repository):
    base = repository.commit({"a.py": b"base\n"})
    repository.git("checkout", "--quiet", "-b", "side")
    side = repository.commit({"b.py": b"side\n"})
    repository.git("checkout", "--quiet", "main")
    main = repository.commit({"c.py": b"main\n"})
    repository.git("merge", "--quiet", "--no-commit", "side")
    merge = repository.commit({"a.py": b"only in the merge\n"}, "merge")

    assert read(repository.root, history=True) == [
        ("a.py", base, b"base\n"),
        ("a.py", merge, b"only in the merge\n"),
        ("b.py", side, b"side\n"),
        ("c.py", main, b"main\n"),
    ]


def test_a_merge_of_three_parents_is_understood(repository):
    repository.commit({"a.py": b"base\n"})
    for name in ("x", "y"):
        repository.git("checkout", "--quiet", "-b", name, "main")
        repository.commit({f"{name}.py": b"1\n"})
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-commit", "x", "y")
    merge = repository.commit({"a.py": b"octopus\n"})

    assert ("a.py", merge, b"octopus\n") in read(repository.root, history=True)


@pytest.mark.parametrize("history", [False, True])
def test_odd_names_contents_and_modes_are_read_exactly(repository, history):
    odd = {"new\nline\ttab.py": b"1", "\u00e9t\u00e9 \u4e2d.py": b"2", "-rf.py": b"3", "empty.py": b"", ":x": b"4"}
    commit = repository.commit({**odd, "crlf.py": b"a\r\nb\r\n", "run.sh": b"#!/bin/sh\n"})
    (repository.root / "run.sh").chmod(0o755)
    with open(os.path.join(os.fsencode(repository.root), b"\xff.py"), "wb") as file:
        file.write(b"5")
    commit = repository.commit({})

    assert {(path, content) for path, _, content in read(repository.root, history=history)} == {
        *odd.items(),
        ("crlf.py", b"a\r\nb\r\n"),
        ("run.sh", b"#!/bin/sh\n"),
        ("\\xff.py", b"5"),
    }
    assert commit in {found for _, found, _ in read(repository.root, history=history)}


@pytest.mark.parametrize("history", [False, True])
def test_links_submodules_and_large_files_are_refused(repository, history):
    commit = repository.commit({"real.py": b"1\n", "large.py": b"x" * (LIMIT + 1)})
    (repository.root / "link.py").symlink_to("real.py")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor")
    repository.git("add", "link.py")
    repository.git("commit", "--quiet", "--message", "odd things")

    told = {path: outcome for path, _, outcome in read(repository.root, history=history)}
    assert told == {"real.py": b"1\n", "large.py": "max_file_bytes", "link.py": "symlink", "vendor": "submodule"}


def test_excluded_paths_are_left_out_of_tree_and_history(repository):
    repository.commit({"a.py": b"1\n", "deep/uv.lock": b"2\n", "skip/b.py": b"3\n"})

    for history in (False, True):
        assert [path for path, *_ in read(repository.root, "HEAD", history, ("*.lock", "skip/**"))] == ["a.py"]


def test_bare_repositories_and_worktrees_are_read(repository, tmp_path):
    repository.commit({"a.py": b"1\n"})
    repository.git("clone", "--quiet", "--bare", ".", tmp_path / "bare.git")
    repository.git("worktree", "add", "--quiet", "--detach", tmp_path / "tree")
    expected = read(repository.root)

    assert read(tmp_path / "bare.git") == expected
    assert read(repository.root / ".git") == expected
    assert read(tmp_path / "tree") == expected


def test_a_shallow_clone_begins_where_its_history_does_and_its_digest_says_so(repository, tmp_path):
    repository.commit({"a.py": b"1\n", "b.py": b"old\n"})
    second = repository.commit({"a.py": b"2\n"})
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.root}", tmp_path / "shallow")
    whole = resolve_revision("made-up", repository.root, "HEAD")
    shallow = resolve_revision("made-up", tmp_path / "shallow", "HEAD")

    assert read(tmp_path / "shallow", history=True) == [("a.py", second, b"2\n"), ("b.py", second, b"old\n")]
    assert whole.digest(history=True) == whole.digest(history=False) == second
    assert shallow.digest(history=False) == second
    assert shallow.digest(history=True).startswith(f"{second}-since-")


def test_variables_of_the_caller_point_git_nowhere_else(repository, monkeypatch):
    commit = repository.commit({"a.py": b"1\n"})
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/nonexistent")

    assert read(repository.root) == [("a.py", commit, b"1\n")]


def test_nothing_that_the_repository_names_is_run(repository, tmp_path):
    commit = repository.commit({"a.py": b"1\n", ".gitattributes": b"*.py diff=evil filter=evil\n"})
    repository.commit({"a.py": b"2\n"})
    witness = tmp_path / "witness"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {witness}\nexit 1\n")
    program.chmod(0o755)
    hooks = repository.root / ".git" / "hooks"
    for hook in ("post-checkout", "pre-auto-gc", "reference-transaction", "post-index-change"):
        shutil.copy(program, hooks / hook)
    for key in (
        *("core.pager", "core.sshCommand", "core.editor", "gpg.program", "core.gitProxy"),
        *("diff.evil.textconv", "diff.evil.command", "diff.external", "filter.evil.smudge", "filter.evil.clean"),
    ):
        repository.git("config", key, str(program))
    repository.git("config", "log.showSignature", "true")
    missing = repository.git("rev-parse", f"{commit}:a.py")
    repository.git("config", "extensions.partialClone", "origin")
    repository.git("config", "remote.origin.url", "ssh://nowhere.invalid/x")
    repository.git("config", "remote.origin.promisor", "true")
    repository.git("config", "core.repositoryFormatVersion", "1")

    repository.git("config", "core.fsmonitor", str(program))
    told = [path for path, *_ in read(repository.root, history=True)]
    assert not witness.exists()
    assert told == [".gitattributes", "a.py", "a.py"]
    repository.loose_object(missing).unlink()
    assert ("a.py", commit, "unreadable") in read(repository.root, history=True)
    assert not witness.exists()


def test_a_missing_and_a_damaged_object_are_refused_and_the_rest_is_read(repository):
    repository.commit({"a.py": b"1\n", "b.py": b"2\n", "c.py": b"3\n", "d.py": b"4\n"})
    missing, damaged = (repository.git("rev-parse", f"HEAD:{name}") for name in ("a.py", "c.py"))
    repository.loose_object(missing).unlink()
    path = repository.loose_object(damaged)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-6] + b"\0\0\0\0\0\0")

    told = [(path, outcome) for path, _, outcome in read(repository.root)]
    assert told == [("a.py", "unreadable"), ("b.py", b"2\n"), ("c.py", "unreadable"), ("d.py", b"4\n")]


def test_replaced_objects_are_read_as_they_were_committed(repository):
    commit = repository.commit({"a.py": b"1\n"})
    original = repository.git("rev-parse", "HEAD:a.py")
    other = repository.git("hash-object", "-w", "--stdin", stdin=b"replaced\n")
    repository.git("replace", original, other)

    assert read(repository.root) == [("a.py", commit, b"1\n")]


@pytest.mark.parametrize("revision", ["no-such-branch", "--all", "0" * 40, "HEAD:a.py", "HEAD^{tree}", " "])
def test_an_unknown_revision_is_named(repository, revision):
    repository.commit({"a.py": b"1\n"})

    with pytest.raises(SourceError, match=r"has no commit .*; name a branch, a tag or a commit"):
        resolve_revision("made-up", repository.root, revision)


def test_a_repository_without_a_commit_is_told_as_an_unknown_revision(repository):
    with pytest.raises(SourceError, match="has no commit 'HEAD'"):
        resolve_revision("made-up", repository.root, "HEAD")


def test_a_directory_inside_another_repository_is_not_taken_for_one(repository):
    repository.commit({"sub/a.py": b"1\n"})

    with pytest.raises(SourceError, match=r"'made-up': .*sub is not the top of a Git repository"):
        resolve_revision("made-up", repository.root / "sub", "HEAD")


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"there is no directory .*missing; correct its path"):
        resolve_revision("made-up", tmp_path / "missing", "HEAD")


def test_a_broken_history_is_an_error_and_not_a_shorter_one(repository):
    repository.commit({"a.py": b"1\n"})
    parent = repository.commit({"a.py": b"2\n"})
    repository.commit({"a.py": b"3\n"})
    repository.loose_object(parent).unlink()

    with pytest.raises(SourceError, match="git fsck"):
        read(repository.root, history=True)
