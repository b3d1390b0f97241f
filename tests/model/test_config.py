"""Which layouts a model can have, told before anything starts. Seconds: below one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import ParallelLayout, misfits, require_fitting
from model.tensor_parallel import TensorGroup
from model.training_errors import LayoutError
from model.transformer import CodeModel
from tests.model.layout_rank import model_of


def _layout(tensor=1, pipeline=1, sequence_parallel=False):
    return ParallelLayout(data=1, tensor=tensor, pipeline=pipeline, sequence_parallel=sequence_parallel, zero_stage=1)


@pytest.mark.parametrize(
    ("model", "vocab_size", "layout", "sentence"),
    [
        ({}, 60, {"tensor": 3}, "model.num_heads 4 is not divisible by layout.tensor 3; model.feed_forward_size 64 is"),
        (
            {"feed_forward_size": 66},
            60,
            {"tensor": 4},
            "model: model.feed_forward_size 66 is not divisible by layout.t",
        ),
        ({}, 61, {"tensor": 2}, "model: the vocabulary 61 is not divisible by layout.tensor 2; change one of them"),
        (
            {},
            60,
            {"pipeline": 5},
            "model: layout.pipeline 5 has more stages than model.num_layers 4; change one of them",
        ),
        (
            {"context_length_tokens": 33},
            60,
            {"tensor": 2, "sequence_parallel": True},
            "model: model.context_length_tokens 33 is not divisible by layout.tensor 2; change one of them",
        ),
    ],
)
def test_a_layout_that_does_not_fit_is_one_sentence(model, vocab_size, layout, sentence):
    with pytest.raises(LayoutError, match=r"^pretrain.layout does not fit the model: ") as caught:
        require_fitting(model_of("starcoder2", **model), vocab_size, _layout(**layout))
    assert sentence in str(caught.value)


@given(
    tensor=st.integers(1, 6),
    heads=st.sampled_from([(1, 1), (2, 1), (4, 2), (6, 2), (6, 3), (12, 4)]),
    feed_forward_size=st.integers(8, 24),
    vocab_size=st.integers(20, 40),
)
def test_what_fits_can_be_built_and_nothing_else(tensor, heads, feed_forward_size, vocab_size):
    model = model_of(
        "starcoder2",
        num_layers=1,
        num_heads=heads[0],
        num_key_value_heads=heads[1],
        hidden_size=heads[0] * 8,
        feed_forward_size=feed_forward_size,
    )
    group = TensorGroup(rank=tensor - 1, size=tensor, process_group=None, sequence_parallel=False)
    if misfits(model, vocab_size, _layout(tensor)):
        with pytest.raises(ValueError, match=f"is not divisible by layout.tensor {tensor}"):
            CodeModel(model, vocab_size, group)
    else:
        CodeModel(model, vocab_size, group)
