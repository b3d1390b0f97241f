"""A run that begins with given weights: whatever the layout, as if it had drawn them itself. Real ranks; seconds."""

import pytest
import torch

from model.huggingface_format import BundleWeights, save_bundle
from model.train_request import StartFrom
from model.training_state import FirstState, Place
from model.transformer import CodeModel, initialize
from tests.model.rank_server import RankFailedError
from tests.model.training_rank import assert_same_artifact, request_of, run_request

pytestmark = pytest.mark.slow

FAMILIES = ("gpt_bigcode", "starcoder2")
SHORT = {"num_steps": 6, "checkpoint_every_steps": 2}


@pytest.fixture(scope="module")
def first_weights(corpus, tokenizer, tmp_path_factory):
    """By family, what a run with seed 17 begins with, exported."""
    bundles = {}
    for family in FAMILIES:
        place = tmp_path_factory.mktemp("bundle")
        request = request_of(corpus, place, family)
        model = CodeModel(request.model, tokenizer.get_vocab_size())
        initialize(model, request.model, request.pretrain.seed)
        save_bundle(place, request.model, tokenizer.get_vocab_size(), model.state_dict(), "float32", 2**20)
        bundles[family] = StartFrom(bundle=place, digest=family)
    return bundles


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "layout", [{}, {"tensor": 2, "pipeline": 2}, {"data": 2, "zero_stage": 3}], ids=("alone", "tp2pp2", "zero3")
)
def test_weights_that_it_would_have_drawn_give_the_same_run(ranks, corpus, first_weights, tmp_path, family, layout):
    drawn = request_of(corpus, tmp_path / "drawn", family, layout=layout, **SHORT)
    given = request_of(corpus, tmp_path / "given", family, layout=layout, start_from=first_weights[family], **SHORT)
    assert run_request(ranks, drawn) == run_request(ranks, given) == []
    assert_same_artifact(tmp_path / "given", tmp_path / "drawn")


def test_a_killed_run_goes_on_from_its_checkpoint_and_not_from_there(ranks, corpus, first_weights, tmp_path):
    start = {"start_from": first_weights["gpt_bigcode"], **SHORT}
    run_request(ranks, request_of(corpus, tmp_path / "undisturbed", **start))
    killed = request_of(corpus, tmp_path / "killed", **start)
    assert run_request(ranks, killed, kill={"rank": 0, "step": 5}) is None
    (note,) = run_request(ranks, killed)
    assert note in ("resumed at step 2", "resumed at step 4")
    assert_same_artifact(tmp_path / "killed", tmp_path / "undisturbed")


def test_rotary_positions_may_reach_further_than_where_it_began(ranks, corpus, first_weights, tmp_path):
    longer = {"context_length_tokens": 64, "rope_theta": 1e6, "attention_window_tokens": 20}
    request = request_of(
        corpus, tmp_path, "starcoder2", model=longer, start_from=first_weights["starcoder2"], num_steps=4
    )
    assert run_request(ranks, request) == []


@pytest.mark.parametrize(
    ("model", "differing"),
    [
        ({"context_length_tokens": 64}, r"context_length_tokens \(there 32, here 64\)"),
        ({"feed_forward_size": 128}, r"feed_forward_size \(there 64, here 128\)"),
    ],
)
def test_another_network_is_refused_by_what_differs(ranks, corpus, first_weights, tmp_path, model, differing):
    request = request_of(corpus, tmp_path, model=model, start_from=first_weights["gpt_bigcode"])
    with pytest.raises(RankFailedError, match=f"holds another network, which differs in {differing}; give"):
        run_request(ranks, request)


def test_weights_that_are_not_whole_are_refused(ranks, corpus, first_weights, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in first_weights["gpt_bigcode"].bundle.glob("*.*"):
        content = file.read_bytes()
        (broken / file.name).write_bytes(content[:-100] if file.suffix == ".safetensors" else content)
    request = request_of(corpus, tmp_path, start_from=StartFrom(bundle=broken, digest="broken"))
    with pytest.raises(RankFailedError, match=r"BundleError.*export the model again"):
        run_request(ranks, request)


def test_moments_begin_at_zero(first_weights):
    weights = BundleWeights(first_weights["gpt_bigcode"].bundle)
    state = FirstState(weights, {"x": (1,)})
    name = next(iter(weights))
    whole = weights[name]
    place = Place(shape=tuple(whole.shape), dimension=None, part=0, parts=1, start=3, length=5)
    numbers = state.fragment(name, place)
    assert torch.equal(numbers["weights"], whole.flatten()[3:8])
    assert not numbers["exp_avg"].any()
    assert not numbers["exp_avg_sq"].any()
