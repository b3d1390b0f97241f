"""Lines of event files: whole files, broken ones, and what only looks like one."""

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from components.errors import SourceError
from components.issues.config import IssueSource
from components.issues.event_archives import digest_archives, find_archives, read_lines
from components.sources.source_files import Refusal

LINE_LIMIT = 1000


def source(path):
    return IssueSource(name="events", path=str(path), license=None)


def archive(path):
    [found] = find_archives(source(path), Path("/"))
    return found


def lines_of(path, **limits):
    return [(line.number, line.size_bytes, line.data) for line in read_lines(archive(path), LINE_LIMIT, **limits)]


def rules_of(path, **limits):
    return [(number, data.rule) for number, _, data in lines_of(path, **limits) if isinstance(data, Refusal)]


def test_lines_come_with_their_numbers_and_without_their_ends(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n\n  \n{"b":2}\r\n{"c":3}'))
    assert lines_of(path) == [(1, 8, b'{"a":1}'), (4, 9, b'{"b":2}'), (5, 7, b'{"c":3}')]


def test_several_gzip_members_are_one_file(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"1\n") + gzip.compress(b"2\n"))
    assert [data for _, _, data in lines_of(path)] == [b"1", b"2"]


def test_a_line_at_the_limit_is_read_and_one_above_it_is_passed_over(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"x" * LINE_LIMIT + b"\n" + b"y" * 5000 + b"\nz\n" + b"w" * (LINE_LIMIT + 1)))
    assert [(number, size) for number, size, _ in lines_of(path)] == [(1, 1001), (2, 5001), (3, 2), (4, 1001)]
    assert [data.value if isinstance(data, Refusal) else data[:1] for _, _, data in lines_of(path)] == [
        b"x",
        "5001",
        b"z",
        "1001",
    ]


def test_a_file_that_is_cut_off_keeps_its_whole_lines(tmp_path):
    path = tmp_path / "a.json.gz"
    whole = gzip.compress(b"".join(os.urandom(30).hex().encode() + b"\n" for _ in range(200)))
    path.write_bytes(whole[: len(whole) // 2])
    lines = lines_of(path)
    assert len(lines) > 50
    assert all(isinstance(data, bytes) and len(data) == 60 for _, _, data in lines[:-1])
    assert rules_of(path) == [(len(lines), "damaged_gzip")]


def test_what_is_no_gzip_is_one_refusal(tmp_path):
    for name, content, rule in (
        ("a", b'{"a":1}\n', "damaged_gzip"),
        ("b", b"", "empty"),
        ("c", b"\x1f\x8b", "damaged_gzip"),
    ):
        path = tmp_path / f"{name}.json.gz"
        path.write_bytes(content)
        assert rules_of(path) == [(1, rule)]


def test_a_decompression_bomb_is_left_after_the_bytes_that_are_allowed(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"1\n" + b" " * 5_000_000))
    assert rules_of(path, max_expansion=10, free_expansion_bytes=100_000) == [(2, "decompression_bomb")]
    assert rules_of(path) == [(2, "max_line_bytes")]


def test_a_hundred_megabytes_without_a_line_end_cost_no_memory(tmp_path):
    path = tmp_path / "a.json.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(100):
            file.write(b"x" * 2**20)
    tracemalloc.start()
    [(_, size, data)] = lines_of(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (size, data.rule) == (100 * 2**20, "max_line_bytes")
    assert peak < 4 * 2**20


def test_links_and_pipes_are_refused_without_being_opened(tmp_path):
    (tmp_path / "real.json.gz").write_bytes(gzip.compress(b"1\n"))
    (tmp_path / "link.json.gz").symlink_to("real.json.gz")
    os.mkfifo(tmp_path / "pipe.json.gz")
    found = {
        each.name: [line.data for line in read_lines(each, 10)] for each in find_archives(source(tmp_path), tmp_path)
    }
    assert found["real.json.gz"] == [b"1"]
    assert [data.rule for name in ("link.json.gz", "pipe.json.gz") for data in found[name]] == [
        "symlink",
        "not_regular_file",
    ]


def test_a_source_is_a_directory_a_file_or_a_glob(tmp_path):
    for name in ("2021/b.json.gz", "2021/a.JSON.GZ", "2022/c.json.gz", "2022/notes.txt", "2022/new\nline.json.gz"):
        path = tmp_path / "events" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    def names(path):
        return [each.name for each in find_archives(source(path), tmp_path)]

    assert names("events") == ["2021/a.JSON.GZ", "2021/b.json.gz", "2022/c.json.gz", "2022/new\nline.json.gz"]
    assert names("events/2021/b.json.gz") == ["b.json.gz"]
    assert names("events/*/[bc].json.gz") == ["2021/b.json.gz", "2022/c.json.gz"]
    for missing in ("elsewhere", "events/*.json.gz", "events/2023"):
        with pytest.raises(SourceError, match="correct its path"):
            names(missing)


def test_the_digest_goes_by_names_and_bytes_and_not_by_the_place(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.json.gz").write_bytes(gzip.compress(b"1\n", mtime=0))
    first = digest_archives(source("one"), tmp_path)
    assert first == digest_archives(source("two"), tmp_path)
    (tmp_path / "two" / "a.json.gz").write_bytes(gzip.compress(b"2\n", mtime=0))
    assert first != digest_archives(source("two"), tmp_path)
    (tmp_path / "one" / "a.json.gz").rename(tmp_path / "one" / "b.json.gz")
    assert first != digest_archives(source("one"), tmp_path)
