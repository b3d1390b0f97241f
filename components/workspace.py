"""One run at a time in a workspace: an advisory lock that says who holds it.

A run starts its steps as child processes: they find the holder's process id in STARLOOM_LOCK_HOLDER and pass.
"""

import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from components.errors import WorkspaceBusyError
from components.settings import Settings
from components.store import storage_errors_told

LOCK_HOLDER_VARIABLE = "STARLOOM_LOCK_HOLDER"


@contextmanager
def exclusive(settings: Settings, purpose: str) -> Generator[None]:
    """Hold the workspace while the block runs; WorkspaceBusyError says who holds it already.

    Entering again, from the holder itself or from one of its child processes, is free.
    """
    state = settings.state_dir
    with storage_errors_told(state):
        state.mkdir(parents=True, exist_ok=True)
    holder_file = state / "lock-holder.json"
    lock = FileLock(state / "lock", timeout=0)
    try:
        with storage_errors_told(state):
            lock.acquire()
    except Timeout:
        holder = _read_holder(settings)
        if holder and os.environ.get(LOCK_HOLDER_VARIABLE) == holder["token"]:
            yield
            return
        raise WorkspaceBusyError(_busy_sentence(settings, holder)) from None
    token = f"{os.getpid()}-{time.time_ns()}"
    outer = os.environ.get(LOCK_HOLDER_VARIABLE)
    try:
        holder_file.write_text(json.dumps({"pid": os.getpid(), "purpose": purpose, "token": token}))
        os.environ[LOCK_HOLDER_VARIABLE] = token
        yield
    finally:
        if outer is None:
            os.environ.pop(LOCK_HOLDER_VARIABLE, None)
        else:
            os.environ[LOCK_HOLDER_VARIABLE] = outer
        holder_file.unlink(missing_ok=True)
        lock.release()


def _read_holder(settings: Settings) -> dict[str, str] | None:
    try:
        return json.loads((settings.state_dir / "lock-holder.json").read_text())
    except (OSError, ValueError):
        return None


def _busy_sentence(settings: Settings, holder: dict[str, str] | None) -> str:
    who = f"process {holder['pid']} ({holder['purpose']})" if holder else "another process"
    return f"the workspace {settings.workspace} is in use by {who}; wait for it to end, or stop it, and run again"
