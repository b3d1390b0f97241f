"""A worker never outlives who started it, however that one ended.

Two nets: the kernel kills the worker when its parent dies (Linux), and a pipe whose other end only the parent
holds reads as ended. The second also covers a parent that died before the first was set.
"""

import ctypes
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""
ORPHANED = 70
"""Exit code of a worker whose parent is gone: EX_SOFTWARE of sysexits.h; nobody is left to read it."""


def die_with_parent(parent: int, pipe: int) -> None:
    """End this process at once when process `parent` ends or the read end `pipe` of its pipe is closed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(ORPHANED)
    threading.Thread(target=_exit_at_end_of, args=(pipe,), name="parent-watch", daemon=True).start()


def _exit_at_end_of(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os._exit(ORPHANED)
