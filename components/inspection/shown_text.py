"""The beginning of a file as it is put before a reviewer's eyes: cut to a length, and with nothing in it unseen.

A character that has no form of its own but acts on others (control characters, those that reverse the reading
direction, those of no width) is shown as its code, for example `⟦U+202E⟧`: a reviewer must see what a model would read.
"""

import unicodedata
from dataclasses import dataclass

import pyarrow as pa

from components.tables import text_buffers

MAX_LINES = 200
MAX_LINE_CHARS = 2_000
MAX_CHARS = 20_000
"""More of a file than this nobody reads who has fifty of them before him."""

_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_KEPT = frozenset("\n\t")


@dataclass(frozen=True, slots=True)
class ShownText:
    """What is shown of a file's text."""

    text: str
    """Lines end with `\\n`, but for the last."""
    note: str
    """What was left out, in words; "" if nothing was."""
    has_cut_lines: bool
    """Lines that end in our own mark, so that a lexer may trip where the file is sound."""


def shown_text(batch: pa.RecordBatch, row: int, num_lines: int) -> ShownText:
    """The beginning of the `content` of one row of CODE_FILES, which has `num_lines` lines as `measure_text` counts.

    No more of the content is copied than is shown.
    """
    data, offsets = text_buffers(batch)
    first_bytes = data[offsets[row] : offsets[row + 1]][: 4 * MAX_CHARS].tobytes()
    beginning = first_bytes.decode("utf-8", "ignore")[:MAX_CHARS]
    is_whole = len(beginning.encode()) == offsets[row + 1] - offsets[row]
    lines = beginning.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    left_out: list[str] = []
    if len(lines) > MAX_LINES:
        lines, is_whole = lines[:MAX_LINES], True
        left_out.append(f"The first {MAX_LINES} of {num_lines:,} lines.")
    has_cut_lines = any(len(line) > MAX_LINE_CHARS for line in lines)
    if has_cut_lines:
        lines = [line if len(line) <= MAX_LINE_CHARS else f"{line[:MAX_LINE_CHARS]} …" for line in lines]
        left_out.append(f"Lines end after {MAX_LINE_CHARS:,} characters.")
    if not is_whole:
        left_out.append(f"The first {MAX_CHARS:,} characters.")
    return ShownText(printable("\n".join(lines)), " ".join(left_out), has_cut_lines)


def printable(text: str) -> str:
    """The text with every character that would act and not show replaced by its code; line feeds and tabs stay."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
    if char in _KEPT or unicodedata.category(char) not in _UNSEEN:
        return char
    return f"⟦U+{ord(char):04X}⟧"
