"""A whole training on a GPU, killed in the middle. Skipped where there is none; about half a minute where there is."""

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from model.launcher import train
from model.reporting import ListSink, reporting_to
from model.training_errors import TrainingFailedError
from tests.model.training_rank import assert_same_artifact, request_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine"),
]


class _KillAtStep(ListSink):
    """Kills the rank when the loss of a step arrives."""

    def metrics(self, values: Any, step: int) -> None:
        super().metrics(values, step)
        if step == 10 and "loss" in values:
            (rank,) = [one for one in psutil.Process().children() if "model.train_worker" in one.cmdline()]
            rank.kill()


@pytest.mark.parametrize("family", ["gpt_bigcode", "starcoder2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_killed_on_a_gpu_ends_in_the_bits_of_one_that_was_not(
    corpus: Path, tmp_path: Path, family: str, precision: str
):
    straight, killed = (
        request_of(corpus, tmp_path / name, family, layout={"data": 1}, precision=precision)
        for name in ("straight", "killed")
    )
    train(straight)
    with reporting_to(_KillAtStep()), pytest.raises(TrainingFailedError, match="was killed by SIGKILL"):
        train(killed)
    sink = ListSink()
    with reporting_to(sink):
        train(killed)
    assert sink.notes == ["resumed at step 8"]
    assert_same_artifact(tmp_path / "killed", tmp_path / "straight")
