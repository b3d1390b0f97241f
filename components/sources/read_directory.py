"""A directory as a source. Links are not followed, and nothing but regular files is ever opened."""

import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path

from components.errors import SourceError
from components.sources.source_files import (
    ContentDigest,
    Entry,
    FoundFile,
    Refusal,
    RefusedFile,
    outcome_of,
    printable_path,
    symbolic_link,
    unreadable,
)

# NOFOLLOW and NONBLOCK guard the moment between listing and opening, in which a file can become something else.
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def open_directory(name: str, root: Path, is_excluded: Callable[[str], bool]) -> Generator[list[Entry]]:
    """Everything under `root` in the order of the path's bytes; SourceError if it is no readable directory."""
    try:
        with os.scandir(root):
            pass
    except NotADirectoryError:
        raise SourceError(
            f"source {name!r}: {root} is not a directory; correct its path, or its kind if it is an archive"
        ) from None
    except FileNotFoundError:
        raise SourceError(f"source {name!r}: there is no directory {root}; correct its path") from None
    except OSError as error:
        raise SourceError(f"source {name!r}: {root} cannot be listed: {error.strerror}; mend its rights") from None
    yield _list(os.fsencode(root), is_excluded)


def digest_directory(name: str, root: Path, is_excluded: Callable[[str], bool], max_file_bytes: int) -> str:
    """sha256 over the paths and contents that `open_directory` gives, in order; raises as it does."""
    digest = ContentDigest()
    with open_directory(name, root, is_excluded) as entries:
        for entry in entries:
            digest.add(entry, outcome_of(entry, max_file_bytes))
    return digest.hexdigest()


def _list(root: bytes, is_excluded: Callable[[str], bool]) -> list[Entry]:
    entries: list[tuple[bytes, Entry]] = []
    waiting = [b""]
    while waiting:
        directory = waiting.pop()
        try:
            children = list(os.scandir(os.path.join(root, directory)))
        except OSError as error:
            entries.append((directory, _refused(directory, unreadable(str(error.strerror)))))
            continue
        for child in children:
            path = os.path.join(directory, child.name)
            if is_excluded(printable_path(path)):
                continue
            entry = _entry(path, child)
            if entry is None:
                waiting.append(path)
            else:
                entries.append((path, entry))
    entries.sort(key=lambda pair: pair[0])
    return [entry for _, entry in entries]


def _entry(path: bytes, child: os.DirEntry[bytes]) -> Entry | None:
    """None for a directory."""
    try:
        status = child.stat(follow_symlinks=False)
    except OSError as error:
        return _refused(path, unreadable(str(error.strerror)))
    if stat.S_ISDIR(status.st_mode):
        return None
    if stat.S_ISLNK(status.st_mode):
        return _refused(path, symbolic_link())
    if not stat.S_ISREG(status.st_mode):
        return _refused(path, Refusal("not_regular_file", _kind(status.st_mode), "regular file"))
    return FoundFile(printable_path(path), None, status.st_size, partial(_read, child.path))


def _read(path: bytes, limit: int) -> bytes | Refusal:
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return unreadable("it stopped being a regular file")
            return _read_up_to(file, limit, status.st_size + 1)
    except OSError as error:
        return unreadable(str(error.strerror))


def _read_up_to(file: FileIO, limit: int, piece_bytes: int) -> bytes:
    """`limit` bytes or all there are; one call may give fewer than asked, for example on a network file system."""
    pieces: list[bytes] = []
    while limit > 0 and (piece := file.read(min(limit, piece_bytes))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def _refused(path: bytes, refusal: Refusal) -> RefusedFile:
    return RefusedFile(printable_path(path), None, 0, refusal)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "character device",
        stat.S_IFBLK: "block device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")
