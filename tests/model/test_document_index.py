"""Which documents lie at which positions, and what is said of an index that is not as it was written. Some seconds."""

import hashlib
import json
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import document_index
from model.document_index import UNKNOWN, Document, DocumentIndex, IndexWriter, Origin
from model.token_shards import ShardWriter, TokenShardError, TokenShards

origins = st.builds(Origin, st.text(max_size=4), st.text(max_size=6), st.integers(1, 2**32 - 1))
INDEX = "train-python-documents.parquet"


def write(out, documents, shard_tokens=10):
    writer = ShardWriter(out, shard_tokens, 50)
    for length, origin in documents:
        writer.add("train", "python", [1] * length, length, origin)
    return writer.close()


def mend_manifest(out, manifest, **changes):
    manifest["splits"]["train"]["sources"]["python"]["index"] |= changes
    (out / "manifest.json").write_text(json.dumps(manifest))


@given(
    documents=st.lists(st.tuples(st.integers(0, 6), origins), min_size=1, max_size=30),
    group=st.integers(1, 8),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_the_documents_at_some_positions_are_those_that_were_written_there(tmp_path_factory, documents, group, data):
    out = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_index, "ROW_GROUP_DOCUMENTS", group)
        write(out, documents)
    shards = TokenShards(out)
    shards.verify()
    starts = list(accumulate((length + 1 for length, _ in documents), initial=0))
    start = data.draw(st.integers(0, starts[-1]))
    length = data.draw(st.integers(0, starts[-1] - start))
    written = [Document(at, size + 1, origin) for at, (size, origin) in zip(starts, documents, strict=False)]
    found = shards.documents("train", "python", start, length)
    assert found == [one for one in written if one.tokens_within(start, length) > 0]
    assert sum(one.tokens_within(start, length) for one in found) == length
    assert pq.read_metadata(out / INDEX).num_row_groups == -(-len(documents) // group)


def test_the_same_documents_give_the_same_bytes_and_the_manifest_their_digest(tmp_path):
    documents = [(number % 7, Origin(f"o/r{number % 50}", f"src/m{number}.py")) for number in range(10_000)]
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        manifest = write(tmp_path / name, documents, 10_000)
        held = manifest["splits"]["train"]["sources"]["python"]["index"]
        content = (tmp_path / name / INDEX).read_bytes()
        assert held == {"file": INDEX, "documents": 10_000, "sha256": hashlib.sha256(content).hexdigest()}
    assert (tmp_path / "once" / INDEX).read_bytes() == (tmp_path / "again" / INDEX).read_bytes()


def test_a_document_of_which_nothing_is_told_is_of_an_unknown_repository(tmp_path):
    writer = ShardWriter(tmp_path, 10, 50)
    writer.add("train", "python", [1], num_bytes=1)
    writer.close()
    assert TokenShards(tmp_path).documents("train", "python", 0, 2) == [Document(0, 2, UNKNOWN)]


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 5), (4, 1), (0, -1)])
def test_positions_outside_the_stream_are_an_index_error(tmp_path, start, length):
    write(tmp_path, [(3, UNKNOWN)])
    with pytest.raises(IndexError, match="outside source 'python' of split 'train', of 4"):
        TokenShards(tmp_path).documents("train", "python", start, length)


def test_a_stream_that_is_not_there_has_no_documents(tmp_path):
    write(tmp_path, [(3, UNKNOWN)])
    assert TokenShards(tmp_path).documents("test", "c", 0, 0) == []


def test_only_the_row_groups_that_answer_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(document_index, "ROW_GROUP_DOCUMENTS", 10)
    write(tmp_path, [(1, Origin("o/p", f"m{number}.py")) for number in range(100)], 1000)
    read, read_row_group = [], pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda file, group: (read.append(group), read_row_group(file, group))[1]
    )
    shards = TokenShards(tmp_path)
    assert read == []
    for start in (99, 100, 101):
        assert len(shards.documents("train", "python", start, 20)) == 10 + start % 2
    assert read == [4, 5, 6]


