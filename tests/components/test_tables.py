"""The table of files: cut by its rows alone, read in bounded pieces, and a damaged one is said to be damaged."""

import hashlib
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import CorruptArtifactError
from components.tables import (
    ROW_GROUP_BYTES,
    ROW_GROUP_ROWS,
    FilesWriter,
    count_rows,
    dropped_rows,
    read_dropped,
    read_files,
    text_buffers,
    track_files,
)
from data_contracts.columns import CODE_FILES
from model.reporting import ListSink, reporting_to


def rows(texts):
    """A batch with one file per text."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "file_id": f"{index:032x}",
                "kind": "file",
                "content": text,
                "content_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "size_bytes": len(text.encode()),
                "source": "made-up",
                "repository": "owner/project",
                "path": f"file-{index}.py",
                "extension": ".py",
            }
            for index, text in enumerate(texts)
        ],
        CODE_FILES,
    )


def written(out, batches, shard_bytes=1 << 20):
    out.mkdir()
    with FilesWriter(out, shard_bytes) as writer:
        for batch in batches:
            writer.keep(batch)
    return writer.counts


def bytes_of(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    shard_bytes=st.integers(1, 3000),
)
def test_the_same_rows_give_the_same_bytes_however_they_are_batched(tmp_path_factory, sizes, cuts, shard_bytes):
    place = tmp_path_factory.mktemp("tables")
    whole = rows(["x" * size for size in sizes])
    borders = [0, *sorted(min(cut, len(sizes)) for cut in cuts), len(sizes)]
    pieces = [whole.slice(begin, end - begin) for begin, end in itertools.pairwise(borders)]

    written(place / "whole", [whole], shard_bytes)
    written(place / "pieces", pieces, shard_bytes)

    assert bytes_of(place / "whole") == bytes_of(place / "pieces")
    assert pa.Table.from_batches(read_files(place / "whole"), CODE_FILES).equals(pa.Table.from_batches([whole]))


def test_a_shard_is_closed_by_the_row_that_fills_it(tmp_path):
    written(tmp_path / "table", [rows(["a" * 600, "b" * 600, "c" * 10, "d" * 2000, "e"])], shard_bytes=1000)

    shards = [pq.read_table(path, columns=["path"]).num_rows for path in sorted((tmp_path / "table").glob("files-*"))]
    assert shards == [2, 2, 1]


def test_no_empty_shard_follows_one_that_the_last_row_filled(tmp_path):
    written(tmp_path / "table", [rows(["a" * 1000])], shard_bytes=1000)

    assert sorted(bytes_of(tmp_path / "table")) == ["dropped-00000.parquet", "files-00000.parquet"]


def test_a_row_group_is_bounded_in_rows_and_in_text(tmp_path):
    half = "h" * (ROW_GROUP_BYTES // 2)
    many = rows(["x"] * (2 * ROW_GROUP_ROWS + 1))
    written(tmp_path / "many", [many], shard_bytes=1 << 40)
    written(tmp_path / "large", [rows([half, half, "t", half * 3, "t"])], shard_bytes=1 << 40)

    assert [batch.num_rows for batch in read_files(tmp_path / "many")] == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 1]
    assert [batch.num_rows for batch in read_files(tmp_path / "large", ["path"])] == [2, 1, 1, 1]


def test_a_table_without_rows_still_has_a_shard_and_a_list_of_dropped_files(tmp_path):
    counts = written(tmp_path / "table", [])

    assert sorted(bytes_of(tmp_path / "table")) == ["dropped-00000.parquet", "files-00000.parquet"]
    assert list(read_files(tmp_path / "table")) == []
    assert list(read_dropped(tmp_path / "table")) == []
    assert count_rows(tmp_path / "table") == 0
    assert counts.model_dump() == {
        "kept_files": 0,
        "kept_bytes": 0,
        "dropped_files": 0,
        "dropped_bytes": 0,
        "dropped_by_rule": {},
    }


def test_dropped_rows_carry_their_origin_and_reason_and_are_counted_by_rule(tmp_path):
    batch = rows(["one", "three", "fifteen"])
    with FilesWriter(tmp_path) as writer:
        writer.keep(batch.slice(0, 1))
        before = writer.counts
        writer.drop(dropped_rows(batch, [2, 1], rules=["b_rule", "a_rule"], values=["7", "5"], thresholds=["6", "4"]))

    told = pa.Table.from_batches(read_dropped(tmp_path)).to_pylist()
    assert [(row["path"], row["size_bytes"], row["rule"], row["value"], row["threshold"]) for row in told] == [
        ("file-2.py", 7, "b_rule", "7", "6"),
        ("file-1.py", 5, "a_rule", "5", "4"),
    ]
    assert [row["detail"] for row in told] == ["", ""]
    assert writer.counts.dropped_by_rule == {"a_rule": 1, "b_rule": 1}
    assert (writer.counts.kept_bytes, writer.counts.dropped_bytes) == (3, 12)
    assert writer.counts.since(before).kept_files == 0
    assert writer.counts.since(before).dropped_files == 2
    assert writer.counts.rules_told() == "a_rule 1, b_rule 1"


def test_the_text_of_a_slice_is_seen_without_a_copy():
    batch = rows(["ignored", "h\u00e9", "", "\U0001f600"]).slice(1)
    data, offsets = text_buffers(batch)

    assert np.diff(offsets).tolist() == [3, 0, 4]
    assert bytes(data[offsets[0] : offsets[1]]).decode() == "h\u00e9"
    assert bytes(data[offsets[2] : offsets[3]]).decode() == "\U0001f600"
    assert text_buffers(batch.slice(0, 0))[1].tolist() == [0]
    assert np.shares_memory(data, text_buffers(batch)[0])


def test_progress_is_told_in_files(tmp_path):
    written(tmp_path / "table", [rows(["x"] * (ROW_GROUP_ROWS + 5))])
    sink = ListSink()
    with reporting_to(sink):
        assert sum(batch.num_rows for batch in track_files(tmp_path / "table")) == ROW_GROUP_ROWS + 5

    total = ROW_GROUP_ROWS + 5
    assert sink.progresses == [(0, total, "files"), (ROW_GROUP_ROWS, total, "files"), (total, total, "files")]


def test_a_truncated_shard_is_said_to_be_damaged(tmp_path):
    written(tmp_path / "table", [rows(["text"] * 50)])
    shard = tmp_path / "table" / "files-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])

    with pytest.raises(CorruptArtifactError, match=r"files-00000\.parquet is damaged .* make its artifact anew"):
        list(read_files(tmp_path / "table"))


def test_a_changed_byte_in_the_text_is_noticed(tmp_path):
    text = "".join(f"{number} " for number in range(20_000))
    written(tmp_path / "table", [rows([text])])
    shard = tmp_path / "table" / "files-00000.parquet"
    column = pq.ParquetFile(shard).metadata.row_group(0).column(CODE_FILES.get_field_index("content"))
    data = bytearray(shard.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    shard.write_bytes(data)

    with pytest.raises(CorruptArtifactError):
        list(read_files(tmp_path / "table"))


@pytest.mark.parametrize("lost", ["files-00000.parquet", "files-00001.parquet"])
def test_a_missing_shard_is_named(tmp_path, lost):
    written(tmp_path / "table", [rows(["a" * 1024, "b" * 1024, "c" * 1024])], shard_bytes=1024)
    (tmp_path / "table" / lost).unlink()

    with pytest.raises(CorruptArtifactError, match=lost):
        count_rows(tmp_path / "table")


def test_a_missing_list_of_dropped_files_is_named(tmp_path):
    written(tmp_path / "table", [])
    (tmp_path / "table" / "dropped-00000.parquet").unlink()

    with pytest.raises(CorruptArtifactError, match=r"lacks its shard dropped-00000\.parquet"):
        list(read_dropped(tmp_path / "table"))


def test_another_table_is_not_taken_for_files(tmp_path):
    pq.write_table(pa.table({"content": ["x"]}), tmp_path / "files-00000.parquet")

    with pytest.raises(CorruptArtifactError, match="other columns"):
        list(read_files(tmp_path))


def test_a_directory_that_cannot_be_written_stays_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        FilesWriter(tmp_path / "not-there")


def test_the_error_of_the_block_comes_through(tmp_path):
    writer = FilesWriter(tmp_path)
    with pytest.raises(ZeroDivisionError), writer:
        raise ZeroDivisionError
    assert list(read_dropped(tmp_path)) == []


def test_rows_of_another_shape_are_refused(tmp_path):
    with FilesWriter(tmp_path) as writer, pytest.raises(TypeError, match="expected the columns"):
        writer.keep(pa.RecordBatch.from_pydict({"content": ["x"]}))
