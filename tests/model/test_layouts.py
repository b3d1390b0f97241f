"""Every layout computes what one process computes. Real ranks, forked; about fifty seconds on two cores."""

from functools import cache

import pytest

from tests.model.layout_rank import MICRO_BATCHES

pytestmark = pytest.mark.slow

FAMILIES = ("gpt_bigcode", "starcoder2")
LAYOUTS = ((1, 2, 1), (2, 1, 1), (1, 1, 2), (2, 2, 1), (1, 2, 2), (2, 1, 2), (2, 2, 2))
"""Tensor, pipeline, data."""
_MATRIX = [
    pytest.param(family, *sizes, shared, id=f"{family}-{'x'.join(map(str, sizes))}{'-sequence' if shared else ''}")
    for family in FAMILIES
    for sizes in LAYOUTS
    for shared in ((False, True) if sizes[0] > 1 else (False,))
]
_FP32 = {"loss": 2e-6, "norm": 1e-6}
# bf16 has 8 bits: a rounding is off by up to 1/512 of the number, and each layout rounds its sums elsewhere. A loss
# near 4 may be off by 4/512 for each token, of which the mean over a step's tokens leaves less than a half.
_BF16 = {"loss": 4e-3, "norm": 1e-2}


@pytest.fixture(scope="module")
def trained(ranks):
    """Trains with a layout, and gives what rank 0 measured; each set of parameters once."""

    def train(family, tensor=1, pipeline=1, data=1, sequence_parallel=False, zero_stage=1, untagged=None, **pretrain):
        layout = {"tensor": tensor, "pipeline": pipeline, "data": data}
        spec = {"family": family, "layout": layout | {"sequence_parallel": sequence_parallel, "zero_stage": zero_stage}}
        spec |= {"pretrain": pretrain} | ({"untagged": untagged} if untagged else {})
        measured = ranks.run("tests.model.layout_rank:train", tensor * pipeline * data, **spec)
        assert all(rank == measured[0] for rank in measured), "ranks tell different losses"
        return measured[0]

    return cache(train)


def _assert_equal(measured, reference, loss, norm):
    assert len(measured["steps"]) == len(reference["steps"]) == 6
    for (own_loss, own_norm), (wanted_loss, wanted_norm) in zip(measured["steps"], reference["steps"], strict=True):
        assert own_loss == pytest.approx(wanted_loss, abs=loss, rel=0)
        assert own_norm == pytest.approx(wanted_norm, abs=0, rel=norm)
    assert measured["validation"] == pytest.approx(reference["validation"], abs=loss, rel=0)


@pytest.mark.parametrize(("family", "tensor", "pipeline", "data", "sequence_parallel"), _MATRIX)
def test_a_layout_computes_what_one_process_computes(trained, family, tensor, pipeline, data, sequence_parallel):
    measured = trained(family, tensor, pipeline, data, sequence_parallel)
    _assert_equal(measured, trained(family), **_FP32)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_matrix_would_see_a_fault(trained, family):
    losses, norms = zip(*trained(family)["steps"], strict=True)
    assert MICRO_BATCHES > 2  # else the replicas of 2 would accumulate nothing
    assert losses[0] - losses[-1] > 0.1  # it learns
    assert min(norms) > 0.5  # each step is clipped, so a wrong norm moves the weights otherwise


@pytest.mark.parametrize("layer", ["ColumnParallelLinear", "RowParallelLinear", "VocabularyEmbedding"])
def test_the_matrix_sees_a_shared_layer_that_does_not_say_so(trained, layer):
    right, wrong = trained("starcoder2", tensor=2), trained("starcoder2", tensor=2, untagged=layer)
    assert wrong["steps"][0][0] == right["steps"][0][0]  # the first loss is before any norm
    assert wrong["steps"][0][1] < (1 - 1e-3) * right["steps"][0][1]  # one rank's part was counted for all
    with pytest.raises(AssertionError):
        _assert_equal(wrong, trained("starcoder2"), **_FP32)


@pytest.mark.parametrize(
    "layout",
    [{"tensor": 2, "pipeline": 2, "sequence_parallel": True}, {"tensor": 2, "sequence_parallel": True}],
    ids=["2x2x1-sequence", "2x1x1-sequence"],
)
def test_attention_within_documents(trained, layout):
    alone = trained("starcoder2", document_attention="within")
    assert alone["steps"][0][0] != trained("starcoder2")["steps"][0][0]
    _assert_equal(trained("starcoder2", **layout, document_attention="within"), alone, **_FP32)


@pytest.mark.parametrize(
    ("family", "layout"),
    [("gpt_bigcode", {"pipeline": 2}), ("starcoder2", {"pipeline": 2}), ("starcoder2", {"tensor": 2})],
    ids=str,
)
def test_blocks_computed_twice_give_the_same_gradients(trained, family, layout):
    _assert_equal(trained(family, **layout, activation_checkpointing="blocks"), trained(family), **_FP32)


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_3(trained, family):
    _assert_equal(trained(family, data=2, zero_stage=3), trained(family), **_FP32)


@pytest.mark.parametrize("layout", [{"tensor": 2, "sequence_parallel": True}, {"pipeline": 2}], ids=str)
def test_z_loss(trained, layout):
    alone = trained("gpt_bigcode", z_loss_weight=0.1)
    assert alone["steps"][0][0] > trained("gpt_bigcode")["steps"][0][0]
    _assert_equal(trained("gpt_bigcode", **layout, z_loss_weight=0.1), alone, **_FP32)


@pytest.mark.parametrize(
    "layout",
    [
        {"data": 2},
        {"data": 2, "zero_stage": 3},
        {"tensor": 2, "sequence_parallel": True},
        {"pipeline": 2},
        {"pipeline": 2, "data": 2},
        {"tensor": 2, "pipeline": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", FAMILIES)
def test_bf16(trained, family, layout):
    """With a pipeline too, where DeepSpeed clears gradients that arrive before a hook of the layer's first output."""
    _assert_equal(trained(family, **layout, precision="bf16"), trained(family, precision="bf16"), **_BF16)


@pytest.mark.long
@pytest.mark.parametrize("layout", [{}, {"tensor": 2, "sequence_parallel": True}, {"pipeline": 2}], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_blocks(trained, family, layout):
    _assert_equal(trained(family, **layout, compile_blocks=True), trained(family), **_FP32)
