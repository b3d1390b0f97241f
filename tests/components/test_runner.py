"""Runners: every piece once, whoever does it and whoever dies."""

import os
import signal
from pathlib import Path

import pytest

from components.errors import WorkerError
from components.runner import InlineRunner, PoolRunner, current_runner, use_runner


def squared(number: int) -> int:
    return number * number


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is refused")
    return number


def die_once(place: Path) -> int:
    """Kills its own process the first time that it is called with a place."""
    try:
        (place / "died").touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_always(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("runner", [InlineRunner(), PoolRunner(2), PoolRunner(1)], ids=["inline", "two", "one"])
def test_each_item_has_one_result_at_its_index(runner):
    assert sorted(runner.run(squared, range(7))) == [(index, index * index) for index in range(7)]
    assert list(runner.run(squared, [])) == []


@pytest.mark.parametrize("runner", [InlineRunner(), PoolRunner(2)], ids=["inline", "two"])
def test_what_the_function_raises_is_raised_here(runner):
    with pytest.raises(ValueError, match="three is refused"):
        list(runner.run(refuse_three, range(6)))


def test_the_work_of_a_killed_worker_is_done_by_another(tmp_path):
    places = [tmp_path / name for name in "abc"]
    for place in places[:1]:
        place.mkdir()
    for place in places[1:]:
        place.mkdir()
        (place / "died").touch()
    results = dict(PoolRunner(2).run(die_once, places))
    assert sorted(results) == [0, 1, 2]
    assert os.getpid() not in results.values()


def test_work_that_kills_every_worker_ends_with_a_sentence():
    with pytest.raises(WorkerError, match=r"worker processes died 3 times, .* of 3 pieces are not done"):
        list(PoolRunner(2).run(die_always, [1, 2, 3]))


def test_little_work_starts_no_process():
    [(_, worker), (_, again)] = PoolRunner(2).run(worker_of, [1, 2], size_bytes=1000)
    assert worker == again == os.getpid()


def worker_of(_: int) -> int:
    return os.getpid()


def test_the_runner_of_a_process_is_set_from_outside():
    runner = PoolRunner(2)
    assert isinstance(current_runner(), InlineRunner)
    with use_runner(runner):
        assert current_runner() is runner
    assert isinstance(current_runner(), InlineRunner)
