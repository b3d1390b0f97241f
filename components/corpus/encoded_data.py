"""How much of a file is data in disguise: long runs of base64, of hexadecimal bytes and of `\\u` escapes.

The three patterns of StarCoder2 (arXiv 2402.19173, section 2.1), as regular expressions over characters:

    base64   [A-Za-z0-9+/=\\n]{64,}
    escapes  (\\\\u[0-9A-Fa-f]{4}){8,}
    bytes    at least 8 of `41`, `0x41` or `\\x41`, none part of a longer word, with any blanks and commas between

They are looked for in steps: a run of n characters has one at every n-th place, so most of a file is never read.
Linear in the text whatever it holds, as no place is looked at more than a fixed number of times.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.kernels import kernel, read_only
from components.tables import text_buffers

MIN_BASE64_CHARS = 64
MIN_UNITS = 8
"""Escapes, or bytes in hexadecimal, that make a match."""

_HEX = b"0123456789abcdefABCDEF"
_WORD = b"0123456789_" + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B))
_BETWEEN = b", \t\n\r\f\v"
_HEX_SET, _WORD_SET, _BETWEEN_SET = 3, 4, 5


class EncodedData(NamedTuple):
    """One number per row of the batch; 0 in rows that were left out."""

    max_match_chars: NDArray[np.int64]
    """The longest match of one of the patterns."""
    matched_chars: NDArray[np.int64]
    """Characters in matches; those of two matches count once."""


def find_encoded_data(batch: pa.RecordBatch, rows: NDArray[np.int64]) -> EncodedData:
    """Look through the `content` of the rows named."""
    data, offsets = text_buffers(batch)
    longest, matched = _scan(read_only(data), read_only(offsets), rows, _character_sets()).T
    return EncodedData(longest, matched)


@cache
def _character_sets() -> NDArray[np.bool_]:
    """Which bytes may stand in base64, in escapes, in hexadecimal bytes; which are hexadecimal, of a word, between."""
    base64 = _WORD.replace(b"_", b"+/=\n")
    sets = (base64, _HEX + b"\\u", _HEX + b"\\xX" + _BETWEEN, _HEX, _WORD, _BETWEEN)
    table = np.zeros((len(sets), 256), np.bool_)
    for row, members in zip(table, sets, strict=True):
        row[list(members)] = True
    return table


@kernel
def _next_run(text: NDArray[np.uint8], allowed: NDArray[np.bool_], position: int, least: int) -> tuple[int, int]:
    """The first run of at least `least` allowed bytes from `position` on, where one may begin; (size, size) if none."""
    while position + least <= text.size:
        probe = position + least - 1
        if not allowed[text[probe]]:
            position = probe + 1
            continue
        start, end = probe, probe + 1
        while start > position and allowed[text[start - 1]]:
            start -= 1
        while end < text.size and allowed[text[end]]:
            end += 1
        if end - start >= least:
            return start, end
        position = end
    return text.size, text.size


@kernel
def _units(
    text: NDArray[np.uint8], position: int, end: int, escapes: bool, sets: NDArray[np.bool_]
) -> tuple[int, int, int]:
    """The next units in a row within [position, end): where they begin, where the last one ends, and how many."""
    first = last = position
    number = 0
    while position < end:
        after = _escape_end(text, position, end, sets) if escapes else _byte_end(text, position, end, sets)
        if after > position:
            first = position if number == 0 else first
            number += 1
            last = position = after
            while not escapes and position < end and sets[_BETWEEN_SET, text[position]]:
                position += 1
        elif number > 0:
            break
        else:
            position += 1
    return (first, last, number) if number > 0 else (end, end, 0)


@kernel
def _escape_end(text: NDArray[np.uint8], position: int, end: int, sets: NDArray[np.bool_]) -> int:
    """Behind the `\\u00e9` at `position`; `position` if there is none."""
    if position + 6 > end or text[position] != 0x5C or text[position + 1] != 0x75:
        return position
    for digit in range(position + 2, position + 6):
        if not sets[_HEX_SET, text[digit]]:
            return position
    return position + 6


@kernel
def _byte_end(text: NDArray[np.uint8], position: int, end: int, sets: NDArray[np.bool_]) -> int:
    """Behind the `41`, `0x41` or `\\x41` at `position`; `position` if there is none."""
    digits = position
    if text[position] == 0x5C:
        if position + 1 == end or text[position + 1] != 0x78:
            return position
        digits = position + 2
    elif position > 0 and sets[_WORD_SET, text[position - 1]]:
        return position
    elif text[position] == 0x30 and position + 1 < end and text[position + 1] in (0x58, 0x78):
        digits = position + 2
    after = digits + 2
    if after > end or not sets[_HEX_SET, text[digits]] or not sets[_HEX_SET, text[digits + 1]]:
        return position
    return position if after < text.size and sets[_WORD_SET, text[after]] else after


@kernel
def _scan(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], rows: NDArray[np.int64], sets: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Per row: the longest match, and the characters in matches."""
    found = np.zeros((offsets.size - 1, 2), np.int64)
    for row in rows:
        text = data[offsets[row] : offsets[row + 1]]
        covered = np.zeros(0, np.bool_)
        longest = 0
        for pattern in range(3):
            least = (MIN_BASE64_CHARS, 6 * MIN_UNITS, 3 * MIN_UNITS - 1)[pattern]
            start, end = _next_run(text, sets[pattern], 0, least)
            while start < end:
                position = start
                while position < end:
                    first, last, number = start, end, MIN_UNITS
                    if pattern > 0:
                        first, last, number = _units(text, position, end, pattern == 1, sets)
                    position = last
                    if number >= MIN_UNITS:
                        longest = max(longest, last - first)
                        if covered.size == 0:
                            covered = np.zeros(text.size, np.bool_)
                        covered[first:last] = True
                start, end = _next_run(text, sets[pattern], end, least)
        found[row, 0], found[row, 1] = longest, covered.sum()
    return found
