"""Fragments of any cutting are the whole again, and what is missing is told. Seconds: below five."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from model.training_state import KINDS, Fragment, Place, StateError, StateReader, state_bytes


@st.composite
def cuttings(draw, shape):
    """Places that together hold every number of a parameter: in parts of a dimension, each in runs, in any order."""
    cuts = [(None, 1)] + [
        (axis, parts) for axis, size in enumerate(shape) for parts in range(2, size + 1) if size % parts == 0
    ]
    dimension, parts = draw(st.sampled_from(cuts))
    own = tuple(size // parts if axis == dimension else size for axis, size in enumerate(shape))
    length = torch.Size(own).numel()
    places = []
    for part in range(parts):
        borders = sorted(draw(st.sets(st.integers(1, length - 1), max_size=3)) if length > 1 else [])
        for start, end in itertools.pairwise([0, *borders, length]):
            places.append(
                Place(shape=own, dimension=dimension, part=part, parts=parts, start=start, length=end - start)
            )
    return draw(st.permutations(places))


@st.composite
def shapes_cut_twice(draw):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    return shape, draw(cuttings(shape)), draw(cuttings(shape))


def _whole(shape):
    generator = torch.Generator().manual_seed(len(shape))
    return {kind: torch.randn(shape, generator=generator) for kind in KINDS}


def _written(folder, places, whole):
    """A file for each place, as if each were a rank."""
    for file in folder.glob("*.safetensors"):
        file.unlink()
    for rank, place in enumerate(places):
        state = {"w": Fragment(place, {kind: place.cut(tensor) for kind, tensor in whole.items()})}
        (folder / f"{rank}.safetensors").write_bytes(state_bytes(state))
    return StateReader(sorted(folder.glob("*.safetensors")))


@given(cut=shapes_cut_twice())
@settings(max_examples=60)
def test_any_cutting_is_read_as_any_other(tmp_path_factory, cut):
    shape, written, wanted = cut
    whole = _whole(shape)
    reader = _written(tmp_path_factory.getbasetemp(), written, whole)
    assert reader.shapes == {"w": shape}
    for kind, tensor in whole.items():
        assert torch.equal(reader.whole("w", kind), tensor)
    for place in [*wanted, *written]:
        found = reader.fragment("w", place)
        for kind, tensor in whole.items():
            assert torch.equal(found[kind], place.cut(tensor))


@given(cut=shapes_cut_twice(), lost=st.integers(0))
@settings(max_examples=30)
def test_a_lost_file_is_told_with_the_parameter(tmp_path_factory, cut, lost):
    shape, written, _ = cut
    gone = written.pop(lost % len(written))
    reader = _written(tmp_path_factory.getbasetemp(), written, _whole(shape))
    sentence = (
        rf"^{gone.length} of {torch.Size(gone.shape).numel()} numbers of w are in no file" if written else "^no file"
    )
    with pytest.raises(StateError, match=sentence):
        reader.whole("w", "weights")


def test_copies_of_a_whole_parameter_count_once(tmp_path):
    """Tensor ranks all hold the norms, replicas of a tied embedding its runs."""
    place = Place(shape=(3,), dimension=None, part=0, parts=1, start=0, length=3)
    whole = _whole((3,))
    reader = _written(tmp_path, [place, place], whole)
    assert torch.equal(reader.whole("w", "exp_avg"), whole["exp_avg"])


def test_a_fragment_that_is_read_is_not_part_of_anything(tmp_path):
    place = Place(shape=(4,), dimension=None, part=0, parts=1, start=0, length=4)
    reader = _written(tmp_path, [place], _whole((4,)))
    half = reader.fragment("w", place.model_copy(update={"length": 2}))["weights"]
    assert half.untyped_storage().nbytes() == 2 * 4


def test_equal_states_are_equal_bytes_in_any_order_of_names():
    place = Place(shape=(2,), dimension=None, part=0, parts=1, start=0, length=2)
    a, b = (Fragment(place, {kind: torch.tensor([1.0, -0.0]) for kind in KINDS}) for _ in range(2))
    assert state_bytes({"a": a, "b": b}) == state_bytes({"b": b, "a": a})


def test_a_file_of_somebody_else_is_told(tmp_path):
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(StateError, match=r"other.safetensors does not say of which parameters it holds parts"):
        StateReader([tmp_path / "other.safetensors"])
