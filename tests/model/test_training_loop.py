"""What the loop tells while it trains; that it ends in the same bits is in test_resume.py. Real ranks; some seconds."""

import re

import pytest

from tests.model.training_rank import request_of, run_request

pytestmark = pytest.mark.slow


def test_a_loss_that_stands_out_is_told_with_its_batch_and_the_training_goes_on(ranks, corpus, tmp_path):
    request = request_of(corpus, tmp_path, num_steps=30)
    (note,) = run_request(ranks, request, "train_with_a_spike", step=25)
    batch = re.escape("samples 192 to 199 (issue 2, python 6)")
    assert re.fullmatch(rf"the loss of step 25 is \d\.\d{{3}}, of those before \d\.\d{{3}}: look at {batch}", note)
    assert (request.out / "model.safetensors").exists()


def test_a_slow_rank_is_told_every_fifty_steps(ranks, corpus, tmp_path):
    request = request_of(corpus, tmp_path, layout={"data": 2}, num_steps=60, accumulation_steps=1)
    (note,) = run_request(ranks, request, "train_with_a_slow_rank", rank=1)
    assert re.fullmatch(
        r"rank 1 computes \d+\.\d times as long as ranks of equal work \(step 50\); all wait for it", note
    )


def test_a_rank_that_hangs_is_told_by_all(ranks, corpus, tmp_path):
    request = request_of(corpus, tmp_path, layout={"data": 2})
    assert run_request(ranks, request, "hang", rank=1) is None
    told = [(request.work_dir / f"told-{rank}.json").read_text() for rank in range(2)]
    assert "rank 0 has been at step 4 for 1 seconds, in engine.py line " in told[0]  # waits for the other
    assert "rank 1 has been at step 3 for 1 seconds, in training_loop.py line " in told[1]
