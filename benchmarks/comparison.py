"""What every benchmark shares: a row of the table, measuring two things in turns, and real source files to work on."""

import statistics
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".py", ".pyi", ".c", ".h", ".cpp", ".js", ".ts", ".css", ".html", ".md", ".rst", ".json", ".yaml", ".sh")
MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True)
class Comparison:
    """One row: what was done, how much of it, in how many CPU-seconds by us and by the peer."""

    what: str
    unit: str
    amount: float
    peer: str
    ours_seconds: float
    peer_seconds: float
    peer_amount: float | None = None
    """Where the peer was given less, because it is too slow for the whole; rates are compared."""

    @property
    def rates(self) -> tuple[float, float]:
        """Ours and the peer's, in `unit`."""
        peer_amount = self.amount if self.peer_amount is None else self.peer_amount
        return self.amount / self.ours_seconds, peer_amount / self.peer_seconds


def alternate(ours: Callable[[], object], peer: Callable[[], object], repetitions: int = 7) -> tuple[float, float]:
    """Median CPU-seconds of each, measured in turns so that both meet the same machine; the first turn warms up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for repetition in range(repetitions + 1):
        for work, taken in zip((ours, peer), seconds, strict=True):
            started = time.process_time()
            work()
            if repetition:
                taken.append(time.process_time() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def source_texts(max_bytes: int) -> list[bytes]:
    """Distinct real source files of the running Python and what is installed with it, UTF-8, up to so many bytes."""
    texts: dict[bytes, None] = {}
    size = 0
    for path in _source_paths():
        content = path.read_bytes()
        if content in texts or not _is_utf8(content):
            continue
        if size + len(content) > max_bytes:
            break
        texts[content] = None
        size += len(content)
    return list(texts)


def _source_paths() -> Iterator[Path]:
    for name in ("stdlib", "purelib"):
        for path in sorted(Path(sysconfig.get_path(name)).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file() and 0 < path.stat().st_size <= MAX_FILE_BYTES:
                yield path


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content