def test_small_streams_hold_no_file_open(tmp_path):
    writer = IndexWriter(tmp_path / INDEX)
    writer.append(3, UNKNOWN)
    assert list(tmp_path.iterdir()) == []
    assert writer.close().documents == 1


def test_a_training_that_goes_well_needs_no_index(tmp_path):
    write(tmp_path, [(3, UNKNOWN)])
    (tmp_path / INDEX).unlink()
    assert TokenShards(tmp_path).window("train", "python", 0, 4).tolist() == [1, 1, 1, 0]


def damage(path, kind):
    content = bytearray(path.read_bytes())
    match kind:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "one byte":
            paths = pq.read_metadata(path).row_group(0).column(3)
            content[paths.data_page_offset + paths.total_compressed_size - 1] ^= 1
            path.write_bytes(content)
        case "other columns":
            pq.write_table(pa.table({"start": [0]}), path)
        case "other documents":
            held = pq.read_table(path)
            pq.write_table(pa.concat_tables([held, held]), path)
        case "no statistics":
            pq.write_table(pq.read_table(path), path, write_statistics=False)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "cannot be read"),
        ("empty", "cannot be read"),
        ("half", "cannot be read"),
        ("one byte", "cannot be read"),
        ("other columns", "has other columns than an index of documents"),
        ("other documents", "holds 4 documents, not the manifest's 2"),
        ("no statistics", "does not tell where its row groups start"),
    ],
)
def test_an_index_that_is_not_as_it_was_written_is_named(tmp_path, kind, said):
    write(tmp_path, [(3, Origin("o/p", "a.py")), (4, Origin("o/p", "b.py"))])
    damage(tmp_path / INDEX, kind)
    shards = TokenShards(tmp_path)
    for asked in (lambda: shards.documents("train", "python", 0, 2), shards.verify):
        with pytest.raises(TokenShardError, match=rf"{INDEX} .*; tokenize the corpus again$"):
            asked()
    with pytest.raises(TokenShardError, match=said):
        shards.documents("train", "python", 0, 2)


def test_a_changed_index_is_found_by_its_digest(tmp_path):
    manifest = write(tmp_path, [(3, Origin("o/p", "a.py"))])
    mend_manifest(tmp_path, manifest, sha256="0" * 64)
    with pytest.raises(TokenShardError, match=f"{INDEX} has sha256 .*, not the manifest's 0000"):
        TokenShards(tmp_path).verify()


@pytest.mark.parametrize(
    ("starts", "tokens", "said"),
    [
        ([0, 5], [4, 5], "do not follow one another"),
        ([1, 4], [3, 5], "do not follow one another"),
        ([0, 4], [4, 6], "tells documents of 10 tokens, but the stream has 9"),
    ],
)
def test_documents_that_do_not_fill_the_stream_are_found_by_verify(tmp_path, starts, tokens, said):
    manifest = write(tmp_path, [(3, UNKNOWN), (4, UNKNOWN)])
    held = pq.read_table(tmp_path / INDEX)
    for name, values in (("start", starts), ("tokens", tokens)):
        column = held.schema.get_field_index(name)
        held = held.set_column(column, held.schema.field(name), pa.array(values, pa.uint64()))
    pq.write_table(held, tmp_path / INDEX)
    mend_manifest(tmp_path, manifest, sha256=hashlib.sha256((tmp_path / INDEX).read_bytes()).hexdigest())
    with pytest.raises(TokenShardError, match=said):
        TokenShards(tmp_path).verify()


def test_positions_beyond_32_bits_are_found(tmp_path):
    writer = IndexWriter(tmp_path / INDEX)
    sizes = np.full(4, 2**33)
    for number, size in enumerate(sizes.tolist()):
        writer.append(size, Origin("o/p", f"{number}"))
    index = DocumentIndex(tmp_path / INDEX, writer.close())
    (found,) = index.overlapping(3 * 2**33 - 1, 1)
    assert (found.start, found.origin.path) == (2**34, "2")
