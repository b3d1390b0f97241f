"""A run that is taken up again goes on as if it had never stopped, in its own layout to the bit.

Real ranks, forked; about forty seconds of one core in all.
"""

import pytest

pytestmark = pytest.mark.slow

FAMILIES = ("gpt_bigcode", "starcoder2")
_3D = {"tensor": 2, "pipeline": 2, "data": 2}


def _world_size(layout):
    return layout.get("tensor", 1) * layout.get("pipeline", 1) * layout.get("data", 1)


def _resumed(ranks, layout, **spec):
    return ranks.run("tests.model.layout_rank:resume", _world_size(layout), layout=layout, **spec)


def _saved(ranks, layout, **spec):
    return ranks.run("tests.model.layout_rank:train_and_save", _world_size(layout), layout=layout, **spec)


@pytest.mark.parametrize(("family", "precision"), [("gpt_bigcode", "fp32"), ("starcoder2", "bf16")])
@pytest.mark.parametrize(
    "layout",
    [
        {"data": 2},
        {"tensor": 2, "sequence_parallel": True},
        {"pipeline": 2},
        {"data": 2, "zero_stage": 3},
        {"tensor": 2, "pipeline": 2},
    ],
    ids=str,
)
def test_in_the_same_layout_every_bit_is_the_same(ranks, tmp_path, family, layout, precision):
    """Losses, norms, and each rank's weights and moments at the end."""
    spec = {"family": family, "folder": str(tmp_path), "pretrain": {"precision": precision}}
    undisturbed = _saved(ranks, layout, **spec)
    assert _resumed(ranks, layout, **spec) == undisturbed


@pytest.fixture(scope="module")
def saved_in_3d(ranks, tmp_path_factory):
    """The state of eight ranks after three steps, by family, and what came after."""
    saved = {}
    for family in FAMILIES:
        folder = tmp_path_factory.mktemp("state")
        measured = _saved(ranks, _3D, family=family, folder=str(folder))
        saved[family] = folder, _steps(measured[0])
    return saved


def _steps(measured):
    return [[float.fromhex(number) for number in step] for step in measured["bits"]]


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"data": 4},
        {"data": 2, "zero_stage": 3},
        {"tensor": 2, "sequence_parallel": True},
        {"pipeline": 4},
        {"tensor": 2, "pipeline": 2},
        _3D,
    ],
    ids=str,
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_of_eight_ranks_is_read_by_any_other_layout(ranks, saved_in_3d, family, layout):
    folder, wanted = saved_in_3d[family]
    steps = _steps(_resumed(ranks, layout, family=family, folder=str(folder))[0])
    if layout is _3D:
        assert steps == wanted
    for (loss, norm), (wanted_loss, wanted_norm) in zip(steps, wanted, strict=True):
        assert loss == pytest.approx(wanted_loss, abs=2e-6, rel=0)
        assert norm == pytest.approx(wanted_norm, abs=0, rel=1e-6)


@pytest.mark.parametrize("layout", [{}, {"tensor": 2}, {"pipeline": 2}], ids=str)
def test_a_state_of_zero_3_too(ranks, tmp_path, layout):
    spec = {"family": "starcoder2", "folder": str(tmp_path)}
    wanted = _steps(_saved(ranks, {"data": 2, "zero_stage": 3}, **spec)[0])
    for step, wanted_step in zip(_steps(_resumed(ranks, layout, **spec)[0]), wanted, strict=True):
        assert step == pytest.approx(wanted_step, abs=2e-6, rel=1e-6)
