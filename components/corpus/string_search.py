"""Find thousands of strings in texts at once, every occurrence of each, without looking at every byte.

No string is shorter than some L bytes, so of every run of L - 7 places in a text it suffices to look at one: the eight
bytes there are looked up among those of all strings, which are entered for as many positions each. What is noticed is
compared byte by byte, so the result is that of an Aho-Corasick automaton, which has to look at every byte.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.kernels import kernel, read_only

_WORD_BYTES = 8
_MAX_STRIDE = 64
"""Sparser looks save nothing more, and every string has as many entries in the table."""
_BITS_PER_ENTRY = 4
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, without pattern: 2^64 over the golden ratio


@dataclass(frozen=True)
class Occurrences:
    """What occurs in which text, from which byte on up to which; one entry each, by text and place."""

    rows: NDArray[np.int64]
    indices: NDArray[np.int64]
    """Which of the strings, or n-grams, that were looked for."""
    first: NDArray[np.int64]
    """Counted from the beginning of the text."""
    end: NDArray[np.int64]


class StringSearch:
    """Strings of at least one byte, ready to be looked for; they lie end to end, as texts do in Arrow."""

    def __init__(self, strings: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
        self._strings = read_only(strings)
        self._starts = starts
        self._lengths = np.diff(starts)
        shortest = int(self._lengths.min(initial=2**20))
        self._word_bytes = min(_WORD_BYTES, shortest)
        self._stride = min(_MAX_STRIDE, shortest - self._word_bytes + 1)
        self._index()

    def occurrences(self, texts: NDArray[np.uint8], starts: NDArray[np.int64]) -> Occurrences:
        """Every occurrence, overlapping ones too; takes what `components.tables.text_buffers` returns."""
        found = _find(
            read_only(texts),
            read_only(starts),
            self._strings,
            self._starts,
            self._word_bytes,
            self._stride,
            self._shift,
            self._is_used,
            self._buckets,
            self._entries,
        )
        rows, strings, first = found.T
        order = np.lexsort((strings, first, rows))
        rows, strings, first = rows[order], strings[order], first[order]
        return Occurrences(rows, strings, first, first + self._lengths[strings])

    def _index(self) -> None:
        """Sort the words of all strings into buckets by their hash: an entry is a string and its word's place."""
        strings = np.repeat(np.arange(len(self._lengths)), self._stride)
        places = np.tile(np.arange(self._stride), len(self._lengths))
        bits = max(10, (len(strings) * _BITS_PER_ENTRY).bit_length())
        self._shift = np.uint64(64 - bits)
        hashes = _hash_words(self._strings, self._starts[strings] + places, self._word_bytes, self._shift)
        order = np.argsort(hashes, kind="stable")
        self._entries = np.stack([strings[order], places[order]], axis=1)
        self._is_used = np.zeros(2**bits, dtype=np.bool_)
        self._is_used[hashes] = True
        self._buckets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(hashes, minlength=2**bits))])


@kernel
def _hash_word(data: Any, first: Any, word_bytes: Any, shift: Any) -> Any:
    word = np.uint64(0)
    for place in range(first, first + word_bytes):
        word = word << np.uint64(8) | np.uint64(data[place])
    word ^= word >> np.uint64(29)
    return np.int64((word * _SPREAD) >> shift)


@kernel
def _hash_words(data: Any, places: Any, word_bytes: Any, shift: Any) -> Any:
    hashes = np.empty(len(places), dtype=np.int64)
    for index in range(len(places)):
        hashes[index] = _hash_word(data, places[index], word_bytes, shift)
    return hashes


@kernel
def _is_at(texts: Any, first: Any, strings: Any, start: Any, end: Any) -> Any:
    place = start
    while place < end and texts[first + place - start] == strings[place]:
        place += 1
    return place == end


@kernel
def _find(
    texts: Any,
    starts: Any,
    strings: Any,
    string_starts: Any,
    word_bytes: Any,
    stride: Any,
    shift: Any,
    is_used: Any,
    buckets: Any,
    entries: Any,
) -> Any:
    """[occurrences, 3]: row, string, first byte in the row's text."""
    found = np.empty((64, 3), dtype=np.int64)
    count = 0
    for row in range(len(starts) - 1):
        end = starts[row + 1]
        for place in range(starts[row], end - word_bytes + 1, stride):
            bucket = _hash_word(texts, place, word_bytes, shift)
            if not is_used[bucket]:
                continue
            for index in range(buckets[bucket], buckets[bucket + 1]):
                string = entries[index, 0]
                first = place - entries[index, 1]
                string_start, string_end = string_starts[string], string_starts[string + 1]
                fits = first >= starts[row] and first + string_end - string_start <= end
                if fits and _is_at(texts, first, strings, string_start, string_end):
                    if count == len(found):
                        longer = np.empty((2 * count, 3), dtype=np.int64)
                        longer[:count] = found
                        found = longer
                    found[count, 0], found[count, 1], found[count, 2] = row, string, first - starts[row]
                    count += 1
    return found[:count]
