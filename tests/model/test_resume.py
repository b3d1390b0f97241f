"""A run that is taken up again goes on as if it had never stopped, in its own layout to the bit.

Real ranks, forked; about fifty seconds on two cores.
"""

import pytest
import torch
from safetensors.torch import load_file

from tests.model.rank_server import RankFailedError
from tests.model.training_rank import assert_same_artifact, request_of, run_request

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


_KILLS = (
    {"step": 1, "rank": 0},  # before the first checkpoint
    {"step": 4, "measure": "checkpoint_seconds", "rank": 1},  # while one is written
    {"step": 7, "rank": 1},
    {"step": 12, "rank": 0},  # before the last one
    {"step": 12, "measure": "checkpoint_seconds", "rank": 1},  # behind it
)


@pytest.mark.parametrize("layout", [{"data": 2}, {"tensor": 2, "sequence_parallel": True}, {"pipeline": 2}], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bits(ranks, corpus, tmp_path, family, layout):
    asked = {"family": family, "layout": layout, "accumulation_steps": 1}
    assert run_request(ranks, request_of(corpus, tmp_path / "undisturbed", **asked)) == []
    request = request_of(corpus, tmp_path / "killed", **asked)
    for kill in _KILLS:
        assert run_request(ranks, request, kill=kill) is None
        assert not list(request.out.iterdir())
    assert run_request(ranks, request) == ["resumed at step 12"]
    assert_same_artifact(tmp_path / "killed", tmp_path / "undisturbed")


def test_a_run_goes_on_in_another_layout_with_the_same_batch(ranks, corpus, tmp_path):
    assert run_request(ranks, request_of(corpus, tmp_path / "undisturbed", layout={"pipeline": 2})) == []
    request = request_of(corpus, tmp_path / "moved", layout={"pipeline": 2})
    assert run_request(ranks, request, kill={"step": 10, "rank": 0}) is None
    step = max(_committed(request))
    notes = run_request(ranks, request_of(corpus, tmp_path / "moved", layout={"data": 2}, accumulation_steps=1))
    assert notes == [f"resumed at step {step}", "in another layout: from here on the weights agree but for rounding"]
    wanted, found = (load_file(tmp_path / run / "out" / "model.safetensors") for run in ("undisturbed", "moved"))
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-3, atol=1e-4)


def test_another_batch_is_another_run(ranks, corpus, tmp_path):
    assert run_request(ranks, request_of(corpus, tmp_path), kill={"step": 9, "rank": 0}) is None
    with pytest.raises(RankFailedError, match=r"CheckpointError: .* differs in batch \(there 8, here 16\); restore"):
        run_request(ranks, request_of(corpus, tmp_path, layout={"data": 2}))


@pytest.mark.parametrize("layout", [{}, {"data": 2}], ids=str)
def test_a_save_that_fails_costs_no_training_unless_it_is_the_last(ranks, corpus, tmp_path, layout):
    assert run_request(ranks, request_of(corpus, tmp_path / "undisturbed", layout=layout)) == []
    request = request_of(corpus, tmp_path / "full", layout=layout)
    (note,) = run_request(ranks, request, full_disk=7)
    assert note.startswith("a checkpoint was not saved, the training goes on: ")
    assert "rank-00000.safetensors cannot be written (File too large); make room" in note
    assert_same_artifact(tmp_path / "full", tmp_path / "undisturbed")
    assert _committed(request) == [4, 12]  # of three

    request = request_of(corpus, tmp_path / "full to the end", layout=layout)
    with pytest.raises(
        RankFailedError, match=r"TrainingFailedError: .*rank-00000.safetensors cannot be written \(File"
    ):
        run_request(ranks, request, full_disk=11)
    assert _committed(request) == [4, 8]
    assert run_request(ranks, request) == ["resumed at step 8"]
    assert_same_artifact(tmp_path / "full to the end", tmp_path / "undisturbed")


def _committed(request):
    return sorted(
        int(file.parent.name.removeprefix("step-")) for file in request.work_dir.glob("checkpoints/*/commit.json")
    )
