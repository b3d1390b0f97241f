"""Tensors over several files: full as they may be, found again by name, and damage told."""

import json
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.tensor_files import INDEX_FILE, TENSORS_FILE, TensorFileError, TensorFiles, files_of, write_tensors


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=30), limit=st.integers(1, 120))
def test_files_keep_the_order_and_are_as_full_as_they_may_be(sizes, limit):
    named = {f"t{number}": size for number, size in enumerate(sizes)}
    files = files_of(named, limit)
    assert [name for names in files.values() for name in names] == list(named)
    groups = [[named[name] for name in names] for names in files.values()]
    assert all(group for group in groups)
    assert all(sum(group) <= limit or len([size for size in group if size]) == 1 for group in groups)
    assert all(sum(first) + second[0] > limit for first, second in pairwise(groups))


def write(path, shard_bytes):
    tensors = {f"t{number}": torch.full((number + 1, 2), float(number)) for number in range(6)}
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    write_tensors(path, sizes, tensors.items(), shard_bytes)
    return tensors


@pytest.mark.parametrize(("shard_bytes", "num_files"), [(10**6, 1), (100, 2), (1, 6)])
def test_every_tensor_is_found_again(tmp_path, shard_bytes, num_files):
    tensors = write(tmp_path, shard_bytes)
    assert len(list(tmp_path.glob("*.safetensors"))) == num_files
    assert (tmp_path / INDEX_FILE).exists() == (num_files > 1)
    files = TensorFiles(tmp_path)
    assert set(files) == set(tensors)
    assert len(files) == 6
    for name, tensor in tensors.items():
        assert files.shape(name) == tuple(tensor.shape)
        assert torch.equal(files[name], tensor)


def test_only_one_file_is_held_at_a_time(tmp_path):
    """A file is on the disk before the first tensor of the next is asked for."""
    seen = []

    def tensors():
        for number in range(3):
            seen.append(len(list(tmp_path.glob("*.safetensors"))))
            yield f"t{number}", torch.zeros(4)

    write_tensors(tmp_path, {f"t{number}": 16 for number in range(3)}, tensors(), shard_bytes=16)
    assert seen == [0, 1, 2]


def index_saying(path, weight_map):
    write(path, 100)
    (path / INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))


def test_an_index_that_points_outside_is_refused(tmp_path):
    index_saying(tmp_path, {"t0": "../other/model.safetensors"})
    with pytest.raises(TensorFileError, match="is no bare file name"):
        TensorFiles(tmp_path)


def test_an_index_that_promises_more_than_the_files_hold_is_refused(tmp_path):
    write(tmp_path, 100)
    index = json.loads((tmp_path / INDEX_FILE).read_text())
    index["weight_map"]["t9"] = index["weight_map"]["t0"]
    (tmp_path / INDEX_FILE).write_text(json.dumps(index))
    with pytest.raises(TensorFileError, match="do not agree on t9"):
        TensorFiles(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"t0": 3}}'])
def test_a_damaged_index_is_named(tmp_path, content):
    write(tmp_path, 100)
    (tmp_path / INDEX_FILE).write_text(content)
    with pytest.raises(TensorFileError, match=r"index\.json cannot be read"):
        TensorFiles(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TensorFileError, match=r"model\.safetensors cannot be read"):
        TensorFiles(tmp_path)
    write(tmp_path, 100)
    missing = min(tmp_path.glob("model-*"))
    missing.unlink()
    with pytest.raises(TensorFileError, match=rf"{missing.name} cannot be read"):
        TensorFiles(tmp_path)
    assert not (tmp_path / TENSORS_FILE).exists()
