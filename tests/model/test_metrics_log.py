"""Seconds: below one."""

from pathlib import Path

import pytest

from model.metrics_log import MetricsLog
from model.reporting import ListSink, reporting_to
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


def test_ranks_other_than_0_keep_nothing():
    log = MetricsLog(None)
    log.restart(b"old")
    log.append({"step": 1})
    assert log.content() == b""


def test_a_disk_that_is_full_for_a_while_loses_no_line_and_is_told_once(tmp_path: Path):
    path, sink = tmp_path / "metrics.jsonl", ListSink()
    log = MetricsLog(path)
    log.restart(b"")
    with reporting_to(sink):
        log.append({"step": 1})
        path.unlink()
        path.symlink_to("/dev/full")
        log.append({"step": 2})
        log.append({"step": 3})
        path.unlink()
        log.append({"step": 4})
        log.append({"step": 5})
    assert path.read_bytes() == log.content() == b"".join(b'{"step":%d}\n' % step for step in range(1, 6))
    assert sink.notes == [f"{path} cannot be written (No space left on device), the training goes on"]


def test_a_disk_that_is_full_at_the_start_is_one_sentence(tmp_path: Path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingFailedError, match=r"metrics.jsonl cannot be written \(No space left on device\)"):
        MetricsLog(tmp_path / "metrics.jsonl").restart(b"from a checkpoint")
