"""Ends a rank that hangs: it says where it stands, leaves the stacks of its threads on standard error and exits.

Two nets: a thread of ours, which can say what happened in a sentence; and, for a Python that is stuck itself,
faulthandler's, which needs none. A message that never comes holds up all ranks, so all of them tell.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

HUNG = 71
"""Exit code of a rank that was ended here: EX_OSERR of sysexits.h, something that should not happen did."""

_SECONDS_FOR_OTHERS = 2.0
"""Ranks that hang together notice together; the first to exit takes the others with it."""
_OURS = Path(__file__).parent


class HangWatch:
    """Watches this thread, as a context; `beat` says that it is alive."""

    def __init__(self, rank: int, seconds: float, tell: Callable[[str], object]) -> None:
        """`tell` gets the sentence once `seconds` have gone by without a beat."""
        self._rank = rank
        self._seconds = seconds
        self._tell = tell
        self._watched = threading.get_ident()
        self._doing = "start"
        self._beats = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._watch, name="hang-watch", daemon=True)

    def __enter__(self) -> "HangWatch":
        self.beat(self._doing)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._is_over = True
        self._beats.set()
        faulthandler.cancel_dump_traceback_later()
        self._thread.join()

    def beat(self, doing: str) -> None:
        """The rank is alive and begins `doing`; its time runs anew."""
        self._doing = doing
        self._beats.set()
        faulthandler.dump_traceback_later(self._seconds + 2 * _SECONDS_FOR_OTHERS, exit=True)

    def _watch(self) -> None:
        while self._beats.wait(self._seconds):
            self._beats.clear()
            if self._is_over:
                return
        self._tell(
            f"rank {self._rank} has been at {self._doing} for {self._seconds:g} seconds, in {self._place()}, and was "
            "ended; the stacks of its threads are on its standard error. Start again: the run goes on from its last "
            "checkpoint"
        )
        faulthandler.dump_traceback(all_threads=True)
        time.sleep(_SECONDS_FOR_OTHERS)
        os._exit(HUNG)

    def _place(self) -> str:
        """The innermost line of ours that the watched thread is in."""
        frame = sys._current_frames().get(self._watched)  # pyright: ignore[reportPrivateUsage] - documented
        while frame is not None and _OURS not in Path(frame.f_code.co_filename).parents:
            frame = frame.f_back
        if frame is None:
            return "code that is not ours"
        return f"{Path(frame.f_code.co_filename).name} line {frame.f_lineno} ({frame.f_code.co_name})"
