"""How a structured document writes its special tokens: as marks that no text from outside can forge.

Notebooks, issues and commits are laid out with special tokens (StarCoder's `<issue_start>`, `<commit_msg>`, ...). Were
they spelled out in the content, any file that quotes them would change the structure of its document. So a mark is
the token's name between two Unicode noncharacters, code points that are valid UTF-8 and reserved for internal use
(Unicode 16, section 23.7). Whoever lays out a document takes them out of the parts with `plain`; tokenizing turns each
mark into the one id, and only in the kinds of `STRUCTURED_KINDS`.
"""

import re
from dataclasses import dataclass

OPEN, CLOSE = "\ufdd0", "\ufdd1"
REPLACEMENT = "\ufffd"

STRUCTURED_KINDS = frozenset({"notebook", "issue", "commit"})
"""The kinds of CODE_FILES whose content is read for marks; all others are plain text from end to end."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MARK = re.compile(f"{OPEN}([a-z][a-z0-9_]*){CLOSE}")
_MARK_BYTES = re.compile(f"{OPEN}[a-z][a-z0-9_]*{CLOSE}".encode())
_OPEN_BYTES = OPEN.encode()
_PLAIN = str.maketrans({OPEN: REPLACEMENT, CLOSE: REPLACEMENT})


@dataclass(frozen=True)
class Mark:
    """One special token in a content, by its name without the angle brackets."""

    name: str


def mark(name: str) -> str:
    """The mark of the token called `name`; ValueError for what cannot be a token's name."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"a token's name is lower-case letters, digits and underscores, not {name!r}")
    return f"{OPEN}{name}{CLOSE}"


def plain(text: str) -> str:
    """`text` without the two characters of marks, each replaced by U+FFFD; of the same length."""
    return text.translate(_PLAIN)


def split_marks(content: str) -> list[Mark | str]:
    """The marks and the text between them in order; no text is empty. Joined again they are the content."""
    pieces: list[Mark | str] = []
    for index, piece in enumerate(_MARK.split(content)):
        if index % 2:
            pieces.append(Mark(piece))
        elif piece:
            pieces.append(piece)
    return pieces


def between_marks(content: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """The pieces of a span of a content that no mark is in, as first byte and end; the span itself where none is."""
    if content.find(_OPEN_BYTES, start, end) < 0:
        return [(start, end)]
    pieces: list[tuple[int, int]] = []
    for found in _MARK_BYTES.finditer(content, start, end):
        pieces.append((start, found.start()))
        start = found.end()
    return [piece for piece in (*pieces, (start, end)) if piece[0] < piece[1]]


def visible(content: str) -> str:
    """`content` for a reader: each mark as the token's spelling, `<issue_start>`."""
    return _MARK.sub(r"<\1>", content)
