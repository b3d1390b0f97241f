"""python -m k8s.guard GROUP: ends a process group when its parent is gone: when the guard's standard input ends.

Whoever starts a job may be killed with a signal that nothing can catch. The job must not outlive it, or a second
run would meet the first one's processes at work on the same files. The parent writes one byte when the job is over.
"""

import os
import signal
import sys
import time
from collections.abc import Callable

_POLL_SECONDS = 0.05


def end_group(group: int, grace_seconds: float, reap: Callable[[], object] = lambda: None) -> None:
    """Ask the group to end, then kill what is left of it after `grace_seconds`; a group that is gone is fine.

    A parent passes `reap`, which collects its ended child: an uncollected one counts as still there.
    """
    deadline = time.monotonic() + grace_seconds
    try:
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            reap()
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def main(arguments: list[str]) -> None:
    """Wait for the parent's byte or for its end."""
    group = int(arguments[0])
    if not sys.stdin.buffer.read(1):
        end_group(group, grace_seconds=10.0)


if __name__ == "__main__":
    main(sys.argv[1:])
