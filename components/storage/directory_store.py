"""Objects in one directory: a file each, named by its key with `,` for `/`.

A file holds the object's bytes and then a line with their sha256 (64 hexadecimal digits and a line end), so that bytes
and digest appear in one act and a file that was cut shows it. `head -c -65 FILE` reads the bytes.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from components.errors import MissingInputError, StorageError
from components.storage.object_store import ObjectStat, damaged, is_key, not_there, require_key, require_link_seconds
from model.durable_files import flush_directory

_TRAILER_BYTES = 65
_CHUNK_BYTES = 1 << 20
_UNFINISHED = ".unfinished"


class DirectoryStore:
    """The object store of a machine, or of several that share a file system. Keeps `ObjectStore`'s promises."""

    def __init__(self, directory: Path) -> None:
        """Touches nothing yet; the first put makes the directory."""
        self._directory = directory

    @property
    def url(self) -> str:
        """The directory."""
        return str(self._directory)

    def put(self, key: str, content: bytes) -> None:
        """See ObjectStore."""
        place = self._place(key)
        with _faults_told(), self._draft() as (draft, file):
            file.write(content)
            _finish(file, hashlib.sha256(content).hexdigest())
            draft.rename(place)
            flush_directory(self._directory)

    def put_once(self, key: str, content: bytes) -> bool:
        """See ObjectStore."""
        place = self._place(key)
        with _faults_told(), self._draft() as (draft, file):
            file.write(content)
            _finish(file, hashlib.sha256(content).hexdigest())
            try:
                place.hardlink_to(draft)  # unlike a rename, it fails where something is
            except FileExistsError:
                return False
            flush_directory(self._directory)
            return True

    def put_file(self, key: str, path: Path) -> ObjectStat:
        """See ObjectStore."""
        place = self._place(key)
        with _faults_told(), path.open("rb") as source, self._draft() as (draft, file):
            sha256 = _copy(source, file, None)
            stat = ObjectStat(file.tell(), sha256)
            _finish(file, sha256)
            draft.rename(place)
            flush_directory(self._directory)
        return stat

    def get(self, key: str) -> bytes:
        """See ObjectStore."""
        with self._open(key) as file:
            held = file.read()
        content, trailer = held[:-_TRAILER_BYTES], held[-_TRAILER_BYTES:]
        self._require_whole(key, hashlib.sha256(content).hexdigest(), trailer)
        return content

    def get_file(self, key: str, path: Path) -> ObjectStat:
        """See ObjectStore."""
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.unfinished")
        with self._open(key) as source, _faults_told():
            size_bytes = max(0, os.fstat(source.fileno()).st_size - _TRAILER_BYTES)
            try:
                with unfinished.open("wb") as file:
                    sha256 = _copy(source, file, size_bytes)
                    self._require_whole(key, sha256, source.read())
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.rename(path)
            finally:
                unfinished.unlink(missing_ok=True)
        return ObjectStat(size_bytes, sha256)

    def stat(self, key: str) -> ObjectStat | None:
        """See ObjectStore."""
        try:
            with self._open(key) as file:
                size_bytes = os.fstat(file.fileno()).st_size - _TRAILER_BYTES
                file.seek(max(0, size_bytes))
                return ObjectStat(max(0, size_bytes), file.read().decode("latin-1").strip())
        except MissingInputError:
            return None

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See ObjectStore."""
        with _faults_told():
            try:
                found = sorted(name.replace(",", "/") for name in os.listdir(self._directory))
            except FileNotFoundError:
                return
        yield from (key for key in found if key.startswith(prefix) and is_key(key))

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        place = self._place(key)
        with _faults_told():
            place.unlink(missing_ok=True)

    def link(self, key: str, valid_seconds: int) -> str | None:
        """None: a directory cannot show one of its files to others for a while."""
        require_key(key)
        require_link_seconds(valid_seconds)
        return None

    def remove_unfinished(self, older_than_seconds: float) -> int:
        """See ObjectStore."""
        removed = 0
        with _faults_told():
            for path in (self._directory / _UNFINISHED).glob("*"):
                with suppress(FileNotFoundError):  # its writer has just come to its end
                    if time.time() - path.stat().st_mtime >= older_than_seconds:
                        path.unlink()
                        removed += 1
        return removed

    def _place(self, key: str) -> Path:
        return self._directory / require_key(key).replace("/", ",")

    @contextmanager
    def _draft(self) -> Generator[tuple[Path, IO[bytes]]]:
        """A file aside, opened; gone after the block unless it was renamed."""
        aside = self._directory / _UNFINISHED
        aside.mkdir(parents=True, exist_ok=True)
        draft = aside / secrets.token_hex(8)
        try:
            with draft.open("xb") as file:
                yield draft, file
        finally:
            draft.unlink(missing_ok=True)

    @contextmanager
    def _open(self, key: str) -> Generator[IO[bytes]]:
        place = self._place(key)
        with _faults_told():
            try:
                file = place.open("rb")
            except FileNotFoundError:
                raise not_there(key, self) from None
        with file:
            yield file

    def _require_whole(self, key: str, sha256: str, trailer: bytes) -> None:
        if trailer != _trailer(sha256):
            raise damaged(key, self, sha256)


def _trailer(sha256: str) -> bytes:
    return f"{sha256}\n".encode()


def _finish(file: IO[bytes], sha256: str) -> None:
    """Append the digest, and make the bytes last."""
    file.write(_trailer(sha256))
    file.flush()
    os.fsync(file.fileno())


def _copy(source: IO[bytes], target: IO[bytes], size_bytes: int | None) -> str:
    """Copy so many bytes, or all; their sha256."""
    digest = hashlib.sha256()
    left = size_bytes
    while chunk := source.read(_CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES)):
        digest.update(chunk)
        target.write(chunk)
        left = None if left is None else left - len(chunk)
    return digest.hexdigest()


@contextmanager
def _faults_told() -> Generator[None]:
    """Turn what the file system refuses into a StorageError of one sentence."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{error.filename or 'the object store'} cannot be used ({error.strerror}); make room there or mend its "
            "path or permissions"
        ) from error
