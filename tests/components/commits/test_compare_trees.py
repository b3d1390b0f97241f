"""Trees compared: what Git's own diff says, renames as Git tells them, and no tree that explodes."""

import random
from functools import partial

import pytest

from components.commits.compare_trees import MAX_PATH_BYTES, Change, RenameFinder, Side, compare_trees
from components.sources.git_objects import Git, ObjectReader, objects_only
from components.sources.source_files import Refusal

EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.fixture
def objects(repository):
    reader = ObjectReader(Git(repository.root))
    yield reader
    reader.close()


@pytest.fixture
def compare(objects):
    return partial(compare_trees, objects, max_changes=1000, max_trees=1000)


@pytest.fixture
def renames(repository, tmp_path):
    with objects_only(repository.root, tmp_path) as git:
        finder = RenameFinder(git)
        yield finder
        finder.close()


def tree_of(repository, revision="HEAD"):
    return repository.git("rev-parse", f"{revision}^{{tree}}")


def told_by_git(repository, old, new, *options):
    """(path, old mode, old object, new mode, new object, old path) of each change, of `git diff-tree`."""
    output = repository.git("diff-tree", "-r", "-z", "--no-abbrev", *options, old, new)
    tokens = iter(output.split("\0")[:-1])
    found = []
    for token in tokens:
        old_mode, new_mode, old_id, new_id, status = token.removeprefix(":").split(" ")
        paths = [next(tokens) for _ in range(2 if status[0] in "RC" else 1)]
        found.append((paths[-1], old_mode, old_id, new_mode, new_id, paths[0] if len(paths) == 2 else None))
    return sorted(found)


def told(changes):
    def side(one):
        return (one.mode, one.object_id) if one else ("000000", "0" * 40)

    return sorted(
        (
            change.path.decode(),
            *side(change.before),
            *side(change.after),
            change.old_path.decode() if change.old_path else None,
        )
        for change in changes
    )


def test_random_commits_differ_in_what_git_says_they_differ_in(repository, compare):
    rng = random.Random(5)
    names = ["a", "b", "a/a", "a/b", "b/a/c", "z.py", "a.py", "new\nline", "\u00fc"]
    trees = []
    for _ in range(12):
        entries = {name: f"{rng.randrange(4)}" for name in names if rng.random() < 0.6}
        files = {name: text for name, text in entries.items() if not any(o.startswith(f"{name}/") for o in entries)}
        repository.git("read-tree", "--empty")
        blobs = {text: repository.git("hash-object", "-w", "--stdin", stdin=text.encode()) for text in files.values()}
        listed = [f"{rng.choice([100644, 100755])} {blobs[text]}\t{name}\0" for name, text in files.items()]
        repository.git("update-index", "-z", "--index-info", stdin="".join(listed).encode())
        trees.append(repository.git("write-tree"))

    pairs = [(old, new) for old in trees for new in trees[:6]]
    for old, new in pairs:
        assert told(compare(old, new)) == told_by_git(repository, old, new, "--no-renames")
    assert len({len(compare(old, new)) for old, new in pairs}) > 4


def test_a_file_that_becomes_a_directory_is_deleted_and_its_files_are_added(repository, compare):
    repository.commit({"a": b"1\n"})
    repository.commit({"a": None})
    repository.commit({"a/b": b"1\n"})

    assert [
        (c.path, bool(c.before), bool(c.after)) for c in compare(tree_of(repository, "HEAD~2"), tree_of(repository))
    ] == [
        (b"a", True, False),
        (b"a/b", False, True),
    ]


def test_without_an_old_tree_every_file_is_added(repository, compare):
    repository.commit({"a.py": b"1\n", "d/b.py": b"2\n"})

    changes = compare(None, tree_of(repository))
    assert [(change.path, change.before) for change in changes] == [(b"a.py", None), (b"d/b.py", None)]


@pytest.mark.parametrize("kept_lines", [30, 49, 51, 70, 99, 100])
def test_a_rename_is_one_where_git_says_so(repository, compare, renames, kept_lines):
    lines = [f"line number {number} of the file\n".encode() for number in range(100)]
    repository.commit({"old/a.py": b"".join(lines), "other.py": b"other\n"})
    edited = [line if number < kept_lines else b"something else altogether\n" for number, line in enumerate(lines)]
    repository.commit({"old/a.py": None, "new/b.py": b"".join(edited), "other.py": b"edited\n"})
    old, new = tree_of(repository, "HEAD~1"), tree_of(repository)

    joined = renames.joined(compare(old, new), old, new)
    assert told(joined) == told_by_git(repository, old, new, "-M50%")
    assert len(joined) == (2 if kept_lines > 50 else 3)


