"""Seconds: below one."""

import subprocess
import sys
from pathlib import Path

import pytest

from model.training_errors import TrainingFailedError
from model.training_lock import only_trainer

_HOLDER = """
import sys, time
from pathlib import Path
from model.training_lock import only_trainer
with only_trainer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_directory_is_held_as_long_as_its_process_lives(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TrainingFailedError, match=rf"^another training keeps its checkpoints in {tmp_path}; wait"):
            with only_trainer(tmp_path):
                pass
        holder.kill()
        holder.wait()
        with only_trainer(tmp_path):
            pass


def test_it_is_let_go_whatever_happens(tmp_path: Path):
    with pytest.raises(KeyError), only_trainer(tmp_path):
        raise KeyError
    with only_trainer(tmp_path):
        pass


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrainingFailedError, match=r"cannot be written \(.+\); make room or mend its permissions"):
        with only_trainer(tmp_path / "file"):
            pass
