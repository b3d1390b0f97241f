"""What a store of objects promises, wherever it lies. An object is bytes under a key; readers see all of it or nothing.

Every byte that is read is held to the sha256 that was kept when it was put. Puts from several processes are fine; of
those that put one key once, exactly one is told that it was the first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.errors import CorruptArtifactError, MissingInputError, StorageError

MAX_KEY_CHARS = 200
"""A key is the name of a file in a directory store; file systems take 255 bytes."""
LONGEST_LINK_SECONDS = 604_800
"""Of a link into S3: a week, the limit of its signature."""

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.=+@-]*"
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")


@dataclass(frozen=True)
class ObjectStat:
    """What is known of an object without reading it."""

    size_bytes: int
    sha256: str


class ObjectStore(Protocol):
    """Objects under keys. A key is no path: `a` and `a/b` may both be there, and nothing leads out of the store.

    Every method raises StorageError, one sentence with the mend, for a hostile key or a store that cannot be used.
    """

    @property
    def url(self) -> str:
        """Where the store lies; tells no credential."""
        ...

    def put(self, key: str, content: bytes) -> None:
        """Put the object, replacing what is there."""
        ...

    def put_once(self, key: str, content: bytes) -> bool:
        """Put the object if nothing is there; False, and nothing changed, if something is, equal or not."""
        ...

    def put_file(self, key: str, path: Path) -> ObjectStat:
        """Put a file of any size, replacing what is there."""
        ...

    def get(self, key: str) -> bytes:
        """The object; MissingInputError if it is not there, CorruptArtifactError if it is not what was put."""
        ...

    def get_file(self, key: str, path: Path) -> ObjectStat:
        """Get the object into a file, which appears whole and verified or not at all; errors as `get`."""
        ...

    def stat(self, key: str) -> ObjectStat | None:
        """Size and digest as they were kept; None if nothing is there."""
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that begin with `prefix`, ascending; read page by page. What was not put by us is left out."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; fine if nothing is there."""
        ...

    def link(self, key: str, valid_seconds: int) -> str | None:
        """An address at which anyone may read the object for that long; None where the store has no such thing."""
        ...

    def remove_unfinished(self, older_than_seconds: float) -> int:
        """Remove what killed processes began to put and left behind, invisible; how many."""
        ...


def require_key(key: str) -> str:
    """`key`, if every store takes it; StorageError else."""
    if is_key(key):
        return key
    raise StorageError(
        f"{key[:MAX_KEY_CHARS]!r} is no key of an object; give at most {MAX_KEY_CHARS} characters: names of letters, "
        "digits and _.=+@- that begin with a letter, a digit or _, joined by /"
    )


def is_key(key: str) -> bool:
    """Whether `require_key` takes it."""
    return len(key) <= MAX_KEY_CHARS and _KEY.fullmatch(key) is not None


def require_link_seconds(valid_seconds: int) -> int:
    """`valid_seconds`, if a link may be valid for so long; StorageError else."""
    if 1 <= valid_seconds <= LONGEST_LINK_SECONDS:
        return valid_seconds
    raise StorageError(f"a link cannot be valid for {valid_seconds} seconds; give 1 to {LONGEST_LINK_SECONDS}")


def not_there(key: str, store: ObjectStore) -> MissingInputError:
    """What `get` raises for a key under which nothing lies."""
    return MissingInputError(f"{store.url} holds no object {key}; put it there or mend the key")


def damaged(key: str, store: ObjectStore, sha256: str) -> CorruptArtifactError:
    """What `get` raises for bytes that have another sha256 than those that were put."""
    return CorruptArtifactError(
        f"object {key} of {store.url} is damaged: its bytes have sha256 {sha256[:12]}, which is not what was put; "
        "delete it and put it again"
    )
