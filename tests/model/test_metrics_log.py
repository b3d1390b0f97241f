"""Seconds: below one."""

from pathlib import Path

import pytest

from model.metrics_log import MetricsLog
from model.training_errors import TrainingFailedError


def test_lines_are_canonical_and_a_restart_forgets_what_came_after_the_checkpoint(tmp_path: Path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.restart(b"")
    log.append({"step": 1, "loss": 0.1})
    at_checkpoint = log.content()
    log.append({"step": 2, "loss": 1e-7})
    assert log.content() == b'{"loss":0.1,"step":1}\n{"loss":1e-07,"step":2}\n'
    log.restart(at_checkpoint)
    assert log.content() == b'{"loss":0.1,"step":1}\n'


def test_a_value_that_json_does_not_know_is_never_written(tmp_path: Path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.restart(b"")
    with pytest.raises(ValueError, match="JSON compliant"):
        log.append({"loss": float("nan")})
    assert log.content() == b""


def test_a_rank_whose_log_is_unread_keeps_nothing():
    log = MetricsLog.unread()
    log.restart(b"old")
    log.append({"step": 1})
    assert log.content() == b""


def test_a_full_disk_is_one_sentence(tmp_path: Path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingFailedError, match=r"metrics.jsonl cannot be written \(No space left on device\)"):
        MetricsLog(tmp_path / "metrics.jsonl").append({"step": 1})
