"""Real source files to measure on: the running Python's library and what is installed with it.

The lock names what is installed, so two machines have the same files but for a few. They come in the order of the
hashes of their paths: any number of them is a sample of all, and neighbours are not from one package.
"""

import hashlib
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.sources.languages import extension_of, language_of
from components.tables import FilesWriter
from data_contracts.columns import CODE_FILES

LIBRARY, PACKAGES = "stdlib", "purelib"
"""Names of `sysconfig`."""
SUFFIXES = (
    *(".py", ".pyi", ".c", ".h", ".cpp", ".hpp", ".cu", ".js", ".ts", ".css", ".html", ".md", ".rst", ".json"),
    *(".yaml", ".sh"),
)
MAX_FILE_BYTES = 1_000_000
_FOREIGN = ("site-packages", "dist-packages", "__pycache__")
_LANGUAGE_BYTES = 256
"""So much of a file tells its language where its name does not."""


@dataclass(frozen=True)
class SourceFile:
    """One file of UTF-8 without NUL, at least one byte long."""

    path: str
    """Below the library's or the packages' folder."""
    content: bytes


def source_files(
    max_bytes: int,
    *,
    places: Sequence[str] = (LIBRARY, PACKAGES),
    suffixes: Sequence[str] = SUFFIXES,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> list[SourceFile]:
    """Files of distinct content, together at most `max_bytes`."""
    paths = {path: root for root in map(Path, map(sysconfig.get_path, places)) for path in _paths(root, suffixes)}
    files: dict[bytes, SourceFile] = {}
    size = 0
    for path, root in sorted(paths.items(), key=lambda item: _draw(item[0].relative_to(item[1]))):
        if not 0 < path.stat().st_size <= max_file_bytes:
            continue
        content = path.read_bytes()
        if content in files or not _is_text(content):
            continue
        size += len(content)
        if size > max_bytes:
            break
        files[content] = SourceFile(path.relative_to(root).as_posix(), content)
    return list(files.values())


def megabytes(files: Sequence[SourceFile]) -> float:
    """Their size; a megabyte is 10^6 bytes."""
    return sum(len(file.content) for file in files) / 1e6


def at_most(max_bytes: int, files: Sequence[SourceFile]) -> list[SourceFile]:
    """The first files, together at most `max_bytes`, but at least one."""
    chosen: list[SourceFile] = []
    for file in files:
        max_bytes -= len(file.content)
        if max_bytes < 0 and chosen:
            break
        chosen.append(file)
    return chosen


def as_batch(files: Sequence[SourceFile]) -> pa.RecordBatch:
    """The files as rows of CODE_FILES, of one made-up repository each folder."""
    return pa.RecordBatch.from_pylist([_row(file) for file in files], CODE_FILES)


def write_table(files: Sequence[SourceFile], place: Path) -> Path:
    """The files as a table in the new folder `place`, which is returned."""
    place.mkdir()
    with FilesWriter(place) as writer:
        writer.keep(as_batch(files))
    return place


def _row(file: SourceFile) -> dict[str, Any]:
    digest = hashlib.sha256(file.content).hexdigest()
    return dict.fromkeys(CODE_FILES.names) | {
        "file_id": digest[:32],
        "kind": "file",
        "content": file.content.decode(),
        "content_sha256": digest,
        "size_bytes": len(file.content),
        "source": "machine",
        "repository": f"machine/{file.path.partition('/')[0]}",
        "path": file.path,
        "license": "Apache-2.0",
        "language": language_of(file.path, file.content[:_LANGUAGE_BYTES]),
        "extension": extension_of(file.path),
    }


def _paths(root: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    for path in root.rglob("*"):
        if path.suffix in suffixes and not set(_FOREIGN).intersection(path.relative_to(root).parts) and path.is_file():
            yield path


def _draw(path: Path) -> bytes:
    return hashlib.sha256(path.as_posix().encode()).digest()


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content
