"""The cache changes nothing, the context is never exceeded, and draws are repeatable."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.generate import GenerationError, generate
from model.special_tokens import END_OF_TEXT
from model.transformer import CodeModel, initialize

VOCAB_SIZE = 60
CONTEXT = 32


@pytest.fixture(scope="module")
def model(small_config):
    made = CodeModel(small_config, VOCAB_SIZE)
    initialize(made, small_config, seed=4)
    return made.eval()


@torch.no_grad()
def greedy_without_cache(model, prompt, max_new_tokens, stop_ids):
    read, answer = list(prompt), []
    while len(answer) < max_new_tokens:
        token = int(model(torch.tensor([read]))[0, -1].argmax())
        if token in stop_ids:
            break
        read.append(token)
        answer.append(token)
    return answer


@given(
    prompt=st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=20),
    max_new_tokens=st.integers(1, 12),
    stop_ids=st.frozensets(st.integers(0, VOCAB_SIZE - 1), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_greedy_with_the_cache_is_greedy_without(model, prompt, max_new_tokens, stop_ids):
    answer = generate(model, prompt, max_new_tokens, stop_ids=stop_ids)
    assert answer == greedy_without_cache(model, prompt, max_new_tokens, stop_ids)


def test_a_long_prompt_is_cut_on_the_left(model):
    prompt = [token % VOCAB_SIZE for token in range(100)]
    answer = generate(model, prompt, 10, stop_ids=frozenset())
    assert len(answer) == 10
    assert answer == generate(model, prompt[-(CONTEXT - 10) :], 10, stop_ids=frozenset())


def test_an_empty_prompt_starts_a_document(model):
    assert generate(model, [], 5, stop_ids=frozenset()) == generate(model, [END_OF_TEXT], 5, stop_ids=frozenset())


def test_the_stop_id_ends_the_answer_and_is_not_in_it(model):
    free = generate(model, [1, 2, 3], 8, stop_ids=frozenset())
    stopped = generate(model, [1, 2, 3], 8, stop_ids=frozenset({free[4]}))
    assert stopped == free[: free.index(free[4])]


def test_draws_repeat_with_their_seed_and_differ_with_another(model):
    def draw(seed):
        return generate(model, [5], 20, temperature=1.5, seed=seed, stop_ids=frozenset())

    assert draw(1) == draw(1)
    assert len({tuple(draw(seed)) for seed in range(4)}) == 4


def test_a_nucleus_of_almost_nothing_is_greedy(model):
    drawn = generate(model, [7], 12, temperature=2.0, top_p=1e-6, seed=3, stop_ids=frozenset())
    assert drawn == generate(model, [7], 12, stop_ids=frozenset())


def test_draws_stay_in_the_nucleus_and_reach_all_of_it(model):
    with torch.no_grad():
        probabilities, ids = model(torch.tensor([[9]]))[0, -1].softmax(0).sort(descending=True)
    size = int((probabilities.cumsum(0) < 0.4).sum()) + 1
    nucleus = set(ids[:size].tolist())
    assert 1 < size < VOCAB_SIZE
    drawn = {
        generate(model, [9], 1, temperature=1.0, top_p=0.4, seed=seed, stop_ids=frozenset())[0]
        for seed in range(60 * size)
    }
    assert drawn == nucleus


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens 0 must be from 1 to 31"),
        ({"max_new_tokens": 32}, "max_new_tokens 32 must be from 1 to 31"),
        ({"temperature": -0.1}, "temperature -0.1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"top_p": 0.0}, r"top_p 0\.0"),
        ({"top_p": 1.1}, r"top_p 1\.1"),
    ],
)
def test_numbers_out_of_range_are_refused(model, asked, said):
    with pytest.raises(GenerationError, match=said):
        generate(model, [1], **({"max_new_tokens": 4} | asked), stop_ids=frozenset())
