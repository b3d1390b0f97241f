"""A zip or tar archive as a source, read without unpacking: member names are data and never become paths on disk.

Leading `/` and `./` of a name are dropped; a name with `..` is refused. Where a name comes twice the later member
counts, as in unpacking.
"""

import bz2
import gzip
import hashlib
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from components.errors import SourceError
from components.sources.source_files import (
    Entry,
    FoundFile,
    Refusal,
    RefusedFile,
    printable_path,
    symbolic_link,
    unreadable,
)

MAX_EXPANSION = 200
FREE_EXPANSION_BYTES = 4 * 2**30
"""An archive that gives more than 4 GiB and more than 200 times its own size is taken for a decompression bomb:
source code shrinks about fivefold, and repetitive text stays below a hundredfold."""

_MAX_HEADER_BYTES = 16 * 2**20
_PIECE_BYTES = 2**20
_ENCRYPTED_FLAG = 0x1
_DECOMPRESSORS: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, NotImplementedError),
)


@contextmanager
def open_archive(name: str, path: Path, is_excluded: Callable[[str], bool]) -> Generator[list[Entry]]:
    """The members in the archive's order; SourceError if there is no such archive or it is damaged or a bomb."""
    with _opened(name, path) as file:
        try:
            entries = [entry for entry in _members(name, file) if not is_excluded(entry.path)]
        except _DAMAGE as error:
            raise SourceError(
                f"source {name!r}: {path} is not a whole zip or tar archive ({error}); fetch it anew"
            ) from None
        yield _last_of_each_name(entries)


def digest_archive(name: str, path: Path) -> str:
    """sha256 of the archive file; SourceError if it cannot be read."""
    with _opened(name, path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(name: str, path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise SourceError(f"source {name!r}: there is no archive {path}; correct its path") from None
    except OSError as error:
        raise SourceError(
            f"source {name!r}: {path} cannot be opened as an archive ({error.strerror}); correct its path or rights"
        ) from None


def _members(name: str, file: IO[bytes]) -> Iterator[Entry]:
    start = file.read(6)
    compressed_bytes = file.seek(0, 2)
    file.seek(0)
    expansion = _Expansion(name, max(FREE_EXPANSION_BYTES, MAX_EXPANSION * compressed_bytes))
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(zipfile.ZipFile(file), expansion)
    return _tar_members(_TarStream(_decompressed(file, start), expansion))


def _last_of_each_name(entries: list[Entry]) -> list[Entry]:
    last = {entry.path: index for index, entry in enumerate(entries)}
    replaced = Refusal("replaced_member", "a later member has its name", "one member of a name")
    return [
        entry if last[entry.path] == index else RefusedFile(entry.path, None, entry.size_bytes, replaced)
        for index, entry in enumerate(entries)
    ]


class _Expansion:
    """How many bytes an archive may give, so that a small file cannot keep us busy for days."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        self._name = name
        self._limit_bytes = limit_bytes
        self.given_bytes = 0

    def reach(self, num_bytes: int) -> None:
        """Take note that so many bytes were given in all; SourceError if they are too many."""
        self.given_bytes = max(self.given_bytes, num_bytes)
        if num_bytes > self._limit_bytes:
            raise SourceError(
                f"source {self._name!r}: the archive gives more than {self._limit_bytes} bytes, which no source code "
                "does that packs so small; unpack it by hand and name the directory if it is meant"
            )


def _zip_members(archive: zipfile.ZipFile, expansion: _Expansion) -> Iterator[Entry]:
    for info in archive.infolist():
        path = _normal_path(info.filename)
        mode = info.external_attr >> 16
        if info.is_dir() or path == "":
            continue
        if path is None:
            refusal = _unsafe_path()
        elif stat.S_ISLNK(mode):
            refusal = symbolic_link()
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            refusal = Refusal("not_regular_file", "special file", "regular file")
        elif info.flag_bits & _ENCRYPTED_FLAG:
            refusal = Refusal("encrypted", "encrypted member", "plain member")
        else:
            read = partial(_read_zip_member, archive, info, expansion)
            yield FoundFile(path, None, info.file_size, read)
            continue
        yield RefusedFile(path or _printable(info.filename), None, info.file_size, refusal)


def _read_zip_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, expansion: _Expansion, limit: int
) -> bytes | Refusal:
    try:
        with archive.open(info) as member:
            data = _read_pieces(member, limit)
    except _DAMAGE as error:
        return unreadable(f"damaged member: {error}")
    expansion.reach(expansion.given_bytes + len(data))
    return data


def _tar_members(stream: "_TarStream") -> Iterator[Entry]:
    # tarfile ends its list without a word at a damaged header: what comes after the last member must be an end mark.
    with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
        members = archive.getmembers()
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError("a member's header is damaged")
        stream.drain()
    for member in members:
        path = _normal_path(member.name)
        if member.isdir() or path == "":
            continue
        if path is None:
            refusal = _unsafe_path()
        elif member.issym():
            refusal = symbolic_link()
        elif not member.isreg() or member.issparse():
            refusal = Refusal("not_regular_file", "hard link, device, pipe or sparse file", "regular file")
        else:
            yield FoundFile(path, None, member.size, partial(stream.read_at, member.offset_data, member.size))
            continue
        yield RefusedFile(path or _printable(member.name), None, member.size, refusal)


class _TarStream:
    """The unpacked bytes of a tar archive for `tarfile`, guarded against headers and streams without end."""

    def __init__(self, file: IO[bytes], expansion: _Expansion) -> None:
        self._file = file
        self._expansion = expansion

    def read(self, num_bytes: int) -> bytes:
        if num_bytes > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {num_bytes} bytes")
        data = self._file.read(num_bytes)
        self._expansion.reach(self._file.tell())
        return data

    def seek(self, position: int) -> int:
        self._expansion.reach(position)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def drain(self) -> None:
        """Read to the end, which makes the decompressor compare its checksum."""
        while self.read(_PIECE_BYTES):
            pass

    def read_at(self, offset: int, size_bytes: int, limit: int) -> bytes | Refusal:
        wanted = min(size_bytes, limit)
        try:
            self.seek(offset)
            data = _read_pieces(self._file, wanted)
        except _DAMAGE as error:
            return unreadable(f"damaged member: {error}")
        return data if len(data) == wanted else unreadable("the archive ends within the member")


def _decompressed(file: IO[bytes], start: bytes) -> Any:
    for magic, open_ in _DECOMPRESSORS:
        if start.startswith(magic):
            return open_(file)
    return file


def _read_pieces(file: IO[bytes], limit: int) -> bytes:
    """`limit` bytes or all there are, without setting `limit` bytes aside before they are seen to exist."""
    pieces: list[bytes] = []
    while limit > 0 and (piece := file.read(min(limit, _PIECE_BYTES))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def _normal_path(member_name: str) -> str | None:
    """The name as a relative path, "" for the archive's own root; None where it climbs out of it."""
    parts = [part for part in _printable(member_name).split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)


def _printable(member_name: str) -> str:
    return printable_path(member_name.encode("utf-8", "surrogateescape"))


def _unsafe_path() -> Refusal:
    return Refusal("unsafe_path", "a part of the path is ..", "path inside the archive")
