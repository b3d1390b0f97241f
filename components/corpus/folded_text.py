"""Text in the form in which copies are compared, on Arrow's own bytes, and the way back to the original's offsets.

Folded: ASCII letters in lower case, every run of blanks one space and none at the ends. Line ends and tabs that are
written as escapes are blanks too, and other backslashes are left out, so that a text quoted in JSON or in source
folds like itself.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.kernels import kernel, read_only

_BACKSLASH, _SPACE = (np.uint8(byte) for byte in b"\\ ")
_IS_BLANK_ESCAPE = np.zeros(256, dtype=np.bool_)
_IS_BLANK_ESCAPE[np.frombuffer(b"nrt", dtype=np.uint8)] = True
_ONE = np.uint64(1)
_FOLDED = np.frombuffer(bytes(range(256)).lower(), dtype=np.uint8).copy()
_FOLDED[np.frombuffer(b" \t\n\v\f\r", dtype=np.uint8)] = _SPACE


def fold(texts: NDArray[np.uint8], starts: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Each text folded; takes and returns what `components.tables.text_buffers` returns."""
    folded = np.empty(int(starts[-1] - starts[0]) + 1, dtype=np.uint8)
    folded_starts = np.zeros(len(starts), dtype=np.int64)
    _fold(read_only(texts), read_only(starts), folded, folded_starts)
    return folded[: folded_starts[-1]], folded_starts


def without_blanks(folded: NDArray[np.uint8], starts: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Folded texts without their spaces (StarCoder2, arXiv 2402.19173, section 3.3: it raises the recall)."""
    squeezed = np.empty(len(folded) + 1, dtype=np.uint8)
    squeezed_starts = np.zeros(len(starts), dtype=np.int64)
    _squeeze(read_only(folded), read_only(starts), squeezed, squeezed_starts)
    return squeezed[: squeezed_starts[-1]], squeezed_starts


def original_offsets(
    texts: NDArray[np.uint8],
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    *,
    blanks: bool,
) -> NDArray[np.int64]:
    """Where the folded bytes at these offsets of these rows come from, as offsets in the rows' own texts.

    `blanks`: whether the offsets count spaces, as in what `fold` returns, or not, as in what `without_blanks` does.
    """
    order = np.lexsort((offsets, rows))
    found = np.zeros(len(order), dtype=np.int64)
    _trace(read_only(texts), read_only(starts), rows[order], offsets[order], blanks, found)
    unsorted = np.empty_like(found)
    unsorted[order] = found
    return unsorted


@kernel
def _fold(texts: Any, starts: Any, folded: Any, folded_starts: Any) -> None:
    count = np.uint64(0)
    for row in range(len(starts) - 1):
        first = count
        after_blank = _ONE
        after_backslash = False
        for position in range(starts[row], starts[row + 1]):
            byte = texts[position]
            if byte == _BACKSLASH:
                after_backslash = True
                continue
            mapped = _SPACE if after_backslash and _IS_BLANK_ESCAPE[byte] else _FOLDED[byte]
            after_backslash = False
            is_blank = np.uint64(mapped == _SPACE)
            folded[count] = mapped
            count += _ONE ^ (is_blank & after_blank)
            after_blank = is_blank
        if count > first and folded[count - _ONE] == _SPACE:
            count -= _ONE
        folded_starts[row + 1] = np.int64(count)


@kernel
def _squeeze(folded: Any, starts: Any, squeezed: Any, squeezed_starts: Any) -> None:
    count = np.uint64(0)
    for row in range(len(starts) - 1):
        for position in range(starts[row], starts[row + 1]):
            squeezed[count] = folded[position]
            count += np.uint64(folded[position] != _SPACE)
        squeezed_starts[row + 1] = np.int64(count)


@kernel
def _trace(texts: Any, starts: Any, rows: Any, offsets: Any, blanks: Any, found: Any) -> None:
    """Walk through the texts as `_fold` does; rows and, within a row, offsets ascend."""
    index = 0
    while index < len(rows):
        row = rows[index]
        count = 0
        after_blank = True
        after_backslash = False
        for position in range(starts[row], starts[row + 1]):
            byte = texts[position]
            if byte == _BACKSLASH:
                after_backslash = True
                continue
            is_blank = _FOLDED[byte] == _SPACE or (after_backslash and _IS_BLANK_ESCAPE[byte])
            after_backslash = False
            if not (is_blank and (after_blank or not blanks)):
                while index < len(rows) and rows[index] == row and offsets[index] == count:
                    found[index] = position - starts[row]
                    index += 1
                if index == len(rows) or rows[index] != row:
                    break
                count += 1
            after_blank = is_blank
        while index < len(rows) and rows[index] == row:  # beyond the text: its end
            found[index] = starts[row + 1] - starts[row]
            index += 1
