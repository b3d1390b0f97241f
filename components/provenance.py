"""What is observed about a run and decides nothing: code, lock, host, person, cost."""

import getpass
import hashlib
import os
import platform
import resource
import subprocess
from contextlib import suppress
from pathlib import Path


def code_state(workspace: Path) -> tuple[str | None, bool | None]:
    """Commit of the workspace and whether tracked files differ from it; (None, None) outside a repository."""
    commit = _git(workspace, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None, None
    changes = _git(workspace, "status", "--porcelain", "--untracked-files=no")
    return commit, bool(changes)


def _git(workspace: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(workspace), *arguments], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def person_at(workspace: Path) -> str:
    """Who sits here: Git's user.name, else the login; "" if nothing says it. Said, not proven."""
    if name := _git(workspace, "config", "user.name"):
        return name
    with suppress(OSError, KeyError):  # a user without a name, as in some containers
        return getpass.getuser()
    return ""


def lock_digest(workspace: Path) -> str | None:
    """sha256 of requirements.lock in the workspace, or None."""
    lock = workspace / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None


def host_description() -> str:
    """The kind of machine, not its name: architecture, cores, Python."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
