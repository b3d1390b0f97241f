"""One run at a time in a workspace: an advisory lock that says who holds it.

A run starts its steps as child processes: they find the holder's token in STARLOOM_LOCK_HOLDER and pass. A step on
another machine bears the name of its job there, and passes while the holder has let in a guest of that name.
"""

import json
import os
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from components.errors import WorkspaceBusyError
from components.settings import Settings
from components.store import storage_errors_told

LOCK_HOLDER_VARIABLE = "STARLOOM_LOCK_HOLDER"

_HOLDER_FILE = "lock-holder.json"


@contextmanager
def exclusive(settings: Settings, purpose: str) -> Generator[None]:
    """Hold the workspace while the block runs; WorkspaceBusyError says who holds it already.

    Entering again, from the holder itself or from one of its child processes, is free.
    """
    state = settings.state_dir
    with storage_errors_told(state):
        state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / "lock", timeout=0)
    try:
        with storage_errors_told(state):
            lock.acquire()
    except Timeout:
        holder = _read_holder(settings)
        if holder and os.environ.get(LOCK_HOLDER_VARIABLE, "") in (holder["token"], holder["guest"]):
            yield
            return
        raise WorkspaceBusyError(_busy_sentence(settings, holder)) from None
    token = f"{os.getpid()}-{time.time_ns()}"
    outer = os.environ.get(LOCK_HOLDER_VARIABLE)
    try:
        _write_holder(settings, {"pid": os.getpid(), "purpose": purpose, "token": token, "guest": None})
        os.environ[LOCK_HOLDER_VARIABLE] = token
        yield
    finally:
        if outer is None:
            os.environ.pop(LOCK_HOLDER_VARIABLE, None)
        else:
            os.environ[LOCK_HOLDER_VARIABLE] = outer
        (state / _HOLDER_FILE).unlink(missing_ok=True)
        lock.release()


def workspace_id(settings: Settings) -> str:
    """A name of its own that the workspace gets the first time, and keeps as long as its state."""
    path = settings.state_dir / "workspace-id"
    with storage_errors_told(settings.state_dir):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(uuid.uuid4().hex)
        return path.read_text()


@contextmanager
def admitting(settings: Settings, guest: str) -> Generator[None]:
    """Let a process pass whose STARLOOM_LOCK_HOLDER is the name `guest`, while the block runs; for who holds the lock.

    A name stays what it is when the holder is another process than before; its token does not.
    """
    _write_guest(settings, guest)
    try:
        yield
    finally:
        _write_guest(settings, None)


def _write_guest(settings: Settings, guest: str | None) -> None:
    holder = _read_holder(settings)
    if holder is None or holder["token"] != os.environ.get(LOCK_HOLDER_VARIABLE):
        raise WorkspaceBusyError(_busy_sentence(settings, holder))
    _write_holder(settings, holder | {"guest": guest})


def _write_holder(settings: Settings, holder: dict[str, Any]) -> None:
    """Whole or not at all, since others read it meanwhile."""
    path = settings.state_dir / _HOLDER_FILE
    written = path.with_suffix(".new")
    written.write_text(json.dumps(holder))
    written.replace(path)


def _read_holder(settings: Settings) -> dict[str, Any] | None:
    try:
        return json.loads((settings.state_dir / _HOLDER_FILE).read_text())
    except (OSError, ValueError):
        return None


def _busy_sentence(settings: Settings, holder: dict[str, Any] | None) -> str:
    who = f"process {holder['pid']} ({holder['purpose']})" if holder else "another process"
    return f"the workspace {settings.workspace} is in use by {who}; wait for it to end, or stop it, and run again"
