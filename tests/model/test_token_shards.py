"""What is written is what is read, and damage is named."""

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.special_tokens import END_OF_TEXT
from model.token_shards import ShardWriter, TokenShardError, TokenShards

VOCAB_SIZE = 50
documents = st.lists(st.lists(st.integers(1, VOCAB_SIZE - 1), max_size=12), max_size=12)


def write(out, split_documents, shard_tokens=10, split="train"):
    writer = ShardWriter(out, shard_tokens, VOCAB_SIZE)
    for document in split_documents:
        writer.add(split, "python", np.array(document, np.uint16), num_bytes=3 * len(document))
    return writer.close()


def python_of(manifest, split="train"):
    return manifest["splits"].get(split, {"sources": {"python": {"shards": []}}})["sources"]["python"]


def mend_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


@given(documents=documents, shard_tokens=st.integers(1, 30), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_window_is_that_part_of_the_stream(tmp_path_factory, documents, shard_tokens, data):
    out = tmp_path_factory.mktemp("shards")
    manifest = write(out, documents, shard_tokens)
    stream = [token for document in documents for token in [*document, END_OF_TEXT]]
    shards = TokenShards(out)
    shards.verify()
    assert shards.num_tokens("train") == shards.num_tokens("train", "python") == len(stream)
    assert manifest == json.loads((out / "manifest.json").read_text())
    if documents:
        for sizes in (manifest["splits"]["train"], python_of(manifest)):
            assert (sizes["documents"], sizes["bytes"]) == (len(documents), 3 * sum(map(len, documents)))
        start = data.draw(st.integers(0, len(stream)))
        length = data.draw(st.integers(0, len(stream) - start))
        window = shards.window("train", "python", start, length)
        assert window.dtype == np.int64
        assert window.tolist() == stream[start : start + length]


@given(documents=documents, shard_tokens=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_shards_close_at_the_first_document_border_past_their_size(tmp_path_factory, documents, shard_tokens):
    manifest = write(tmp_path_factory.mktemp("shards"), documents, shard_tokens)
    lengths = [len(document) + 1 for document in documents]
    for shard in python_of(manifest)["shards"]:
        own, lengths = lengths[: shard["documents"]], lengths[shard["documents"] :]
        assert sum(own) == shard["tokens"]
        assert sum(own[:-1]) < shard_tokens
        assert sum(own) >= shard_tokens or not lengths
    assert not lengths


def test_the_same_documents_give_the_same_bytes(tmp_path):
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, [[1, 2, 3], [4] * 9, [5]])
    files = sorted(path.name for path in (tmp_path / "once").iterdir())
    shards = ["train-python-00000.bin", "train-python-00001.bin"]
    assert files == ["manifest.json", *shards, "train-python-documents.parquet"]
    for name in files:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_tokens_are_little_endian_pairs_of_bytes(tmp_path):
    write(tmp_path, [[1, 49]])
    assert (tmp_path / "train-python-00000.bin").read_bytes() == bytes([1, 0, 49, 0, 0, 0])


@given(
    documents=st.lists(
        st.tuples(
            st.sampled_from(["train", "validation"]),
            st.sampled_from(["c", "c-00000", "issue", "notebook_script"]),
            st.lists(st.integers(1, VOCAB_SIZE - 1), max_size=6),
        ),
        max_size=20,
    ),
    shard_tokens=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_each_source_of_each_split_is_a_stream_of_its_own(tmp_path_factory, documents, shard_tokens):
    out = tmp_path_factory.mktemp("shards")
    writer = ShardWriter(out, shard_tokens, VOCAB_SIZE)
    streams = {}
    for split, source, document in documents:
        writer.add(split, source, document, num_bytes=len(document))
        streams.setdefault((split, source), []).extend([*document, END_OF_TEXT])
    manifest = writer.close()
    shards = TokenShards(out)
    shards.verify()
    assert shards.splits == tuple(sorted({split for split, _ in streams}))
    for split in ("train", "validation", "test"):
        assert shards.sources(split) == tuple(sorted(source for held, source in streams if held == split))
        assert shards.num_tokens(split) == sum(len(stream) for (held, _), stream in streams.items() if held == split)
        for field in ("tokens", "documents", "bytes"):
            whole = manifest["splits"].get(split, {"sources": {}, field: 0})
            assert whole[field] == sum(stream[field] for stream in whole["sources"].values())
    for (split, source), stream in streams.items():
        assert shards.window(split, source, 0, len(stream)).tolist() == stream
    assert shards.num_tokens("test", "c") == shards.num_tokens("train", "java") == 0


def test_how_large_one_source_is_changes_no_byte_of_another(tmp_path):
    for name, extra in (("once", 1), ("again", 30)):
        (tmp_path / name).mkdir()
        writer = ShardWriter(tmp_path / name, 10, VOCAB_SIZE)
        for number in range(20):
            writer.add("train", "python", [1 + number, 2, 3], num_bytes=3)
            for _ in range(extra):
                writer.add("train", "c", [7, 8], num_bytes=2)
        writer.close()
    files = sorted(path.name for path in (tmp_path / "once").glob("train-python-*"))
    assert len(files) == 8
    for name in files:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("source", ["", "C", "c++", "a/b", "..", "1st", "-x", "a\n", "x" * 65])
def test_a_source_that_names_no_file_is_refused(tmp_path, source):
    with pytest.raises(TokenShardError, match="names no files"):
        ShardWriter(tmp_path, 10, VOCAB_SIZE).add("train", source, [1], num_bytes=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 5), (4, 1), (0, -1)])
def test_a_window_outside_the_stream_is_an_index_error(tmp_path, start, length):
    write(tmp_path, [[1, 2, 3]])
    with pytest.raises(IndexError, match="outside source 'python' of split 'train', of 4"):
        TokenShards(tmp_path).window("train", "python", start, length)