def test_renames_of_odd_paths_are_told_and_the_finder_answers_again(repository, compare, renames):
    repository.commit({"a\n:\tb.py": b"same\n" * 9, "c.py": b"c\n" * 9})
    repository.commit({"a\n:\tb.py": None, "=\n.py": b"same\n" * 9})
    repository.commit({"c.py": None, "d.py": b"c\n" * 9})
    trees = [tree_of(repository, f"HEAD~{number}") for number in (2, 1, 0)]

    for old, new in (trees[:2], trees[1:], trees[:2], [trees[2], trees[2]]):
        assert told(renames.joined(compare(old, new), old, new)) == told_by_git(repository, old, new, "-M50%")


def test_where_git_cannot_compare_the_changes_stay_as_they_are_and_the_next_answer_comes(repository, compare, renames):
    repository.commit({"a.py": b"1\n2\n3\n", "d.py": b"4\n5\n6\n"})
    repository.commit({"a.py": None, "b.py": b"1\n2\n4\n"})
    repository.commit({"d.py": None, "e.py": b"4\n5\n6\n"})
    repository.loose_object(repository.git("rev-parse", "HEAD:b.py")).unlink()
    first, second, third = (tree_of(repository, f"HEAD~{number}") for number in (2, 1, 0))

    assert [change.path for change in renames.joined(compare(first, second), first, second)] == [b"a.py", b"b.py"]
    [renamed] = renames.joined(compare(second, third), second, third)
    assert (renamed.path, renamed.old_path) == (b"e.py", b"d.py")
    missing = "1" * 40
    assert renames.joined([], missing, third) == []


def hashed_tree(repository, data):
    return repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)


def bomb(repository, depth, leaf):
    """A tree of ten times itself, `depth` times over."""
    entry = leaf
    for _ in range(depth):
        data = b"".join(b"40000 d%d\0%s" % (number, bytes.fromhex(entry)) for number in range(10))
        entry = hashed_tree(repository, data)
    return entry


def test_a_tree_of_ten_billion_files_is_left_at_the_limit(repository, objects):
    repository.git("hash-object", "-w", "--stdin")
    exploding = bomb(repository, 10, hashed_tree(repository, b"100644 f\0" + bytes.fromhex(EMPTY_BLOB)))

    changes = compare_trees(objects, None, exploding, max_changes=20, max_trees=1000)
    assert isinstance(changes, list)
    assert 20 < len(changes) <= 30


def test_a_tree_of_ten_billion_empty_directories_is_refused(repository, objects):
    exploding = bomb(repository, 10, hashed_tree(repository, b""))

    refusal = compare_trees(objects, None, exploding, max_changes=20, max_trees=1000)
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.value) == ("max_directories_per_commit", "more than 1000")


def test_a_path_that_no_system_opens_is_refused(repository, compare):
    tree = hashed_tree(repository, b"100644 f\0" + bytes.fromhex(EMPTY_BLOB))
    for _ in range(MAX_PATH_BYTES // 200 + 1):
        tree = hashed_tree(repository, b"40000 " + b"n" * 200 + b"\0" + bytes.fromhex(tree))

    refusal = compare(None, tree)
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "max_path_bytes"


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"100644 a/b\0" + bytes(20),
        b"100644 \0" + bytes(20),
        b"100644 a\0" + bytes(19),
        b"100644 a\0" + bytes(20) + b"more",
        b"-1 a\0" + bytes(20),
    ],
)
def test_a_tree_that_is_malformed_is_refused(repository, compare, data):
    refusal = compare(None, hashed_tree(repository, data))

    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.value.endswith("is malformed")) == ("unreadable", True)


def test_a_missing_directory_is_refused_and_one_that_did_not_change_is_not_read(repository, compare):
    repository.commit({"a/a.py": b"1\n", "b/b.py": b"1\n"})
    repository.commit({"b/b.py": b"2\n"})
    repository.commit({"a/a.py": b"2\n"})
    trees = [tree_of(repository, f"HEAD~{number}") for number in (2, 1, 0)]
    missing = repository.git("rev-parse", "HEAD~1:a")
    repository.loose_object(missing).unlink()

    [change] = compare(trees[0], trees[1])
    assert change == Change(b"b/b.py", change.before, change.after)
    assert isinstance(change.after, Side)
    refusal = compare(trees[1], trees[2])
    assert isinstance(refusal, Refusal)
    assert refusal.value == f"object {missing} is missing"
