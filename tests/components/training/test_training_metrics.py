from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from components.errors import CorruptArtifactError
from components.training.training_metrics import read_metrics


def test_lines_are_read_in_their_order(tmp_path: Path, metric_lines: Callable[[int], Sequence[str]]) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(metric_lines(20)) + "\n")
    steps = read_metrics(path)
    assert [step.step for step in steps] == list(range(1, 21))
    assert [step.step for step in steps if step.validation_loss is not None] == [10, 20]
    assert (steps[0].loss, steps[0].tokens) == (8.0, 128)
    assert steps[9].source_losses == {"c": 2.4, "python": 3.0}
    assert steps[8].source_losses == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"there is no .*metrics\.jsonl"),
        ("", "is empty"),
        ("{}\n", "line 1 cannot be read"),
        ('{"step": 1, "tokens": 1, "loss": NaN, "learning_rate": 1, "gradient_norm": 1}\n', "line 1 cannot be read"),
        ("half a li", "line 1 cannot be read"),
        ("[1]", "line 1 cannot be read"),
        (
            '{"step":1,"tokens":1,"loss":1,"learning_rate":1,"gradient_norm":1,"validation_loss/c":NaN}',
            "line 1 cannot be read",
        ),
        (
            '{"step":1,"tokens":1,"loss":1,"learning_rate":1,"gradient_norm":1,"training_loss/c":1}',
            "line 1 cannot be read",
        ),
    ],
)
def test_damaged_metrics_are_named(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "metrics.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CorruptArtifactError, match=said):
        read_metrics(path)
