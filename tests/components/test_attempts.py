"""What attempts at a training have taken is summed up, whatever ended them. Seconds: about three."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.attempts import Attempts
from components.planning.run_cost import RunCost, observed_cost
from model.reporting import ListSink, reporting_to

ROOT = Path(__file__).parents[2]


def _hours(seconds: float) -> RunCost:
    return observed_cost(1, seconds * 3600, None)


def _note(place: Path, number: int, hours: float) -> Path:
    place.mkdir(exist_ok=True)
    note = place / f"{number:05d}.json"
    note.write_text(_hours(hours).model_dump_json())
    return note


def _fail_after(seconds: float) -> None:
    time.sleep(seconds)
    raise ZeroDivisionError


def test_the_first_attempt_is_the_only_one(tmp_path: Path) -> None:
    with Attempts(tmp_path / "attempts", _hours) as attempts:
        time.sleep(0.1)
    assert attempts.count == 1
    assert 0.1 <= attempts.cost().device_hours < 5
    assert [note.name for note in (tmp_path / "attempts").iterdir()] == ["00001.json"]


def test_the_attempts_before_are_counted_however_they_ended(tmp_path: Path) -> None:
    _note(tmp_path, 1, 100)
    _note(tmp_path, 2, 0.5)
    with pytest.raises(ZeroDivisionError), Attempts(tmp_path, _hours):
        _fail_after(0.2)
    (tmp_path / "00005.json.unfinished").write_text("half")
    with Attempts(tmp_path, _hours) as attempts:
        assert attempts.count == 4
        assert 100.7 <= attempts.cost().device_hours < 110
    assert sorted(note.name for note in tmp_path.glob("*.json")) == [f"0000{number}.json" for number in range(1, 5)]


def test_kill_9_costs_the_time_since_the_last_note(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from components.attempts import Attempts\nfrom components.planning.run_cost import observed_cost\n"
        "with Attempts(Path(sys.argv[1]), lambda seconds: observed_cost(1, seconds * 3600, None), 0.05):\n"
        "    time.sleep(600)\n"
    )
    victim = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT)
    deadline, noted = time.monotonic() + 60, 0.0
    while noted < 0.3:
        assert victim.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
        noted = max((Attempts(tmp_path, _hours).cost().device_hours, noted))
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    attempts = Attempts(tmp_path, _hours)
    assert attempts.count == 2
    assert attempts.cost().device_hours >= 0.29


def test_a_note_that_cannot_be_read_is_told_and_not_counted(tmp_path: Path) -> None:
    _note(tmp_path, 1, 1)
    _note(tmp_path, 2, 1).write_text("{")
    with reporting_to(sink := ListSink()), Attempts(tmp_path, _hours) as attempts:
        assert attempts.count == 2
    assert sink.notes == [
        f"an attempt at this training is not counted in its cost: {tmp_path / '00002.json'} cannot be read"
    ]
    assert (tmp_path / "00002.json").read_text() == "{"
    assert (tmp_path / "00003.json").exists()


def test_a_disk_that_takes_no_note_ends_no_training(tmp_path: Path) -> None:
    (tmp_path / "attempts").write_text("a file where the directory should be")
    with reporting_to(sink := ListSink()), Attempts(tmp_path / "attempts", _hours) as attempts:
        pass
    assert attempts.cost().device_hours >= 0
    (told,) = sink.notes
    assert told.startswith("what this attempt took is not noted for the next: ")
