"""DeepSpeed's schedule on a clock: known bubbles, order, and messages that take both ends."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.pipeline_schedule import Work, bubble_fraction, timeline

SECONDS = st.floats(0.1, 10.0)


@given(stages=st.integers(1, 8), micro_batches=st.integers(1, 24), forward=SECONDS, backward=SECONDS)
def test_the_bubble_of_equal_stages_is_the_known_fraction(
    stages: int, micro_batches: int, forward: float, backward: float
) -> None:
    """(p - 1) / (m + p - 1), whatever a pass takes (arXiv 2104.04473, section 2.2)."""
    works = timeline(micro_batches, [forward] * stages, [backward] * stages)
    assert bubble_fraction(works) == pytest.approx((stages - 1) / (micro_batches + stages - 1), abs=1e-9)


def test_two_stages_and_two_micro_batches_by_hand() -> None:
    assert timeline(2, [1, 1], [2, 2]) == [
        Work(0, "forward", 0, 0, 1),
        Work(0, "activation", 0, 1, 1),
        Work(0, "forward", 1, 1, 2),
        Work(0, "gradient", 0, 4, 4),
        Work(0, "activation", 1, 4, 4),
        Work(0, "backward", 0, 4, 6),
        Work(0, "gradient", 1, 7, 7),
        Work(0, "backward", 1, 7, 9),
        Work(1, "activation", 0, 1, 1),
        Work(1, "forward", 0, 1, 2),
        Work(1, "backward", 0, 2, 4),
        Work(1, "gradient", 0, 4, 4),
        Work(1, "activation", 1, 4, 4),
        Work(1, "forward", 1, 4, 5),
        Work(1, "backward", 1, 5, 7),
        Work(1, "gradient", 1, 7, 7),
    ]


@given(
    forward=st.lists(SECONDS, min_size=2, max_size=6),
    micro_batches=st.integers(1, 12),
    message=st.floats(0.0, 1.0),
)
def test_work_waits_for_what_it_needs(forward: list[float], micro_batches: int, message: float) -> None:
    """A stage does one thing at a time, and a pass begins after the message that it needs."""
    stages = len(forward)
    works = timeline(micro_batches, forward, [2 * seconds for seconds in forward], message)
    at = {(work.stage, work.kind, work.micro_batch): work for work in works if work.kind in ("forward", "backward")}
    assert len(at) == 2 * stages * micro_batches
    for stage in range(stages):
        mine = [work for work in works if work.stage == stage]
        assert all(one.end <= other.start for one, other in itertools.pairwise(mine))
    for micro_batch in range(micro_batches):
        for stage in range(1, stages):
            before, after = at[stage - 1, "forward", micro_batch], at[stage, "forward", micro_batch]
            assert after.start >= before.end + message
            before, after = at[stage, "backward", micro_batch], at[stage - 1, "backward", micro_batch]
            assert after.start >= before.end + message
        assert at[0, "backward", micro_batch].start >= at[0, "forward", micro_batch].end


def test_the_slowest_stage_sets_the_pace() -> None:
    even, uneven = (max(w.end for w in timeline(32, [1, 1, last], [2, 2, 2 * last])) for last in (1.0, 1.5))
    assert uneven - even == pytest.approx(32 * 1.5)
