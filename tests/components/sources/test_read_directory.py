"""A directory as a source: hostile trees end in refusals, and only bytes and names count."""

import os
import socket

import pytest

from components.errors import SourceError
from components.sources.read_directory import digest_directory, open_directory
from components.sources.source_files import FoundFile, Refusal, outcome_of, path_filter

LIMIT = 1000


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def outcomes(root, *exclude):
    with open_directory("made-up", root, path_filter(exclude)) as entries:
        return {entry.path: outcome_of(entry, LIMIT) for entry in entries}


def rules(root):
    return {path: outcome.rule for path, outcome in outcomes(root).items() if isinstance(outcome, Refusal)}


def digest(root, *exclude):
    return digest_directory("made-up", root, path_filter(exclude), LIMIT)


def test_files_come_in_the_order_of_their_paths_bytes(tmp_path):
    names = ["b.py", "a/z.py", "a.py", "a/b/c.py", "\u00e9.py", "Z.py", "a-b.py"]
    write(tmp_path, dict.fromkeys(names, b"x"))

    assert list(outcomes(tmp_path)) == sorted(names, key=str.encode)


def test_excluded_directories_are_not_even_listed(tmp_path):
    write(tmp_path, {"keep/a.py": b"1", "skip/b.py": b"2", "keep/skip/c.py": b"3"})

    assert outcomes(tmp_path, "skip/") == {"keep/a.py": b"1"}


def test_links_loops_and_special_files_are_refused_unopened(tmp_path):
    write(tmp_path, {"real/file.py": b"x = 1\n"})
    (tmp_path / "real" / "loop").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "link.py").symlink_to("real/file.py")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        assert rules(tmp_path) == {
            "real/loop": "symlink",
            "self": "symlink",
            "dangling": "symlink",
            "link.py": "symlink",
            "pipe": "not_regular_file",
            "sock": "not_regular_file",
        }
    assert outcomes(tmp_path)["real/file.py"] == b"x = 1\n"


def test_a_file_above_the_limit_is_refused(tmp_path):
    write(tmp_path, {"large": b"x" * (LIMIT + 1), "fits": b"x" * LIMIT})

    assert rules(tmp_path) == {"large": "max_file_bytes"}


def test_names_with_newlines_and_other_bytes_are_taken(tmp_path):
    write(tmp_path, {"new\nline.py": b"1"})
    with open(os.path.join(os.fsencode(tmp_path), b"\xff.py"), "wb") as file:
        file.write(b"2")

    assert outcomes(tmp_path) == {"new\nline.py": b"1", "\\xff.py": b"2"}


def become_nothing(path):
    path.unlink()


def become_pipe(path):
    path.unlink()
    os.mkfifo(path)


def become_link(path):
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def become_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [become_nothing, become_pipe, become_link, become_directory])
def test_a_file_that_changes_its_nature_before_it_is_read_is_refused(tmp_path, change):
    write(tmp_path, {"file.py": b"x"})
    with open_directory("made-up", tmp_path, path_filter(())) as entries:
        change(tmp_path / "file.py")
        outcome = outcome_of(entries[0], LIMIT)

    assert isinstance(outcome, Refusal)
    assert outcome.rule == "unreadable"


def test_a_file_that_grows_or_shrinks_before_it_is_read_is_taken_as_it_is(tmp_path):
    write(tmp_path, {"grows": b"x", "shrinks": b"xxxx"})
    with open_directory("made-up", tmp_path, path_filter(())) as entries:
        write(tmp_path, {"grows": b"y" * 500, "shrinks": b"z"})
        assert [outcome_of(entry, LIMIT) for entry in entries] == [b"y" * 500, b"z"]


def test_an_empty_directory_has_no_entries(tmp_path):
    assert outcomes(tmp_path) == {}


@pytest.mark.parametrize(("name", "told"), [("missing", "there is no directory"), ("file", "is not a directory")])
def test_a_source_that_is_no_directory_is_named_with_the_mend(tmp_path, name, told):
    write(tmp_path, {"file": b"x"})
    with (
        pytest.raises(SourceError, match=rf"source 'made-up': .*{told}.*correct its path"),
        open_directory("made-up", tmp_path / name, path_filter(())),
    ):
        pass


def test_the_digest_does_not_depend_on_place_time_or_order_of_creation(tmp_path):
    files = {"a.py": b"1", "b/c.py": b"2", "d.bin": b"\0"}
    here = write(tmp_path / "here", files)
    there = write(tmp_path / "another" / "place", dict(reversed(files.items())))
    os.utime(there / "a.py", (1, 1))
    (there / "a.py").chmod(0o755)

    assert digest(here) == digest(there)


@pytest.mark.parametrize(
    "change",
    [
        {"a.py": b"2"},
        {"new.py": b"1"},
        {"large": b"x" * (LIMIT + 2)},
    ],
)
def test_the_digest_sees_every_change_that_is_read(tmp_path, change):
    write(tmp_path, {"a.py": b"1", "large": b"x" * (LIMIT + 1), "skip/b.py": b"1"})
    before = digest(tmp_path, "skip/**")
    write(tmp_path, {"skip/b.py": b"2"})
    assert digest(tmp_path, "skip/**") == before

    write(tmp_path, change)
    assert digest(tmp_path, "skip/**") != before


def test_every_found_file_tells_its_size(tmp_path):
    write(tmp_path, {"a": b"12345"})
    with open_directory("made-up", tmp_path, path_filter(())) as entries:
        assert [(entry.path, entry.size_bytes, entry.commit) for entry in entries] == [("a", 5, None)]
        assert isinstance(entries[0], FoundFile)
