"""How much of a source file is comment: a scanner of strings and comments, enough to tell one from the other.

SantaCoder (arXiv 2301.03988, section 4) kept files by the share of their comments, with docstrings in Python. Lexers
give the same share at 2 MB/s and parsers at 10, and both can be hung or crashed by a hostile file; this reads each byte
once and needs no memory. The tests hold it to `tokenize` and `ast`, and to Pygments for the other languages.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.kernels import kernel, read_only
from components.tables import text_buffers


@dataclass(frozen=True)
class CommentSyntax:
    """Where comments and strings begin in a language: `#` and docstrings, or `//` and `/* */`."""

    is_python: bool = False
    has_templates: bool = False
    """A backtick opens a string of several lines."""
    has_patterns: bool = False
    """A slash after an operator opens a regular expression."""


COMMENT_SYNTAX: dict[str, CommentSyntax] = {
    "c": CommentSyntax(),
    "cpp": CommentSyntax(),
    "go": CommentSyntax(has_templates=True),
    "java": CommentSyntax(),
    "javascript": CommentSyntax(has_templates=True, has_patterns=True),
    "python": CommentSyntax(is_python=True),
    "typescript": CommentSyntax(has_templates=True, has_patterns=True),
}
"""The languages whose comments can be counted."""

_BEFORE_PATTERN = b"(,=:[!&|?{};+-*%~^<>"


def comment_chars(batch: pa.RecordBatch, rows: NDArray[np.int64], language: str) -> NDArray[np.int64]:
    """Characters in comments of each row's `content`, their signs included; 0 in rows that are not named.

    KeyError for a language without an entry in COMMENT_SYNTAX.
    """
    syntax = COMMENT_SYNTAX[language]
    data, offsets = map(read_only, text_buffers(batch))
    if syntax.is_python:
        return _python_comments(data, offsets, rows)
    before_pattern = np.zeros(256, np.bool_)
    before_pattern[list(_BEFORE_PATTERN)] = syntax.has_patterns
    return _brace_comments(data, offsets, rows, before_pattern, syntax.has_templates)


@kernel
def _chars(text: NDArray[np.uint8], start: int, end: int) -> int:
    """Code points in [start, end)."""
    number = 0
    for position in range(start, end):
        number += text[position] & 0xC0 != 0x80
    return number


@kernel
def _line_end(text: NDArray[np.uint8], position: int) -> int:
    """Where the line ends that `position` is in."""
    while position < text.size and text[position] not in (0x0A, 0x0D):
        position += 1
    return position


@kernel
def _block_end(text: NDArray[np.uint8], start: int) -> int:
    """Behind the `/*` comment that opens at `start`."""
    position = start + 3
    while position < text.size and not (text[position] == 0x2F and text[position - 1] == 0x2A):
        position += 1
    return min(position + 1, text.size)


@kernel
def _string_end(text: NDArray[np.uint8], start: int, quotes: int, one_line: bool) -> int:
    """Behind the string that opens at `start` with so many quotes; at the line's end if it may not go further."""
    quote, run = text[start], 0
    position = start + quotes
    while position < text.size and run < quotes:
        byte = text[position]
        if one_line and byte in (0x0A, 0x0D):
            break
        run = run + 1 if byte == quote else 0
        position += 2 if byte == 0x5C else 1
    return min(position, text.size)


@kernel
def _python_comments(data: NDArray[np.uint8], offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.zeros(offsets.size - 1, np.int64)
    for row in rows:
        text = data[offsets[row] : offsets[row + 1]]
        position = depth = 0
        # The last byte that is no blank and no comment: a docstring stands first, or after the colon of a header.
        last, at_line_start = 0x3A, True
        while position < text.size:
            byte = text[position]
            end = position + 1
            if byte == 0x23:
                end = _line_end(text, position)
                found[row] += _chars(text, position, end)
            elif byte in (0x22, 0x27):
                is_long = position + 2 < text.size and text[position + 1] == byte and text[position + 2] == byte
                end = _string_end(text, position, 3 if is_long else 1, not is_long)
                if at_line_start and last == 0x3A and depth == 0:
                    found[row] += _chars(text, position, end)
                last, at_line_start = byte, False
            elif byte in (0x0A, 0x0D):
                at_line_start = True
            elif byte not in (0x20, 0x09, 0x0C):
                is_prefix = byte in (0x52, 0x55, 0x72, 0x75) and end < text.size and text[end] in (0x22, 0x27)
                if not is_prefix:
                    depth = max(0, depth + (byte in (0x28, 0x5B, 0x7B)) - (byte in (0x29, 0x5D, 0x7D)))
                    last, at_line_start = byte, False
            position = end
    return found


@kernel
def _brace_comments(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    before_pattern: NDArray[np.bool_],
    has_templates: bool,
) -> NDArray[np.int64]:
    found = np.zeros(offsets.size - 1, np.int64)
    for row in rows:
        text = data[offsets[row] : offsets[row + 1]]
        position, last = 0, 0x28
        while position < text.size:
            byte = text[position]
            end = position + 1
            following = text[end] if byte == 0x2F and end < text.size else 0
            if following in (0x2A, 0x2F):
                end = _line_end(text, position) if following == 0x2F else _block_end(text, position)
                found[row] += _chars(text, position, end)
            elif byte in (0x22, 0x27) or (byte == 0x60 and has_templates) or (byte == 0x2F and before_pattern[last]):
                end = _string_end(text, position, 1, byte != 0x60)
                last = byte
            elif byte not in (0x09, 0x0A, 0x0D, 0x20):
                last = byte
            position = end
    return found
