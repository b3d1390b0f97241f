"""Runs a request on this machine as a child process, and keeps the promises that a cluster launcher keeps.

The job has a process group of its own: whatever it starts ends with it, and a Ctrl-C in the terminal reaches only us.
"""

import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from k8s.guard import end_group
from k8s.request import Cancelled, Failed, JobOutcome, JobRequest, Succeeded

_KEPT_LINES = 40
_POLL_SECONDS = 0.2
_READ_BYTES = 65_536


class JobStartError(Exception):
    """The command could not be started."""


class LocalJob:
    """A command at work. `lines` must be read to its end before `outcome` is asked."""

    def __init__(self, request: JobRequest, process: subprocess.Popen[bytes], grace_seconds: float) -> None:
        self._request = request
        self._process = process
        self._grace_seconds = grace_seconds
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._is_cancelled = False

    def lines(self) -> Iterator[str]:
        """What the command says on stdout and stderr, line by line as it comes, until it ends."""
        rest = b""
        for piece in self._pieces():
            *complete, rest = (rest + piece).split(b"\n")
            for line in complete:
                yield self._kept(line)
        if rest:
            yield self._kept(rest)

    def _pieces(self) -> Iterator[bytes]:
        """Output as it comes. A grandchild that outlives the command may hold the pipe: then silence is the end."""
        if self._process.stdout is None:
            return
        pipe = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                has_ended = self._process.poll() is not None
                if selector.select(0 if has_ended else _POLL_SECONDS):
                    piece = os.read(pipe, _READ_BYTES)
                    if not piece:
                        return
                    yield piece
                elif has_ended:
                    return

    def _kept(self, line: bytes) -> str:
        text = line.decode("utf-8", errors="replace").rstrip("\r")
        self._last_lines.append(text)
        return text

    def cancel(self) -> None:
        """End the command and all it started; returns when they are gone. Safe from another thread."""
        if self._process.poll() is None:
            self._is_cancelled = True
        end_group(self._process.pid, self._grace_seconds, reap=self._process.poll)

    def outcome(self) -> JobOutcome:
        """How the command ended."""
        code = self._process.wait()
        if self._is_cancelled:
            return Cancelled()
        if code == 0:
            return Succeeded()
        return Failed(128 - code if code < 0 else code, tuple(self._last_lines))


@contextmanager
def launch(request: JobRequest, *, grace_seconds: float = 10.0) -> Generator[LocalJob]:
    """Start the request; leaving the block, also by an exception, ends whatever of it still runs.

    The job ends too when this process is killed. JobStartError when the command or the directory does not exist.
    """
    try:
        process = subprocess.Popen(
            request.command,
            cwd=request.working_dir,
            env={**os.environ, **request.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise JobStartError(f"{request.name}: {request.command[0]} cannot be started: {error}") from None
    job = LocalJob(request, process, grace_seconds)
    with process, _guarded(process):
        try:
            yield job
        finally:
            job.cancel()


@contextmanager
def _guarded(process: subprocess.Popen[bytes]) -> Generator[None]:
    guard = subprocess.Popen(
        [sys.executable, "-m", "k8s.guard", str(process.pid)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        guard.communicate(b".")
