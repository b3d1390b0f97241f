"""What processes of the tests do to a store that they share."""

import os
from multiprocessing.synchronize import Barrier

from components.storage.generations import Generations
from components.storage.object_store import ObjectStore
from components.storage.open_store import open_store

_line: list[Barrier] = []


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
