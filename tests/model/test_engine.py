"""What the engine promises beside equal losses (test_layouts.py, test_resume.py). Real ranks; about twenty seconds."""

import pytest

pytestmark = pytest.mark.slow

FAMILIES = ("gpt_bigcode", "starcoder2")
LAYOUTS = [{"data": 2}, {"data": 2, "zero_stage": 3}, {"tensor": 2, "sequence_parallel": True}, {"pipeline": 2}]


def _run(ranks, function, layout, **spec):
    world_size = layout.get("tensor", 1) * layout.get("pipeline", 1) * layout.get("data", 1)
    return ranks.run(f"tests.model.engine_rank:{function}", world_size, layout=layout, **spec)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_ranks_that_hold_the_same_weight_hold_the_same_bits(ranks, family, precision):
    """Replicas, tensor ranks of a weight that is not cut, and both ends of a pipeline of a tied embedding."""
    layout = {"data": 2, "tensor": 2, "pipeline": 2, "sequence_parallel": True}
    held = _run(ranks, "digests_of_weights", layout, family=family, pretrain={"precision": precision})
    for stage in (held[:4], held[4:]):
        assert stage[0] == stage[2]
        assert stage[1] == stage[3]
        same = {name for name in stage[0] if stage[0][name] == stage[1][name]}
        kept_whole = {
            name
            for name in stage[0]
            if "norm" in name or name.endswith(("output.bias", "narrow.bias", "positions.weight"))
        }
        if family == "gpt_bigcode":  # one key/value head for all
            kept_whole |= {name for name in stage[0] if ".key_value." in name}
        assert same == kept_whole
    if family == "gpt_bigcode":
        assert [rank["tokens.weight"] for rank in held[:4]] == [rank["tokens.weight"] for rank in held[4:]]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_validations_change_no_bit_of_the_training(ranks, layout):
    spec = {"family": "gpt_bigcode"}
    without = _run(ranks, "steps_around_validations", layout, validates=False, **spec)
    assert _run(ranks, "steps_around_validations", layout, validates=True, **spec) == without


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_gradient_that_is_not_finite_shows_itself_on_every_rank_and_moves_nothing(ranks, layout, precision):
    spec = {"family": "starcoder2", "parameter": "blocks.0.attention_norm.weight", "pretrain": {"precision": precision}}
    for told in _run(ranks, "step_without_a_number", layout, **spec):
        assert told == ["nan", "inf", False]


@pytest.mark.parametrize("layout", [{}, {"tensor": 2}], ids=str)
def test_a_state_that_is_not_the_models_is_refused_with_nothing_changed(ranks, tmp_path, layout):
    said = _run(ranks, "refuse_states", layout, family="starcoder2", folder=str(tmp_path))[0]
    assert said["another shape"].startswith("ValueError: the state has ")
    assert said["without a parameter"] == ("ValueError: the state has final_norm.weight as None, this model as (32,)")
    assert said["half a parameter"] == "StateError: 16 of 32 numbers of final_norm.weight are in no file"
    undisturbed = ranks.run(
        "tests.model.layout_rank:train", layout.get("tensor", 1), family="starcoder2", layout=layout
    )
    assert [said["first"], said["the step after"]] == undisturbed[0]["steps"][:2]


def test_every_rank_hears_all_and_knows_who_it_is(ranks):
    found = _run(ranks, "exchange", {"data": 2, "pipeline": 3}, family="starcoder2")
    assert all(rank["said"] == [[number, 9, 255] for number in range(6)] for rank in found)
    assert [rank["who"] for rank in found] == [
        [number, 6, number % 2, number < 2 or number > 3]
        for number in range(6)  # a middle stage reads nothing
    ]
    assert {rank["nothing"] for rank in found} == {0.0}
