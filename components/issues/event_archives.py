"""Where the event files of a source lie, and their lines: a `.json.gz` is read as a stream and never trusted.

A line that is too long, a file that is cut off or is no gzip at all, a link or a pipe in place of a file: each is a
refusal in the stream of lines, and reading goes on with what there is.
"""

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePath

from components.errors import SourceError
from components.issues.config import IssueSource
from components.sources.read_archive import FREE_EXPANSION_BYTES, MAX_EXPANSION
from components.sources.source_files import Refusal, printable_path, symbolic_link, unreadable

ENDING = ".json.gz"

# NOFOLLOW and NONBLOCK guard the moment between listing and opening, in which a file can become something else.
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WILDCARDS = frozenset("*?[")
_DAMAGE = (EOFError, OSError, zlib.error)


@dataclass(frozen=True)
class Archive:
    """One event file."""

    name: str
    """Its path inside the source, with forward slashes."""
    path: str
    size_bytes: int
    refusal: Refusal | None
    """Why it is not opened, for what is no regular file."""


@dataclass(frozen=True)
class Line:
    """One line of an event file; `data` is its bytes, or why there are none."""

    number: int
    """From 1. A refusal that is the file's own carries the number of the line at which it came up."""
    size_bytes: int
    data: bytes | Refusal


def find_archives(source: IssueSource, workspace: Path) -> list[Archive]:
    """The event files of a source by name; SourceError if there is none. Directories are not followed through links."""
    root, paths = _matching(source, workspace)
    if not paths:
        raise SourceError(f"source {source.name!r}: {workspace / source.path} holds no {ENDING} file; correct its path")
    archives = [_archive(path, root) for path in paths]
    return sorted(archives, key=lambda archive: archive.name)


def digest_archives(source: IssueSource, workspace: Path) -> str:
    """sha256 over the names and bytes of the source's event files; raises as `find_archives`."""
    digest = hashlib.sha256()
    for archive in find_archives(source, workspace):
        digest.update(f"{archive.name}\0{_content_digest(archive)}\0".encode())
    return digest.hexdigest()


def read_lines(
    archive: Archive,
    max_line_bytes: int,
    *,
    max_expansion: int = MAX_EXPANSION,
    free_expansion_bytes: int = FREE_EXPANSION_BYTES,
) -> Iterator[Line]:
    """Every line that is not blank, without its end; memory is bounded by `max_line_bytes`.

    A file that unpacks to more than `free_expansion_bytes` and more than `max_expansion` times its size is taken for a
    decompression bomb and left there.
    """
    if archive.refusal is not None:
        yield Line(1, archive.size_bytes, archive.refusal)
        return
    allowed_bytes = max(free_expansion_bytes, max_expansion * archive.size_bytes)
    number, read_bytes = 0, 0
    try:
        with _open(archive.path) as packed, gzip.GzipFile(fileobj=packed) as stream:
            while line := _next_line(stream, number + 1, max_line_bytes, allowed_bytes - read_bytes):
                number, read_bytes = line.number, read_bytes + line.size_bytes
                if read_bytes > allowed_bytes:
                    yield Line(number, line.size_bytes, _bomb(allowed_bytes))
                    return
                if not isinstance(line.data, bytes) or line.data.strip():
                    yield line
    except _DAMAGE as error:
        yield Line(number + 1, 0, Refusal("damaged_gzip", " ".join(str(error).split()), "a whole gzip file"))
        return
    if archive.size_bytes == 0:
        yield Line(1, 0, Refusal("empty", "0", "1"))


def _next_line(stream: gzip.GzipFile, number: int, max_line_bytes: int, room_bytes: int) -> Line | None:
    """The next line, or None at the end; of one that is too long the rest is passed over, piece by piece."""
    data = stream.readline(max_line_bytes + 1)
    if len(data) <= max_line_bytes or data.endswith(b"\n"):
        return Line(number, len(data), data.rstrip(b"\r\n")) if data else None
    size_bytes, piece = len(data), data
    while piece and not piece.endswith(b"\n") and size_bytes <= room_bytes:
        piece = stream.readline(max_line_bytes)
        size_bytes += len(piece)
    return Line(number, size_bytes, Refusal("max_line_bytes", str(size_bytes), str(max_line_bytes)))


def _bomb(allowed_bytes: int) -> Refusal:
    return Refusal("decompression_bomb", f"more than {allowed_bytes} bytes", str(allowed_bytes))


def _matching(source: IssueSource, workspace: Path) -> tuple[Path, list[Path]]:
    """Where names of files start, and the files."""
    parts = (workspace / source.path).parts
    wild = next((index for index, part in enumerate(parts) if _WILDCARDS & set(part)), len(parts))
    root = Path(os.path.realpath(Path(*parts[:wild])))
    if wild < len(parts):
        pattern = PurePath(*parts[wild:])
        return root, [path for path in root.glob(str(pattern)) if path.is_symlink() or not path.is_dir()]
    if root.is_dir():
        return root, _under(root)
    return root.parent, [root] if root.exists() else []


def _under(root: Path) -> list[Path]:
    """Every entry below `root` whose name has the ending."""
    return [
        Path(directory, name)
        for directory, _, names in os.walk(root)
        for name in names
        if name.lower().endswith(ENDING)
    ]


def _archive(path: Path, root: Path) -> Archive:
    name = printable_path(os.fsencode(path.relative_to(root).as_posix()))
    try:
        status = path.lstat()
    except OSError as error:
        return Archive(name, str(path), 0, unreadable(str(error.strerror)))
    if stat.S_ISLNK(status.st_mode):
        return Archive(name, str(path), 0, symbolic_link())
    if not stat.S_ISREG(status.st_mode):
        return Archive(name, str(path), 0, Refusal("not_regular_file", "special file", "regular file"))
    return Archive(name, str(path), status.st_size, None)


def _content_digest(archive: Archive) -> str:
    if archive.refusal is not None:
        return archive.refusal.rule
    try:
        with _open(archive.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def _open(path: str) -> BufferedReader:
    return os.fdopen(os.open(path, _OPEN_FLAGS), "rb")
