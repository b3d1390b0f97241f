"""What every benchmark shares: a row of the table, and measuring several things in turns."""

import importlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


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

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """What, ours, the peer's, the ratio, against whom."""
        ours, peer = self.rates
        return self.what, f"{ours:,.1f} {self.unit}", f"{peer:,.2f} {self.unit}", f"{ours / peer:.1f}x", self.peer


@dataclass(frozen=True)
class Finding:
    """One row that is not about speed: what was looked at, and what came of it for us and for the peer."""

    what: str
    ours: str
    peer: str
    against: str

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """As Comparison's; there is no ratio."""
        return self.what, self.ours, self.peer, "", self.against


@dataclass(frozen=True)
class Work:
    """Something to be measured, how much it does, and who does it."""

    name: str
    amount: float
    run: Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """What a work took, and what it gave the last time."""

    seconds: float
    """CPU-seconds of this process, all its threads and the system's part included; the median."""
    result: Any


def take_turns(works: Sequence[Callable[[], object]], repetitions: int) -> list[Measured]:
    """Measure works in turns, so that all meet the same machine; the first turn warms up and does not count."""
    seconds: list[list[float]] = [[] for _ in works]
    results: list[object] = [None for _ in works]
    for repetition in range(repetitions + 1):
        for number, work in enumerate(works):
            started = time.process_time()
            results[number] = work()
            if repetition:
                seconds[number].append(time.process_time() - started)
    return [Measured(statistics.median(taken), result) for taken, result in zip(seconds, results, strict=True)]


def alternate(*works: Callable[[], object], repetitions: int = 7) -> tuple[float, ...]:
    """Median CPU-seconds of each, measured in turns."""
    return tuple(measured.seconds for measured in take_turns(works, repetitions))


def against_peers(what: str, unit: str, ours: Work, peers: Sequence[Work], repetitions: int) -> list[Comparison]:
    """A row for each peer, all from the same turns."""
    seconds = alternate(ours.run, *(peer.run for peer in peers), repetitions=repetitions)
    return [
        Comparison(what, unit, ours.amount, peer.name, seconds[0], taken, peer.amount)
        for peer, taken in zip(peers, seconds[1:], strict=True)
    ]


def peer_module(name: str) -> Any:
    """A library that only benchmarks use; a sentence and the end where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        sys.exit(f"error: the peer {name} cannot be loaded ({error}); `make bench` installs the peers")
