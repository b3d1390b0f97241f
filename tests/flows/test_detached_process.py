import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flows.detached_process import DetachedProcess, find_detached, log_tail, start_detached

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
FAMILY = (
    "import subprocess, sys; "
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
    "print(child.pid, flush=True); child.wait()"
)


class Starter:
    """Starts sleeping processes in one directory and ends what a test left."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "job.log"
        self.note = place / "job.json"
        self.started: list[DetachedProcess] = []

    def start(self, code: str = SLEEP) -> DetachedProcess:
        process = start_detached(
            (sys.executable, "-c", code),
            environment=os.environ,
            working_dir=self.place,
            log=self.log,
            note=self.note,
        )
        self.started.append(process)
        deadline = time.monotonic() + 20
        while not self.log.read_bytes().endswith(b"\n"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for process in starter.started:
        process.stop(grace_seconds=5)


def test_a_started_process_is_found_again_by_its_note(starter: Starter):
    process = starter.start()
    assert find_detached(starter.note) == process
    assert process.is_running()
    assert process.memory_bytes() > 0


def test_it_leads_a_session_of_its_own(starter: Starter):
    assert os.getsid(starter.start().pid) == starter.started[0].pid


def test_stopping_ends_it_and_all_it_started(starter: Starter):
    process = starter.start(FAMILY)
    family = process.processes()
    assert family[0].pid == process.pid
    assert len(family) == 2
    process.stop(grace_seconds=5)
    assert not process.is_running()
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)


def test_children_that_lost_their_leader_still_belong_to_it(starter: Starter):
    process = starter.start(FAMILY)
    psutil.Process(process.pid).kill()
    psutil.Process(process.pid).wait(10)
    assert not process.is_running()
    (orphan,) = process.processes()
    process.stop(grace_seconds=5)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_deaf_process_is_killed(starter: Starter):
    process = starter.start("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP)
    process.stop(grace_seconds=0.3)
    assert not process.is_running()


def test_a_stranger_with_the_same_id_is_never_touched(starter: Starter):
    stranger = starter.start()
    ours_of_long_ago = replace(stranger, birth=stranger.birth - 3600)
    assert not ours_of_long_ago.is_running()
    assert ours_of_long_ago.processes() == []
    ours_of_long_ago.stop(grace_seconds=1)
    assert stranger.is_running()


def test_stopping_twice_is_fine(starter: Starter):
    process = starter.start()
    process.stop(grace_seconds=5)
    process.stop(grace_seconds=5)
    assert process.processes() == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"pid": "x", "birth": 1}), "\x00"])
def test_a_note_that_cannot_be_read_is_no_note(tmp_path: Path, content: str):
    note = tmp_path / "job.json"
    assert find_detached(note) is None
    note.write_text(content)
    assert find_detached(note) is None


def test_the_log_of_the_time_before_is_kept(starter: Starter):
    starter.start("print('first time')").stop(grace_seconds=5)
    starter.start("print('second time')")
    assert starter.log.read_text() == "second time\n"
    assert starter.log.with_suffix(".previous.log").read_text() == "first time\n"


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path):
    log = tmp_path / "job.log"
    assert log_tail(log) == "(no log)"
    log.write_bytes(b"\n\n")
    assert log_tail(log) == "(the log is empty)"
    log.write_bytes(b"\n".join(b"line %d" % n for n in range(10_000)) + b"\n\xff\n")
    assert log_tail(log, num_lines=3) == "line 9998\nline 9999\n�"
