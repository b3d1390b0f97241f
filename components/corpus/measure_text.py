"""What a file looks like from afar: its lines and its characters, counted in one pass over Arrow's own bytes.

A character is a code point. A line ends with `\\n`, `\\r\\n` or `\\r`; what follows the last end is a line if it
holds a character. Nothing is decoded or copied: a column takes its own size and a few numbers per row. Most bytes cost
one look-up: only line ends, NUL and the first byte of a character beyond ASCII are looked at closer.
"""

import sys
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.kernels import kernel, read_only
from components.tables import text_buffers

HEAD_LINES = 5
"""So many lines are the head of a file; StarCoder2 looks there for words of generators (arXiv 2402.19173, 2.1)."""

BIDI_CONTROLS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Code points that reorder what a person sees but not what a compiler reads (Unicode 16, annex 9, section 2)."""

_LINE_FEED, _CARRIAGE_RETURN = 0x0A, 0x0D
_IS_ALPHANUMERIC, _IS_ALPHABETIC, _IS_BIDI = 1, 2, 4
_CODES = 2**21
"""As far as four bytes can go, even if they are no UTF-8."""


@dataclass(frozen=True)
class TextMeasures:
    """One number per row of the batch that was measured; 0 in rows that were left out."""

    num_chars: NDArray[np.int64]
    num_lines: NDArray[np.int64]
    max_line_chars: NDArray[np.int64]
    """Characters of the longest line, without its end."""
    mean_line_chars: NDArray[np.float64]
    """Characters of a line on average, without their ends; 0 for an empty text."""
    alphanumeric_fraction: NDArray[np.float64]
    """Share of the characters, line ends included, that are letters or digits as `str.isalnum` has it; 0 if empty."""
    alphabetic_fraction: NDArray[np.float64]
    """The same of letters alone, as `str.isalpha` has it."""
    head_bytes: NDArray[np.int64]
    """Bytes of the first HEAD_LINES lines with their ends."""
    num_bidi_controls: NDArray[np.int64]
    num_nul: NDArray[np.int64]


def measure_text(batch: pa.RecordBatch, rows: NDArray[np.int64] | None = None) -> TextMeasures:
    """Measure the `content` of the rows named, or of all; it must be UTF-8, as Arrow's strings are."""
    data, offsets = text_buffers(batch)
    wanted = np.arange(batch.num_rows) if rows is None else rows
    counts = _count(read_only(data), read_only(offsets), wanted, _character_classes(), *_byte_tables(), HEAD_LINES)
    longest, line_chars, lines, alphanumeric, alphabetic, chars, head, bidi, nul = counts.T
    return TextMeasures(
        num_chars=chars,
        num_lines=lines,
        max_line_chars=longest,
        mean_line_chars=line_chars / np.maximum(lines, 1),
        alphanumeric_fraction=alphanumeric / np.maximum(chars, 1),
        alphabetic_fraction=alphabetic / np.maximum(chars, 1),
        head_bytes=head,
        num_bidi_controls=bidi,
        num_nul=nul,
    )


@cache
def _character_classes() -> NDArray[np.uint8]:
    """Of each code point: letter or digit, letter, bidirectional control."""
    classes = np.zeros(_CODES, np.uint8)
    codes = range(sys.maxunicode + 1)
    told = (chr(code).isalnum() * _IS_ALPHANUMERIC | chr(code).isalpha() * _IS_ALPHABETIC for code in codes)
    classes[: len(codes)] = np.fromiter(told, np.uint8, len(codes))
    classes[list(BIDI_CONTROLS)] |= _IS_BIDI
    return classes


@cache
def _byte_tables() -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """What an ASCII byte adds to the packed counts (letters or digits below, letters above bit 32); what is special."""
    classes = _character_classes()[:128]
    added = np.zeros(256, np.uint64)
    added[:128] = (classes & _IS_ALPHANUMERIC != 0) + ((classes & _IS_ALPHABETIC != 0).astype(np.uint64) << 32)
    special = np.zeros(256, np.bool_)
    special[[0, _LINE_FEED, _CARRIAGE_RETURN]] = True
    special[0x80:] = True
    return added, special


@kernel
def _decode(data: NDArray[np.uint8], position: int, end: int) -> tuple[int, int]:
    """The code point at `position` and its bytes; of what is no UTF-8 some code point, and never past the end."""
    code, width = int(data[position]), 1
    if code >= 0xF0:
        code, width = code & 0x07, 4
    elif code >= 0xE0:
        code, width = code & 0x0F, 3
    elif code >= 0xC0:
        code, width = code & 0x1F, 2
    width = min(width, end - position)
    for following in range(position + 1, position + width):
        code = code << 6 | data[following] & 0x3F
    return int(code), width


@kernel
def _count(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    classes: NDArray[np.uint8],
    added: NDArray[np.uint64],
    special: NDArray[np.bool_],
    head_lines: int,
) -> NDArray[np.int64]:
    """Per row: longest line, characters in lines, lines, alphanumeric, alphabetic, characters, head, bidi, NUL."""
    counts = np.zeros((offsets.size - 1, 9), np.int64)
    for row in rows:
        begin, end = offsets[row], offsets[row + 1]
        packed = np.uint64(0)
        longest = line_chars = lines = alphanumeric = alphabetic = bidi = nul = 0
        # Bytes that continue a character: in all, and before this line.
        trailing = trailing_before = 0
        position = start = begin
        head = end
        while position < end:
            first = data[position]
            if not special[first]:
                packed += added[first]
                position += 1
            elif first in (_LINE_FEED, _CARRIAGE_RETURN):
                is_second = first == _LINE_FEED and position > begin and data[position - 1] == _CARRIAGE_RETURN
                if not is_second:
                    line = position - start - (trailing - trailing_before)
                    longest = max(longest, line)
                    line_chars += line
                    lines += 1
                position += 1
                start, trailing_before = position, trailing
                if lines == head_lines:
                    head = position
            elif first == 0:
                nul += 1
                position += 1
            else:
                code, width = _decode(data, position, end)
                found = classes[code]
                alphanumeric += found & _IS_ALPHANUMERIC != 0
                alphabetic += found & _IS_ALPHABETIC != 0
                bidi += found & _IS_BIDI != 0
                trailing += width - 1
                position += width
        if start < end:
            line = end - start - (trailing - trailing_before)
            longest = max(longest, line)
            line_chars += line
            lines += 1
        counts[row, 0], counts[row, 1], counts[row, 2] = longest, line_chars, lines
        counts[row, 3] = alphanumeric + np.int64(packed & np.uint64(0xFFFFFFFF))
        counts[row, 4] = alphabetic + np.int64(packed >> np.uint64(32))
        counts[row, 5], counts[row, 6] = end - begin - trailing, head - begin
        counts[row, 7], counts[row, 8] = bidi, nul
    return counts
