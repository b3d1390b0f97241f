"""Seconds: below one."""

import hashlib
from pathlib import Path

import pytest

from model.durable_files import write_durably
from model.training_errors import TrainingFailedError


def test_content_replaces_what_was_there_and_nothing_else_remains(tmp_path: Path):
    path = tmp_path / "weights"
    path.write_bytes(b"older and longer")
    assert write_durably(path, b"new") == hashlib.sha256(b"new").digest()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_leaves_the_older_content(tmp_path: Path):
    path = tmp_path / "weights"
    path.write_bytes(b"older")
    (tmp_path / "weights.unfinished").symlink_to("/dev/full")
    with pytest.raises(TrainingFailedError, match=r"weights cannot be written \(No space left on device\); make room"):
        write_durably(path, b"new")
    assert list(tmp_path.iterdir()) == [path]  # and leaves room
    assert path.read_bytes() == b"older"


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrainingFailedError, match=r"cannot be written \(Not a directory\)"):
        write_durably(tmp_path / "file" / "weights", b"new")
