"""Commits as objects: what they say is read as Git reads it, whatever they say."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.commits.commit_objects import (
    MAX_COMMIT_BYTES,
    MAX_SECONDS,
    Commit,
    list_history,
    parse_commit,
    read_commit,
)
from components.sources.git_objects import Git, ObjectReader
from components.sources.source_files import Refusal

TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@pytest.fixture
def objects(repository):
    reader = ObjectReader(Git(repository.root))
    yield reader
    reader.close()


def commit_bytes(*headers, message=b"subject\n\nbody\n"):
    lines = [
        f"tree {TREE}".encode(),
        b"author A <a@e.org> 1 +0000",
        b"committer C <c@e.org> 1577836800 +0130",
        *headers,
    ]
    return b"\n".join(lines) + b"\n\n" + message


def written(repository, data):
    return repository.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=data)


@pytest.mark.parametrize(
    "message",
    [
        "One line",
        "Two lines\nof one paragraph\n\nand a body\n",
        "\n\n  \nAfter blank lines\n\n\n",
        " with a leading space\t \nand another line\n",
        "carriage\r\nreturns\r\n\r\nbody",
        "\u00fcn\u00efcode \u4e2d\u6587 \U0001f600",
        "",
    ],
)
def test_author_time_message_and_subject_are_those_that_git_tells(repository, objects, message):
    commit_id = repository.commit(
        {"a.py": b"1\n"}, message, GIT_AUTHOR_NAME="\u00c9va \u4e2d", GIT_COMMITTER_DATE="2021-02-03T04:05:06+05:30"
    )
    told = repository.git("log", "-1", "--format=%T%x00%an%x00%ae%x00%ct%x00%s", commit_id).split("\0")

    commit = read_commit(objects, commit_id)
    assert isinstance(commit, Commit)
    assert [commit.tree, commit.author, commit.author_address, str(commit.made_at)] == told[:4]
    assert commit.subject.strip() == told[4].strip()
    assert commit.message == message.rstrip("\n")
    assert commit.parents == ()


@pytest.mark.parametrize(
    ("encoding", "raw", "message"),
    [
        (b"ISO-8859-1", "\u00e9t\u00e9".encode("latin-1"), "\u00e9t\u00e9"),
        (
            b"windows-1251",
            "\u043f\u0440\u0438\u0432\u0435\u0442".encode("cp1251"),
            "\u043f\u0440\u0438\u0432\u0435\u0442",
        ),
        (b"EUC-JP", "\u65e5\u672c".encode("euc-jp"), "\u65e5\u672c"),
        (b"UTF-8", "\u65e5\u672c".encode(), "\u65e5\u672c"),
    ],
)
def test_a_message_in_another_encoding_is_read_in_it(encoding, raw, message):
    commit = parse_commit(commit_bytes(b"encoding " + encoding, message=raw))

    assert commit is not None
    assert commit.message == message


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (commit_bytes(message=b"\xe9t\xe9"), "message_not_utf8"),
        (commit_bytes(message=b"NUL \0 in it"), "message_binary"),
        (commit_bytes(b"encoding bz2"), "message_encoding"),
        (commit_bytes(b"encoding unicode_escape"), "message_encoding"),
        (commit_bytes(b"encoding ../../evil"), "message_encoding"),
        (commit_bytes(b"encoding iso-8859-99"), "message_encoding"),
        (commit_bytes(b"encoding shift_jis", message=b"\x81"), "message_not_utf8"),
    ],
)
def test_a_message_that_is_no_text_is_refused_with_a_rule(data, rule):
    commit = parse_commit(data)

    assert commit is not None
    assert isinstance(commit.message, Refusal)
    assert commit.message.rule == rule
    assert commit.subject == ""


def test_a_signature_is_no_part_of_the_message():
    commit = parse_commit(commit_bytes(b"gpgsig -----BEGIN-----\n \n tree of lies\n parent 1\n -----END-----"))

    assert commit is not None
    assert (commit.subject, commit.message, commit.parents) == ("subject", "subject\n\nbody", ())


@pytest.mark.parametrize(
    ("committer", "seconds"),
    [
        (b"C <c@e.org> 0 +0000", 0),
        (b"C <c@e.org> 12345", 12345),
        (b"C <> 253402300799 +0000", MAX_SECONDS),
        (b"C <c@e.org> 253402300800 +0000", None),
        (b"C <c@e.org> -5 +0000", None),
        (b"C <c@e.org> 99999999999999999999999999 +0000", None),
        (b"C <c@e.org>", None),
        (b"nobody", None),
        (b"", None),
    ],
)
def test_a_time_that_cannot_be_is_none(committer, seconds):
    commit = parse_commit(f"tree {TREE}\nauthor A <a>b> 1 +0000\ncommitter ".encode() + committer + b"\n\nx")

    assert commit is not None
    assert (commit.author, commit.author_address, commit.made_at) == ("A", "a>b", seconds)


@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                b"tree ",
                TREE.encode(),
                b"parent ",
                b"author ",
                b"encoding ",
                b"utf-8",
                b"<",
                b"> 1 +0000",
                b"\n",
                b"\n\n",
                b"\xff",
                b"\0",
            ]
        ),
        max_size=14,
    ).map(b"".join)
)
def test_whatever_the_bytes_are_there_is_a_commit_or_none(data):
    commit = parse_commit(data)

    assert commit is None or (commit.tree == TREE and isinstance(commit.subject, str))


@pytest.mark.parametrize("data", [b"", b"tree \n\n", f"tree {TREE}\ntree {TREE}\n\n".encode(), b"tree ../../etc\n\nx"])
def test_an_object_that_is_no_commit_is_refused(repository, objects, data):
    refusal = read_commit(objects, written(repository, data))

    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.value.endswith("is no commit")) == ("unreadable", True)


def test_a_commit_of_a_megabyte_is_refused_and_the_next_one_is_read(repository, objects):
    large = written(repository, commit_bytes(message=b"x" * MAX_COMMIT_BYTES))
    small = written(repository, commit_bytes())

    refusal = read_commit(objects, large)
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "max_commit_bytes"
    assert isinstance(read_commit(objects, small), Commit)


def test_a_history_is_each_commit_once_after_its_parents(repository, objects):
    for number in range(3):
        repository.commit({"a.py": f"{number}\n".encode()})
    repository.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    repository.commit({"b.py": b"1\n"})
    repository.git("checkout", "--quiet", "main")
    for number in range(2):
        repository.git("merge", "--quiet", "--no-ff", "-m", f"merge {number}", "side")
        repository.git("checkout", "--quiet", "side")
        repository.commit({"b.py": f"again {number}\n".encode()})
        repository.git("checkout", "--quiet", "main")

    tip = repository.git("rev-parse", "HEAD")
    history = list_history(objects, tip, ())
    parents = {line.split()[0]: line.split()[1:] for line in repository.git("rev-list", "--parents", tip).splitlines()}
    assert sorted(history) == sorted(parents)
    assert len(history) > 6
    place = {commit_id: number for number, commit_id in enumerate(history)}
    assert all(place[parent] < place[child] for child, all_parents in parents.items() for parent in all_parents)
    assert history[-1] == tip


def test_a_long_history_needs_no_deep_stack(repository, objects):
    stream = b"".join(
        b"commit refs/heads/main\ncommitter A <a@e.org> %d +0000\ndata 1\nx\nM 100644 inline a.py\ndata 4\n%04d\n"
        % (number, number)
        for number in range(3000)
    )
    repository.git("fast-import", "--quiet", stdin=stream)

    tip = repository.git("rev-parse", "main")
    assert list_history(objects, tip, ()) == repository.git("rev-list", "--reverse", "main").splitlines()


def test_neither_grafts_nor_replacements_nor_a_commit_graph_change_a_history(repository, objects):
    first = repository.commit({"a.py": b"1\n"})
    second = repository.commit({"a.py": b"2\n"})
    third = repository.commit({"a.py": b"3\n"})
    orphan = written(repository, commit_bytes(message=b"another history"))
    repository.git("replace", second, orphan)
    (repository.root / ".git" / "info").mkdir(exist_ok=True)
    (repository.root / ".git" / "info" / "grafts").write_text(f"{third}\n")

    assert repository.git("rev-list", "HEAD").splitlines() == [third]
    assert list_history(objects, third, ()) == [first, second, third]
    assert list_history(objects, third, (second,)) == [second, third]


def test_a_commit_that_is_missing_is_in_the_history_and_refused(repository, objects):
    first = repository.commit({"a.py": b"1\n"})
    second = repository.commit({"a.py": b"2\n"})
    third = repository.commit({"a.py": b"3\n"})
    repository.loose_object(second).unlink()

    assert list_history(objects, third, ()) == [second, third]
    refusal = read_commit(objects, second)
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.value) == ("unreadable", f"object {second} is missing")
    assert isinstance(read_commit(objects, first), Commit)


def test_a_repository_of_sha256_is_read_like_any_other(tmp_path):
    root = tmp_path / "sha256"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", str(root)], check=True, capture_output=True)
    reader = ObjectReader(Git(root))
    tree = (
        subprocess.run(["git", "-C", root, "mktree"], input=b"", check=True, capture_output=True)
        .stdout.decode()
        .strip()
    )
    data = f"tree {tree}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n".encode()
    written_id = (
        subprocess.run(
            ["git", "-C", root, "hash-object", "-t", "commit", "-w", "--stdin"],
            input=data,
            check=True,
            capture_output=True,
        )
        .stdout.decode()
        .strip()
    )
    try:
        assert list_history(reader, written_id, ()) == [written_id]
        commit = read_commit(reader, written_id)
    finally:
        reader.close()
    assert isinstance(commit, Commit)
    assert (commit.tree, len(tree)) == (tree, 64)
