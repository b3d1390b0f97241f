"""A worker ends with its parent, by either net. Seconds: below one."""

import os
import subprocess
import sys

from model.parent_watch import ORPHANED

_WORKER = """
import os, signal, sys, threading
from model.parent_watch import die_with_parent
die_with_parent(int(sys.argv[1]), sys.stdin.fileno())
print("watching", flush=True)
signal.pause()
"""

_PARENT = """
import os, subprocess, sys
pipe = os.pipe()
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdin=pipe[0])
worker.wait()
"""


def _start(parent: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _WORKER, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_closed_pipe_ends_the_worker():
    with _start(os.getpid()) as worker:
        assert worker.stdout is not None
        assert worker.stdin is not None
        assert worker.stdout.readline() == b"watching\n"
        worker.stdin.close()
        assert worker.wait(30) == ORPHANED


def test_a_worker_whose_parent_was_gone_before_it_looked_ends():
    with _start(parent=1) as worker:
        assert worker.wait(30) == ORPHANED


def test_killing_the_parent_kills_the_worker_though_others_hold_its_pipe_open():
    reading, writing = os.pipe()
    worker_output, parent_output = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT.replace("os.pipe()", f"({reading}, None)"), _WORKER],
        stdout=parent_output,
        pass_fds=(reading,),
    )
    os.close(parent_output)
    with os.fdopen(worker_output, "rb") as lines:
        assert lines.readline() == b"watching\n"
        parent.kill()
        parent.wait()
        assert lines.read() == b""  # ended: the worker held the last writing end
    os.close(reading)
    os.close(writing)