def test_a_source_that_is_not_there_has_no_window(tmp_path):
    write(tmp_path, [[1, 2, 3]])
    assert TokenShards(tmp_path).window("train", "c", 0, 0).tolist() == []
    with pytest.raises(IndexError, match="source 'c' of split 'train', of 0"):
        TokenShards(tmp_path).window("train", "c", 0, 1)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([1, VOCAB_SIZE], f"token id {VOCAB_SIZE}, beyond the vocabulary of {VOCAB_SIZE}"),
        ([-1, 2], "token id -1, beyond"),
        ([1, 70_000], "token id 70000, beyond"),
        ([1, END_OF_TEXT, 2], "end-of-text id 0 inside"),
        (np.array([1.5]), "1-dimensional array of float64"),
        (np.array([[1]]), "2-dimensional array"),
    ],
)
def test_the_writer_refuses_what_is_no_document(tmp_path, document, said):
    with pytest.raises(TokenShardError, match=said):
        ShardWriter(tmp_path, 10, VOCAB_SIZE).add("train", "python", document, num_bytes=1)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(TokenShardError, match=r"manifest\.json cannot be read .*tokenize the corpus again"):
        TokenShards(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "uint32"}, "dtype: .*'uint32'"),
        ({"format": 2}, "format: .*2; tokenize the corpus again"),
        ({"splits": 3}, "splits: "),
        ({"surprise": 1}, "surprise: "),
        ({"vocab_size": 10}, "token id 49, beyond the vocabulary of 10"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(tmp_path, changes, said):
    write(tmp_path, [[1, 49]])
    mend_manifest(tmp_path, **changes)
    with pytest.raises(TokenShardError, match=said):
        TokenShards(tmp_path).verify()


def test_a_manifest_cannot_point_outside_its_directory(tmp_path):
    manifest = write(tmp_path, [[1]])
    python_of(manifest)["shards"][0]["file"] = "../train-python-00000.bin"
    mend_manifest(tmp_path, **manifest)
    with pytest.raises(TokenShardError, match="file"):
        TokenShards(tmp_path)


def test_totals_that_do_not_add_up_are_refused(tmp_path):
    manifest = write(tmp_path, [[1]])
    manifest["splits"]["train"]["tokens"] = 3
    mend_manifest(tmp_path, **manifest)
    with pytest.raises(TokenShardError, match="split 'train' 3 tokens, but its sources have 2"):
        TokenShards(tmp_path)
    python_of(manifest)["tokens"] = 3
    mend_manifest(tmp_path, **manifest)
    with pytest.raises(TokenShardError, match="source 'python' of split 'train' 3 tokens, but its shards have 2"):
        TokenShards(tmp_path)


def test_an_index_of_other_documents_is_refused(tmp_path):
    manifest = write(tmp_path, [[1]])
    python_of(manifest)["index"]["documents"] = 2
    mend_manifest(tmp_path, **manifest)
    with pytest.raises(TokenShardError, match="source 'python' of split 'train' 1 documents, but its index has 2"):
        TokenShards(tmp_path)


def test_what_was_written_before_there_were_indexes_is_told_to_be_old(tmp_path):
    manifest = write(tmp_path, [[1]])
    del python_of(manifest)["index"]
    mend_manifest(tmp_path, **manifest | {"format": 2})
    with pytest.raises(TokenShardError, match=r"format: .*2; tokenize the corpus again"):
        TokenShards(tmp_path)


def test_a_source_of_a_manifest_must_be_a_name(tmp_path):
    manifest = write(tmp_path, [[1]])
    manifest["splits"]["train"]["sources"]["../x"] = python_of(manifest)
    mend_manifest(tmp_path, **manifest)
    with pytest.raises(TokenShardError, match="sources"):
        TokenShards(tmp_path)


def test_a_truncated_shard_is_refused_at_once(tmp_path):
    write(tmp_path, [[1, 2, 3]])
    os.truncate(tmp_path / "train-python-00000.bin", 7)
    with pytest.raises(TokenShardError, match="7 bytes, but the manifest's 4 tokens of uint16 take 8"):
        TokenShards(tmp_path)


def test_a_missing_shard_is_refused_at_once(tmp_path):
    write(tmp_path, [[1, 2, 3]])
    (tmp_path / "train-python-00000.bin").unlink()
    with pytest.raises(TokenShardError, match=r"train-python-00000\.bin cannot be read"):
        TokenShards(tmp_path)


def test_one_changed_byte_is_found_by_verify(tmp_path):
    write(tmp_path, [[1, 2, 3]])
    raw = bytearray((tmp_path / "train-python-00000.bin").read_bytes())
    raw[2] ^= 1
    (tmp_path / "train-python-00000.bin").write_bytes(raw)
    with pytest.raises(TokenShardError, match="has sha256"):
        TokenShards(tmp_path).verify()


def test_a_wrong_number_of_documents_is_found_by_verify(tmp_path):
    manifest = write(tmp_path, [[1], [2]])
    python_of(manifest)["shards"][0]["documents"] = 1
    mend_manifest(tmp_path, **manifest)
    with pytest.raises(TokenShardError, match="holds 2 documents, not the manifest's 1"):
        TokenShards(tmp_path).verify()


def test_a_token_beyond_the_vocabulary_is_refused_by_the_window_that_holds_it(tmp_path):
    write(tmp_path, [[1, 49, 2]])
    mend_manifest(tmp_path, vocab_size=49)
    shards = TokenShards(tmp_path)
    assert shards.window("train", "python", 2, 2).tolist() == [2, 0]
    with pytest.raises(TokenShardError, match=r"source 'python' of split 'train' in .* holds token id 49"):
        shards.window("train", "python", 0, 2)
