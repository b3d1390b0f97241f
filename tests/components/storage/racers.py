"""What processes of the tests do to a store that they share."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing.synchronize import Barrier
from typing import Any

from components.registry.ledger import Ledger
from components.storage import s3_store
from components.storage.generations import Generations
from components.storage.object_store import ObjectStore
from components.storage.open_store import open_store
from tests.components.storage.conftest import Place

_line: list[Barrier] = []


def race(work: Callable[[str, int], Any], place: Place, count: int) -> list[Any]:
    """What so many processes return that begin their work at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([s3_store.__name__, __name__])
    prepared = context.Barrier(count), place.server.environment if place.server else {}
    with ProcessPoolExecutor(count, context, prepare, prepared) as pool:
        return list(pool.map(work, repeat(place.url), range(count)))


def prepare(start: Barrier, environment: dict[str, str]) -> None:
    """Of each process, before its work."""
    os.environ.update(environment)
    _line.append(start)


def put_once(url: str, number: int) -> bool:
    """Whether this one was the first of all who put at once."""
    return _at_the_line(url).put_once("prize", b"won by %d" % number)


def count_up(url: str, number: int) -> int:
    """Add one to a counter by compare-and-swap until it is done; how often somebody else was faster."""
    counter, lost = Generations(_at_the_line(url), "counter"), 0
    while True:
        seen = counter.newest()
        if counter.swap(seen, b"%d" % (int(seen.content) + 1 if seen else 1)):
            return lost
        lost += 1


def _at_the_line(url: str) -> ObjectStore:
    """The store, when all processes are there."""
    store = open_store(url, "STARLOOM_RECORD_STORE")
    _line[0].wait(60)
    return store


def promote(url: str, number: int) -> int:
    """Add one promotion to a ledger, however often somebody else is faster; its number."""
    ledger = Ledger(_at_the_line(url), "tiny")
    while True:
        seen = ledger.read()
        if entry := ledger.append(seen, "promoted", number, f"{number:064}", (), "racer"):
            return entry.number
