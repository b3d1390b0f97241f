"""What every reader of a source gives: the files it found in a fixed order, each read when asked and not before.

A file that cannot be data is never an error: it is refused with a rule that ends up among the dropped files.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why a file is not taken: the rule, what was observed, what is allowed."""

    rule: str
    value: str
    threshold: str
    detail: str = ""


@dataclass(frozen=True)
class Origin:
    """What a table of code tells of a file beside its path; a tree of files has one origin for all."""

    repository: str
    license: str | None
    """SPDX expression."""
    stars: int | None
    forks: int | None
    updated_at: int | None
    """Seconds since 1970 in UTC."""


@dataclass(frozen=True)
class FoundFile:
    """A file of a source. `read(limit)` gives at most `limit` bytes of it, or says why it gives none."""

    path: str
    """Relative to the source, with forward slashes; bytes that are not UTF-8 are written as `\\xff`."""
    commit: str | None
    size_bytes: int
    read: Callable[[int], bytes | Refusal]
    origin: Origin | None = None
    """None: that of the source."""


@dataclass(frozen=True)
class RefusedFile:
    """An entry of a source that its listing already shows not to be a file that can be read."""

    path: str
    commit: str | None
    size_bytes: int
    refusal: Refusal
    origin: Origin | None = None


Entry = FoundFile | RefusedFile

# Objects and indexes, no source code; and `.git/config` may hold a password.
_STORES = (".git", ".hg", ".svn")


def symbolic_link() -> Refusal:
    """The refusal of a link: its target is another file, or none, or outside the source."""
    return Refusal("symlink", "symbolic link", "regular file")


def unreadable(reason: str) -> Refusal:
    """The refusal of a file that its storage does not give."""
    return Refusal("unreadable", reason, "readable")


def printable_path(raw: bytes) -> str:
    """A path as text: UTF-8, and every other byte as `\\xff`."""
    return raw.decode("utf-8", "backslashreplace")


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, line and paragraph separators, and what turns the reading direction."""


def path_refusal(path: str) -> Refusal | None:
    """Why a file may not bear this path: a line end in it would pass for text where a document names its files."""
    found = _CONTROL.search(path)
    if found is None:
        return None
    return Refusal("path_characters", f"U+{ord(found.group()):04X} at {found.start()}", "no control character")


def path_filter(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """A test whether a relative path is excluded: by one of the glob patterns, or as version control's own store.

    `*` and `?` stay within one part of the path, `**` spans any number of parts. A pattern without a slash means
    that name at any depth. What excludes a directory excludes everything under it.
    """
    excluded = re.compile("|".join(_translated(pattern) for pattern in (*_STORES, *patterns)), re.DOTALL)
    return lambda path: excluded.fullmatch(path) is not None


def _translated(pattern: str) -> str:
    anywhere = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
    body = pattern.strip("/").removesuffix("/**")
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", body)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return f"{anywhere}{''.join(meaning.get(part) or re.escape(part) for part in parts)}(?:/.*)?"


class ContentDigest:
    """A digest of what was read of a source: paths and contents in order, and nothing of where or when."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, entry: Entry, outcome: bytes | Refusal) -> None:
        """Take in one entry: its bytes, or why it has none and its size."""
        refused = isinstance(outcome, Refusal)
        told = f"{outcome.rule} {entry.size_bytes}" if refused else hashlib.sha256(outcome).hexdigest()
        self._hash.update(f"{entry.path}\0{told}\0".encode())

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()


def outcome_of(entry: Entry, limit: int) -> bytes | Refusal:
    """The whole content, or why there is none: a file above `limit` bytes is not read, or not further than that."""
    if isinstance(entry, RefusedFile):
        return entry.refusal
    if entry.size_bytes > limit:
        return Refusal("max_file_bytes", str(entry.size_bytes), str(limit))
    data = entry.read(limit + 1)
    if isinstance(data, bytes) and len(data) > limit:
        return Refusal("max_file_bytes", f"more than {limit}", str(limit))
    return data
