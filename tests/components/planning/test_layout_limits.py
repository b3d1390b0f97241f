"""What cannot be had is refused, each with its reason."""

from typing import Any

import pytest

from components.planning.layout_plan import plan_layout
from tests.components.planning.trial_runs import model_of, pool_of, training_of


def reasons(vocab_size: int = 49_152, model: dict[str, Any] | None = None, **training: Any) -> tuple[str, ...]:
    return plan_layout(model_of(**(model or {})), vocab_size, training_of(**training), pool_of()).refusals


def test_the_reference_is_not_refused() -> None:
    assert reasons() == ()


@pytest.mark.parametrize(
    ("training", "vocab_size", "model", "told"),
    [
        ({"tensor": 5}, 49_155, {}, "model.num_heads 48 is not divisible by layout.tensor 5"),
        ({}, 49_153, {}, "the vocabulary 49,153 is not divisible by layout.tensor 4"),
        ({}, 49_152, {"feed_forward_size": 24_578}, "model.feed_forward_size 24,578 is not divisible by"),
        ({}, 49_152, {"context_length_tokens": 8190}, "model.context_length_tokens 8,190 is not divisible by"),
        ({"pipeline": 41, "data": 1}, 49_152, {}, "layout.pipeline 41 has more stages than model.num_layers 40"),
        ({"data": 64}, 49_152, {}, "tensor 4 x pipeline 4 x data 64 takes 1,024 devices, test has 512"),
        ({"tensor": 16, "data": 8}, 49_152, {}, "layout.tensor 16 does not share out the 8 devices of a node"),
        ({"tensor": 3, "data": 32}, 49_152, {}, "layout.tensor 3 does not share out the 8 devices of a node"),
        (
            {"tensor": 1, "pipeline": 1, "data": 512, "accumulation_steps": 1},
            49_152,
            {},
            "a device needs 207.1 GB, a100-80gb has 85.0 GB",
        ),
        ({"tensor": 1, "data": 128}, 49_152, {}, "stage 0 of 4 needs "),
    ],
)
def test_the_reason_is_told(training: dict[str, Any], vocab_size: int, model: dict[str, Any], told: str) -> None:
    found = reasons(vocab_size, model, **training)
    assert any(reason.startswith(told) for reason in found), found


def test_what_fits_and_divides_is_not_refused_for_the_number_of_tokens() -> None:
    """Without sequence parallelism nobody shares the tokens."""
    assert reasons(model={"context_length_tokens": 8190}, sequence_parallel=False) == ()
