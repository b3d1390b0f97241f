"""Which paths are excluded, and how much of a file is read."""

import pytest

from components.sources.source_files import (
    ContentDigest,
    FoundFile,
    Refusal,
    RefusedFile,
    outcome_of,
    path_filter,
    printable_path,
)


@pytest.mark.parametrize(
    ("pattern", "path", "excluded"),
    [
        ("**/site-packages/**", "site-packages/a.py", True),
        ("**/site-packages/**", "lib/site-packages", True),
        ("**/site-packages/**", "lib/my-site-packages/a.py", False),
        ("config-*/**", "config-3.11/Makefile", True),
        ("config-*/**", "lib/config-3.11/Makefile", False),
        ("*.lock", "requirements.lock", True),
        ("*.lock", "deep/er/uv.lock", True),
        ("*.lock", "lock/file.py", False),
        ("build/", "src/build/out.py", True),
        ("/build", "src/build/out.py", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/very/deep/a.py", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("**", "anything/at.all", True),
        ("odd\nname", "odd\nname", True),
    ],
)
def test_a_pattern_excludes_what_it_names_and_everything_under_it(pattern, path, excluded):
    assert path_filter((pattern,))(path) is excluded


@pytest.mark.parametrize("path", [".git/config", "sub/.git/HEAD", ".svn/entries", ".hg/store"])
def test_the_store_of_a_version_control_is_never_read(path):
    assert path_filter(())(path)


@pytest.mark.parametrize("path", ["a.py", ".gitignore", "git/a.py", "x.git"])
def test_without_patterns_everything_else_is_read(path):
    assert not path_filter(())(path)


def test_a_path_that_is_not_utf8_is_written_out():
    assert printable_path(b"\xc3\xa9t\xc3\xa9/\xff.py") == "\u00e9t\u00e9/\\xff.py"


def test_a_file_above_the_limit_is_not_read():
    def read(limit):
        raise AssertionError("it was read")

    assert outcome_of(FoundFile("a", None, 11, read), 10) == Refusal("max_file_bytes", "11", "10")


def test_a_file_that_is_larger_than_it_says_is_read_to_the_limit_only():
    asked = []

    def read(limit):
        asked.append(limit)
        return b"x" * limit

    outcome = outcome_of(FoundFile("a", None, 3, read), 10)
    assert isinstance(outcome, Refusal)
    assert (outcome.rule, asked) == ("max_file_bytes", [11])


def test_a_file_at_the_limit_is_taken():
    assert outcome_of(FoundFile("a", None, 10, lambda limit: b"x" * 10), 10) == b"x" * 10


def digest(*entries):
    content_digest = ContentDigest()
    for path, outcome in entries:
        content_digest.add(RefusedFile(path, None, 1, Refusal("unused", "", "")), outcome)
    return content_digest.hexdigest()


def test_the_digest_sees_paths_contents_order_and_refusals():
    link, pipe = Refusal("symlink", "", ""), Refusal("not_regular_file", "", "")
    digests = [
        digest(),
        digest(("a", b"1")),
        digest(("b", b"1")),
        digest(("a", b"2")),
        digest(("a", b"1"), ("b", b"1")),
        digest(("b", b"1"), ("a", b"1")),
        digest(("a", link)),
        digest(("a", pipe)),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(("a", link)) == digest(("a", Refusal("symlink", "seen otherwise", "")))
