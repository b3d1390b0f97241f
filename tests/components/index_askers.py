"""What processes of the tests ask of an index that they share."""

from multiprocessing.synchronize import Barrier

from components.lineage_index import current_index
from components.settings import Settings

_line: list[Barrier] = []


def prepare(start: Barrier) -> None:
    """Of each process, before its work."""
    _line.append(start)


def ask_at_once(settings: Settings, start: str) -> list[str]:
    """The digests of all that stands on a record, asked when all processes are there."""
    _line[0].wait(60)
    with current_index(settings) as index:
        return sorted(index.downstream([start]).records)
