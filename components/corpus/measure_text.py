"""What a file looks like from afar: its lines and its characters, counted in one pass over Arrow's own bytes.

A character is a code point. A line ends with `\\n`, `\\r\\n` or `\\r`; what follows the last end is a line if it
holds a character. Nothing is decoded or copied: a column takes its own size and a few numbers per row.
"""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from components.tables import text_buffers

_LINE_FEED, _CARRIAGE_RETURN = 0x0A, 0x0D


@dataclass(frozen=True)
class TextMeasures:
    """One number per row of the batch that was measured."""

    max_line_chars: NDArray[np.int64]
    """Characters of the longest line, without its end."""
    mean_line_chars: NDArray[np.float64]
    """Characters of a line on average, without their ends; 0 for an empty text."""
    alphanumeric_fraction: NDArray[np.float64]
    """Share of the characters, line ends included, that are letters or digits as `str.isalnum` has it; 0 if empty."""


def measure_text(batch: pa.RecordBatch) -> TextMeasures:
    """Measure the `content` of each row; it must be UTF-8, as Arrow's strings are."""
    data, offsets = text_buffers(batch)
    counts = _compiled_count()(data, offsets, _alphanumeric_table())
    longest, line_chars, lines, alphanumerics, chars = counts.T
    return TextMeasures(
        max_line_chars=longest,
        mean_line_chars=line_chars / np.maximum(lines, 1),
        alphanumeric_fraction=alphanumerics / np.maximum(chars, 1),
    )


@cache
def _alphanumeric_table() -> NDArray[np.bool_]:
    """Whether each code point is a letter or a digit. It goes as far as four bytes can, even if they are no UTF-8."""
    table = np.zeros(2**21, np.bool_)
    codes = range(sys.maxunicode + 1)
    table[: len(codes)] = np.fromiter((chr(code).isalnum() for code in codes), np.bool_, len(codes))
    return table


@cache
def _compiled_count() -> Any:
    """`_count` as machine code. Compiled when first called, so that importing a step stays cheap."""
    return njit(nogil=True)(_count)


def _count(data: NDArray[np.uint8], offsets: NDArray[np.int64], alphanumeric: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Per row: longest line, characters in lines, lines, letters and digits, characters."""
    counts = np.zeros((offsets.size - 1, 5), np.int64)
    for row in range(offsets.size - 1):
        longest = line_chars = lines = letters = chars = line = 0
        after_return = False
        position, end = offsets[row], offsets[row + 1]
        while position < end:
            first = data[position]
            chars += 1
            if first in (_LINE_FEED, _CARRIAGE_RETURN):
                if not (first == _LINE_FEED and after_return):
                    longest = max(longest, line)
                    line_chars += line
                    lines += 1
                    line = 0
                after_return = first == _CARRIAGE_RETURN
                position += 1
                continue
            after_return = False
            code, width = np.int64(first), 1
            if first >= 0xF0:
                code, width = code & 0x07, 4
            elif first >= 0xE0:
                code, width = code & 0x0F, 3
            elif first >= 0xC0:
                code, width = code & 0x1F, 2
            for following in range(position + 1, min(position + width, end)):
                code = code << 6 | data[following] & 0x3F
            letters += alphanumeric[code]
            line += 1
            position += width
        if line > 0:
            longest = max(longest, line)
            line_chars += line
            lines += 1
        counts[row, 0], counts[row, 1], counts[row, 2] = longest, line_chars, lines
        counts[row, 3], counts[row, 4] = letters, chars
    return counts
