"""A process that hangs ends and tells. Seconds: about ten, asleep."""

import subprocess
import sys
import threading
import time

from model.hang_watch import HUNG, HangWatch

_HANGS = """
import sys, time
from model.durable_files import flush_directory
from model.hang_watch import HangWatch
from pathlib import Path

def sleep_in_code_of_ours(watch):
    watch.beat("step 7")
    {sleep}

with HangWatch(3, 0.3, print) as watch:
    sleep_in_code_of_ours(watch)
"""
# Through PyDLL a call keeps the lock that every thread of Python needs.
_STUCK = "import ctypes; ctypes.PyDLL(None).sleep(600)"


def _run(sleep):
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", _HANGS.format(sleep=sleep)], capture_output=True, text=True, timeout=60, check=False
    )
    return ended, time.monotonic() - started


def test_a_rank_that_hangs_says_where_and_leaves_its_stacks():
    ended, _ = _run("flush_directory = time.sleep(600)")
    assert ended.returncode == HUNG
    assert ended.stdout.startswith("rank 3 has been at step 7 for 0.3 seconds, in code that is not ours, and was ended")
    assert "sleep_in_code_of_ours" in ended.stderr
    assert "most recent call first" in ended.stderr


def test_the_line_is_the_innermost_of_ours():
    ended, _ = _run("import os; os.fsync = lambda _: time.sleep(600); flush_directory(Path('/'))")
    assert "in durable_files.py line " in ended.stdout
    assert "(flush_directory), and was ended" in ended.stdout


def test_a_python_that_is_stuck_itself_is_ended_too():
    ended, seconds = _run(_STUCK)
    assert ended.returncode != 0
    assert "sleep_in_code_of_ours" in ended.stderr
    assert seconds < 30


def test_beats_keep_it_alive_and_the_end_ends_it():
    told = []
    with HangWatch(0, 0.4, told.append) as watch:
        for step in range(8):
            watch.beat(f"step {step}")
            time.sleep(0.1)
    time.sleep(0.6)
    assert told == []
    assert [thread for thread in threading.enumerate() if thread.name == "hang-watch"] == []
