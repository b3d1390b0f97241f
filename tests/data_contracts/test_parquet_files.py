from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.parquet_files import MAX_SAMPLED_FILES, Footer, choose_rows, read_footers, read_rows

SIZES = st.lists(st.lists(st.integers(0, 30), max_size=4), max_size=90)


def footers_of(sizes):
    return tuple(Footer(Path(f"files-{n:05d}"), 1, tuple(groups), (), ()) for n, groups in enumerate(sizes))


def write(path, rows, group=7, **columns):
    table = pa.table({"number": list(range(rows)), "word": [f"w{n}" for n in range(rows)]} | columns)
    pq.write_table(table, path, row_group_size=group, write_page_checksum=True)
    return path


@given(SIZES, st.integers(1, 60), st.integers(0, 3))
def test_a_choice_is_bounded_repeatable_and_inside_the_files(sizes, max_rows, seed):
    footers = footers_of(sizes)
    chosen = choose_rows(footers, max_rows, seed)
    assert chosen == choose_rows(footers, max_rows, seed)
    lengths = {footer.path: footer.num_rows for footer in footers}
    counts = {path: lengths[path] if rows is None else len(rows) for path, rows in chosen.items()}
    if sum(lengths.values()) <= max_rows:
        assert sum(counts.values()) == sum(lengths.values())
    else:
        assert len(chosen) <= MAX_SAMPLED_FILES
        assert sum(counts.values()) == min(max_rows, sum(lengths[path] for path in chosen))
        for path, rows in chosen.items():
            assert rows == sorted(set(rows))
            assert all(0 <= row < lengths[path] for row in rows)


def test_another_seed_chooses_other_rows():
    footers = footers_of([[1000]] * 4)
    assert choose_rows(footers, 50, 1) != choose_rows(footers, 50, 2)


def test_a_sample_comes_from_shards_all_over_the_artifact():
    chosen = choose_rows(footers_of([[10]] * 500), 200, 0)
    numbers = sorted(int(path.name[-5:]) for path in chosen)
    assert len(numbers) == MAX_SAMPLED_FILES
    assert numbers[0] < 50
    assert numbers[-1] > 450


@given(rows=st.sets(st.integers(0, 39)))
def test_chosen_rows_are_read_as_if_the_whole_file_had_been(tmp_path_factory, rows):
    directory = tmp_path_factory.mktemp("rows")
    write(directory / "a.parquet", 40)
    (footer,) = read_footers(directory, "a.parquet")
    table = read_rows(footer, sorted(rows), {"word": "string", "number": "int64"})
    assert table.column("number").to_pylist() == sorted(rows)
    assert table.column("word").to_pylist() == [f"w{row}" for row in sorted(rows)]


def test_a_column_that_is_missing_or_of_another_type_reads_as_null(tmp_path):
    write(tmp_path / "a.parquet", 9)
    (footer,) = read_footers(tmp_path, "*.parquet")
    table = read_rows(footer, None, {"number": "string", "size": "int64"})
    assert table.num_rows == 9
    assert table.column("number").null_count == 9
    assert table.column("size").null_count == 9


def test_null_counts_come_from_the_footer(tmp_path):
    write(tmp_path / "a.parquet", 20, gap=[None, "x"] * 10)
    (footer,) = read_footers(tmp_path, "*.parquet")
    assert dict(footer.nulls) == {"number": 0, "word": 0, "gap": 10}
    assert footer.num_rows == 20


def test_a_file_that_is_not_parquet_has_a_footer_that_says_so(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really PAR1")
    (footer,) = read_footers(tmp_path, "*.parquet")
    assert footer.num_rows is None
    assert footer.num_bytes == 20


def test_a_flipped_byte_in_a_page_is_noticed(tmp_path):
    path = write(tmp_path / "a.parquet", 500, group=500)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 4] ^= 0xFF
    path.write_bytes(raw)
    (footer,) = read_footers(tmp_path, "*.parquet")
    assert read_rows(footer, None, {"word": "string", "number": "int64"}) is None


def test_text_that_is_not_utf8_makes_a_file_unreadable(tmp_path):
    word = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(pa.table({"word": word}), tmp_path / "a.parquet")
    (footer,) = read_footers(tmp_path, "*.parquet")
    assert read_rows(footer, None, {"word": "string"}) is None


def test_files_that_are_linked_into_place_are_read(tmp_path):
    write(tmp_path / "cache", 3)
    (tmp_path / "files-00000.parquet").symlink_to(tmp_path / "cache")
    (footer,) = read_footers(tmp_path, "files-*.parquet")
    assert footer.num_rows == 3
