"""A process that outlives the one that started it, found again by its note: a file with its id and its birth time.

A process id alone is not trusted: the system gives it to another process once its owner is gone. Only one that
was born when the note says is ours.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_SAME_BIRTH_SECONDS = 2.0
"""The birth time is counted from the boot time, which moves when the clock is set."""
_LOG_TAIL_BYTES = 4_000


@dataclass(frozen=True)
class DetachedProcess:
    """The leader of a session of its own; whatever it starts belongs to it."""

    pid: int
    birth: float
    """Seconds since the epoch."""

    def processes(self) -> list[psutil.Process]:
        """What is alive of it, the leader first. Empty when the id belongs to a stranger by now."""
        leader = _alive(self.pid)
        if leader is not None and not self._is_born_as_noted(leader):
            return []
        family = {process.pid: process for process in _session(self.pid)}
        if leader is not None:
            family |= {process.pid: process for process in [leader, *leader.children(recursive=True)]}
        return sorted(family.values(), key=lambda process: process.pid != self.pid)

    def is_running(self) -> bool:
        """Whether the leader itself is alive."""
        leader = _alive(self.pid)
        return leader is not None and self._is_born_as_noted(leader)

    def _is_born_as_noted(self, process: psutil.Process) -> bool:
        return abs(process.create_time() - self.birth) <= _SAME_BIRTH_SECONDS

    def memory_bytes(self) -> int:
        """Resident memory of all of it; shared pages count once for each process that maps them."""
        return sum(_resident_bytes(process) for process in self.processes())

    def stop(self, grace_seconds: float) -> None:
        """Ask all of it to end, kill what is left after `grace_seconds`, and return when it is gone."""
        processes = self.processes()
        for process in processes:
            _unless_gone(process.terminate)
        _, left = psutil.wait_procs(processes, timeout=grace_seconds)
        left = [*left, *self.processes()]
        for process in left:
            _unless_gone(process.kill)
        psutil.wait_procs(left, timeout=grace_seconds)


def start_detached(
    command: tuple[str, ...], *, environment: Mapping[str, str], working_dir: Path, log: Path, note: Path
) -> DetachedProcess:
    """Start `command` in a session of its own, its output going to `log`, and leave a note of it.

    The log of the time before is kept beside it as `*.previous.log`.
    """
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=working_dir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    found = DetachedProcess(process.pid, psutil.Process(process.pid).create_time())
    draft = note.with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(found)))
    draft.replace(note)
    return found


def find_detached(note: Path) -> DetachedProcess | None:
    """The process of a note, alive or not; None without a note that can be read."""
    try:
        content = json.loads(note.read_text())
        return DetachedProcess(pid=int(content["pid"]), birth=float(content["birth"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def log_tail(log: Path, num_lines: int = 15) -> str:
    """The last lines of a log, or a word for an empty one."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return "(no log)"
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-num_lines:]) or "(the log is empty)"


def _alive(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def _session(leader_pid: int) -> list[psutil.Process]:
    """Every living process of the session, also those whose parents are gone."""
    members: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            is_member = os.getsid(process.pid) == leader_pid and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, psutil.NoSuchProcess):
            continue
        if is_member:
            members.append(process)
    return members


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _unless_gone(action: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        action()
