"""A value that changes by compare-and-swap, on any object store: each change is an object of its own, written once.

    KEY/00000001.json     the first
    KEY/00000002.json     the one that now counts

Who would change the value puts the number after the one they have seen. Of all who have seen the same, the store lets
exactly one put the next; the others read again and decide again. No condition but write-once is asked of the store, and
the history is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from components.storage.object_store import ObjectStore

_DIGITS = 8
_SUFFIX = ".json"


@dataclass(frozen=True)
class Generation:
    """The value after so many changes."""

    number: int
    content: bytes


class Generations:
    """The value under one key of a store. Errors are the store's."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        """Reads nothing yet."""
        self._store = store
        self._key = key

    def newest(self) -> Generation | None:
        """The value as it is now; None if it was never set."""
        *_, newest = 0, *self.numbers()
        return self.at(newest) if newest else None

    def numbers(self) -> Iterator[int]:
        """Of every generation that is there, ascending."""
        return filter(None, map(self._number, self._store.keys(f"{self._key}/")))

    def at(self, number: int) -> Generation:
        """The value after so many changes; errors as the store's `get`."""
        return Generation(number, self._store.get(self.name(number)))

    def swap(self, seen: Generation | None, content: bytes) -> Generation | None:
        """Set the value if it is still what was `seen`; the new generation, or None if somebody else was faster."""
        number = seen.number + 1 if seen else 1
        return Generation(number, content) if self._store.put_once(self.name(number), content) else None

    def name(self, number: int) -> str:
        """The key of the object that holds it."""
        return f"{self._key}/{number:0{_DIGITS}}{_SUFFIX}"

    def _number(self, name: str) -> int:
        """0 for what is no generation."""
        digits = name.removeprefix(f"{self._key}/").removesuffix(_SUFFIX)
        return int(digits) if digits.isdecimal() and self.name(int(digits)) == name else 0
