"""Histories that are damaged or made to harm: what cannot be read is dropped, and nothing of its owner's is run."""

import shutil

MISLEADING = (
    *("diff.renames=false", "diff.renameLimit=0", "diff.orderFile=/nonexistent", "log.showSignature=true"),
    *("core.bigFileThreshold=1", "core.attributesFile=/nonexistent", "core.abbrev=4", "core.quotePath=true"),
    *("core.worktree=/nonexistent", "i18n.logOutputEncoding=utf-16"),
)
LINES = [b"line number %d\n" % number for number in range(60)]


def test_a_missing_object_drops_what_needs_it_and_the_run_goes_on(repository, collected, reasons):
    first = repository.commit({"d/a.py": b"1\n"})
    second = repository.commit({"d/a.py": b"2\n"})
    third = repository.commit({"d/a.py": b"3\n"})
    fourth = repository.commit({"e/b.py": b"4\n"})
    fifth = repository.commit({"e/b.py": b"5\n"})
    sixth = repository.commit({"f.py": b"6\n"})
    repository.loose_object(repository.git("rev-parse", f"{second}:d/a.py")).unlink()
    repository.loose_object(repository.git("rev-parse", f"{fifth}:e")).unlink()

    _, kept, dropped = collected()
    assert [row["commit"] for row in kept] == [first, fourth, sixth]
    assert [row["license"] for row in kept] == [None, None, None], "the newest tree cannot tell of its licences"
    assert reasons(dropped) == [
        (second, "d/a.py", "unreadable"),
        (third, "d/a.py", "unreadable"),
        (fifth, "", "unreadable"),
    ]

    repository.loose_object(fourth).unlink()
    _, kept, dropped = collected()
    assert [row["commit"] for row in kept] == [sixth]
    assert reasons(dropped) == [(fourth, "", "unreadable"), (fifth, "", "unreadable")]


def test_a_damaged_object_ends_no_run(repository, collected, reasons):
    repository.commit({"a.py": b"1\n"})
    damaged = repository.commit({"b.py": b"".join(LINES)})
    last = repository.commit({"c.py": b"3\n"})
    path = repository.loose_object(repository.git("rev-parse", f"{damaged}:b.py"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-30] + bytes(30))

    _, kept, dropped = collected()
    assert [row["path"] for row in kept] == ["a.py", "c.py"]
    assert (kept[-1]["commit"], reasons(dropped)) == (last, [(damaged, "b.py", "unreadable")])


def test_nothing_that_the_repository_names_is_run_or_believed(repository, collected, reasons, tmp_path):
    repository.commit({".gitattributes": b"*.py diff=evil filter=evil\n"})
    first = repository.commit({"a.py": b"".join(LINES)})
    repository.commit({"a.py": None, "b.py": b"".join([*LINES, b"more\n"])})
    expected = collected()[1:]
    witness, program = tmp_path / "witness", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {witness}\nexit 1\n")
    program.chmod(0o755)
    blob = repository.git("rev-parse", f"{first}:a.py")
    other = repository.git("hash-object", "-w", "--stdin", stdin=b"replaced\n")
    repository.git("replace", blob, other)
    for hook in ("post-checkout", "pre-auto-gc", "reference-transaction", "post-index-change"):
        shutil.copy(program, repository.root / ".git" / "hooks" / hook)
    for key in (
        *("core.pager", "core.sshCommand", "core.editor", "gpg.program", "core.fsmonitor", "core.alternateRefsCommand"),
        *("diff.evil.textconv", "diff.evil.command", "diff.external", "filter.evil.smudge", "filter.evil.clean"),
    ):
        repository.git("config", key, program)
    for setting in MISLEADING:
        repository.git("config", *setting.split("=", 1))
    (repository.root / ".git" / "info" / "grafts").write_text(f"{first}\n")
    (repository.root / ".git" / "index").write_bytes(b"no index")

    assert collected()[1:] == expected
    assert not witness.exists()
    assert [row["old_path"] for row in expected[0]] == [None, None, "a.py"]


def test_variables_and_settings_of_the_caller_change_nothing(repository, collected, reasons, monkeypatch, tmp_path):
    repository.commit({"a.py": b"".join(LINES)})
    repository.commit({"a.py": None, "b.py": b"".join(LINES[1:])})
    expected = collected()[1:]
    (tmp_path / "settings").write_text("[diff]\n\trenames = false\n\trenameLimit = 1\n[core]\n\tabbrev = 4\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/nonexistent")
    monkeypatch.setenv("GIT_DIR", "/nonexistent")

    assert collected()[1:] == expected
    assert expected[0][1]["old_path"] == "a.py"


def test_a_tree_that_explodes_and_one_that_is_malformed_are_dropped_and_the_run_goes_on(repository, collected, reasons):
    repository.commit({"a.py": b"1\n"})
    tree = repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin")
    for _ in range(12):
        data = b"".join(b"40000 d%d\0%s" % (number, bytes.fromhex(tree)) for number in range(10))
        tree = repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)
    malformed = repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=b"100644 a/../b\0")
    commits = []
    for bad in (tree, malformed, repository.git("rev-parse", "HEAD^{tree}")):
        commits.append(repository.git("commit-tree", "-p", "HEAD", "-m", "bad", bad))
        repository.git("update-ref", "HEAD", commits[-1])
    last = repository.commit({"a.py": b"2\n"})

    _, kept, dropped = collected()
    assert [row["commit"] for row in kept][1:] == [last]
    assert reasons(dropped) == [
        (commits[0], "", "max_directories_per_commit"),
        (commits[1], "", "unreadable"),
        (commits[2], "", "unreadable"),
    ]


def test_a_partial_clone_is_read_without_asking_its_server(repository, collected, reasons, tmp_path):
    first = repository.commit({"a.py": b"1\n"})
    second = repository.commit({"b.py": b"2\n"})
    repository.git("config", "uploadpack.allowFilter", "true")
    whole = repository.root.rename(tmp_path / "whole")
    repository.root.mkdir()
    repository.git("clone", "--quiet", "--bare", "--filter=blob:none", f"file://{whole}", ".")

    _, kept, dropped = collected()
    assert kept == []
    assert reasons(dropped) == [(first, "a.py", "unreadable"), (second, "b.py", "unreadable")]
