import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation import torch_threads
from components.evaluation.bits_per_byte import Passage, nats_of_passages, plan_windows
from model.transformer import CodeModel

CONTEXT = 64


def _passage(length: int, seed: int, first_scored: int = 1) -> Passage:
    generator = torch.Generator().manual_seed(seed)
    return Passage([0, *torch.randint(19, 320, (length,), generator=generator).tolist()], first_scored)


@given(st.integers(0, 400), st.integers(1, 120), st.integers(2, 50))
def test_windows_score_each_token_once_with_all_or_half_a_window_before_it(
    num_ids: int, first_scored: int, context: int
) -> None:
    windows = list(plan_windows(num_ids, first_scored, context))
    scored = [token for window in windows for token in range(window.first_scored, window.end + 1)]
    assert scored == list(range(first_scored, num_ids))
    for window in windows:
        assert 0 < window.end - window.start <= context
        assert window.first_scored - window.start >= min(window.first_scored, context // 2)


def test_few_windows_are_planned() -> None:
    assert len(list(plan_windows(65, 1, 64))) == 1
    assert len(list(plan_windows(66, 1, 64))) == 2
    assert len(list(plan_windows(6401, 1, 64))) == math.ceil(6400 / 33) - 1


def test_a_uniform_model_spends_the_logarithm_of_its_vocabulary_on_each_token(uniform_model: CodeModel) -> None:
    passages = [_passage(length, seed=length) for length in (1, 5, 64, 65, 300)] + [Passage([0], 1)]
    nats = nats_of_passages(uniform_model, passages, batch_size=4)
    expected = [(len(passage.ids) - 1) * math.log(320) for passage in passages]
    assert nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("length", "first_scored"), [(10, 1), (64, 1), (64, 30), (150, 1), (200, 120)])
def test_nats_are_those_of_each_token_predicted_alone(random_model: CodeModel, length: int, first_scored: int) -> None:
    passage = _passage(length, seed=3, first_scored=first_scored)
    ids = torch.tensor([passage.ids])
    expected = 0.0
    with torch.inference_mode():
        for window in plan_windows(len(passage.ids), first_scored, CONTEXT):
            for token in range(window.first_scored, window.end + 1):
                logits = random_model(ids[:, window.start : token])[0, -1]
                expected -= float(logits.log_softmax(0)[ids[0, token]])
    assert nats_of_passages(random_model, [passage], batch_size=3)[0] == pytest.approx(expected, rel=1e-5)


def test_neither_batches_nor_neighbours_change_a_passage(random_model: CodeModel) -> None:
    passages = [_passage(length, seed=length) for length in (3, 200, 64, 17, 90)]
    one_by_one = [nats_of_passages(random_model, [passage], batch_size=1)[0] for passage in passages]
    for batch_size in (2, 7):
        assert nats_of_passages(random_model, passages, batch_size) == pytest.approx(one_by_one, rel=1e-6)


def test_the_number_of_processors_changes_no_bit(random_model: CodeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    passages = [_passage(length, seed=length) for length in (3, 200, 64, 17, 90, 41)]
    found: list[list[float]] = []
    for processors in (1, 4):
        monkeypatch.setattr(torch_threads.os, "sched_getaffinity", lambda _, count=processors: set(range(count)))
        found.append(nats_of_passages(random_model, passages, batch_size=2))
    assert found[0] == found[1]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(19, 319), max_size=5), st.lists(st.integers(19, 319), max_size=5))
def test_a_given_text_is_read_after_end_of_text_and_not_scored(given_ids: list[int], ids: list[int]) -> None:
    passage = Passage.of_text(ids, given=given_ids)
    assert list(passage.ids) == [0, *given_ids, *ids]
    assert list(passage.ids[passage.first_scored :]) == ids
