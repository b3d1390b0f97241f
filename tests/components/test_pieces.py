"""Directories that appear whole or not at all."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.pieces import load_table, make_piece, map_array, name_of, new_array, save_array, save_table


@pytest.fixture
def counted():
    """A writer of a piece, and the list of the places it was asked to fill."""
    places = []

    def write(place):
        places.append(place)
        (place / "text").write_text("whole")

    return write, places


def test_a_piece_is_made_once(tmp_path, counted):
    write, places = counted
    piece = make_piece(tmp_path / "deep" / "piece", write)
    assert make_piece(tmp_path / "deep" / "piece", write) == piece
    assert (piece / "text").read_text() == "whole"
    assert len(places) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda piece: (piece / "text").write_text("whol"),
        lambda piece: (piece / "text").write_text("WHOLE"),
        lambda piece: (piece / "text").unlink(),
        lambda piece: (piece / "piece.json").unlink(),
        lambda piece: (piece / "piece.json").write_text("{"),
    ],
)
def test_a_damaged_piece_is_made_again(tmp_path, counted, damage):
    write, places = counted
    piece = make_piece(tmp_path / "piece", write)
    damage(piece)
    make_piece(piece, write)
    assert (piece / "text").read_text() == "whole"
    assert len(places) == 2


def test_a_writer_that_fails_leaves_no_piece(tmp_path, counted):
    def fail(place):
        (place / "text").write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        make_piece(tmp_path / "piece", fail)
    assert not (tmp_path / "piece").exists()
    assert (make_piece(tmp_path / "piece", counted[0]) / "text").read_text() == "whole"


def test_a_piece_that_another_made_meanwhile_is_taken(tmp_path, counted):
    write, _ = counted

    def write_late(place):
        write(place)
        make_piece(tmp_path / "piece", write)

    assert make_piece(tmp_path / "piece", write_late) == tmp_path / "piece"
    assert [path.name for path in tmp_path.iterdir()] == ["piece"]


def test_a_name_depends_on_each_part():
    names = {name_of("a", "bc"), name_of("ab", "c"), name_of("abc"), name_of("a", "b", "c")}
    assert len(names) == 4
    assert name_of("a") == name_of("a")


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_an_array_comes_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("array") / "numbers"
    save_array(path, np.array(values, dtype=np.int64))
    assert map_array(path, np.int64).tolist() == values


@pytest.mark.parametrize("shape", [(4,), (2, 3), (0,), (0, 5)])
def test_a_new_array_is_zeros_that_its_file_keeps(tmp_path, shape):
    array = new_array(tmp_path / "numbers", np.int32, shape)
    assert array.shape == shape
    assert not array.any()
    array[...] = 7
    assert map_array(tmp_path / "numbers", np.int32).tolist() == [7] * array.size


def test_a_table_comes_back(tmp_path):
    for table in (pa.table({"a": [1, 2, None]}), pa.table({"a": pa.array([], pa.large_string())})):
        save_table(tmp_path / "table", table)
        assert load_table(tmp_path / "table").equals(table)
