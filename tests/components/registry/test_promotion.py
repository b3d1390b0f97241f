import pytest

from components.config import PromoteModelConfig
from components.registry.promotion import Evaluation, decide

CONFIG = PromoteModelConfig(recipe=1, max_bits_per_byte_regression=0.0, must_beat_baseline=True)
GOOD = Evaluation(bits_per_byte=1.5, baseline_bits_per_byte=2.0)


def failing(
    candidate: Evaluation = GOOD,
    champion: Evaluation | None = None,
    broken: tuple[str, ...] = (),
    damaged: str | None = None,
    config: PromoteModelConfig = CONFIG,
) -> list[str]:
    return [check.name for check in decide(candidate, champion, broken, damaged, config) if not check.passed]


def test_a_first_model_that_beats_the_baseline_is_promoted() -> None:
    assert failing() == []


@pytest.mark.parametrize(("bits", "expected"), [(1.4, []), (1.5, []), (1.500001, ["no worse than the champion"])])
def test_a_candidate_must_be_no_worse_than_the_champion(bits: float, expected: list[str]) -> None:
    candidate = Evaluation(bits_per_byte=bits, baseline_bits_per_byte=2.0)
    assert failing(candidate, champion=GOOD) == expected


def test_a_regression_within_the_tolerance_passes() -> None:
    tolerant = CONFIG.model_copy(update={"max_bits_per_byte_regression": 0.05})
    slightly_worse = Evaluation(bits_per_byte=1.54, baseline_bits_per_byte=2.0)
    assert failing(slightly_worse, champion=GOOD, config=tolerant) == []


def test_a_model_that_does_not_beat_the_baseline_is_held_back_unless_it_need_not() -> None:
    weak = Evaluation(bits_per_byte=2.0, baseline_bits_per_byte=2.0)
    assert failing(weak) == ["beats the baseline"]
    assert failing(weak, config=CONFIG.model_copy(update={"must_beat_baseline": False})) == []


def test_a_broken_contract_anywhere_upstream_holds_it_back() -> None:
    assert failing(broken=("contract of raw_files broken",)) == ["contracts hold"]


def test_altered_registered_files_hold_it_back() -> None:
    assert failing(damaged="model.safetensors has sha256 a") == ["registered bytes are the evaluated ones"]


def test_every_check_says_its_figures() -> None:
    checks = decide(GOOD, GOOD, (), None, CONFIG)
    assert all(check.why for check in checks)
    assert "1.5000 against 2.0000 bits per byte" in {check.why for check in checks}
