import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from components.training.loss_curve import BaselineLevel, draw_loss_curve, smooth

Lines = Callable[[int], Sequence[str]]


def _write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("count", [1, 2, 9, 300])
def test_a_picture_is_drawn_of_any_number_of_steps_with_the_same_bytes_each_time(
    tmp_path: Path, metric_lines: Lines, count: int
) -> None:
    metrics = _write(tmp_path / "metrics.jsonl", metric_lines(count))
    for name in ("first.png", "second.png"):
        draw_loss_curve(metrics, tmp_path / name)
    height, width, _ = imread(tmp_path / "first.png").shape
    assert (width, height) == (1440, 960)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_every_curve_shows(tmp_path: Path, metric_lines: Lines) -> None:
    lines = metric_lines(40)
    baseline = BaselineLevel("order-3 byte model", bits_per_byte=2.0, bytes_per_token=3.0)
    without_validation = [line.split(',"validation_loss"')[0].removesuffix("}") + "}" for line in lines]
    one_source = [re.sub(r',"validation_loss/c":[0-9.]+', "", line) for line in lines]
    pictures: list[bytes] = []
    cases = [(lines, None), (lines, baseline), (without_validation, None), (one_source, None)]
    for number, (drawn, level) in enumerate(cases):
        picture = tmp_path / f"{number}.png"
        draw_loss_curve(_write(tmp_path / "metrics.jsonl", drawn), picture, level)
        pictures.append(picture.read_bytes())
    assert len(set(pictures)) == 4


def test_no_window_system_is_loaded(tmp_path: Path, metric_lines: Lines) -> None:
    draw_loss_curve(_write(tmp_path / "metrics.jsonl", metric_lines(5)), tmp_path / "curve.png")
    managers = getattr(sys.modules.get("matplotlib._pylab_helpers"), "Gcf", None)
    assert managers is None or not managers.figs


def test_a_baseline_is_placed_where_a_network_would_code_as_well() -> None:
    level = BaselineLevel("bytes", bits_per_byte=2.0, bytes_per_token=3.0)
    assert level.nats_per_token == pytest.approx(6.0 * math.log(2))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.integers(0, 20))
def test_a_smoothed_curve_stays_within_its_neighbours_and_is_not_delayed(values: list[float], reach: int) -> None:
    smoothed = smooth(values, reach)
    assert len(smoothed) == len(values)
    for place, average in enumerate(smoothed):
        near = min(place, reach)
        neighbours = values[place - near : place + near + 1]
        assert average == pytest.approx(sum(neighbours) / len(neighbours), abs=1e-9)
    assert smooth(values, 0) == pytest.approx(values, abs=1e-9)


def test_a_straight_line_stays_where_it_is() -> None:
    line = [float(number) for number in range(50)]
    assert smooth(line, 5)[:45] == pytest.approx(line[:45])
