"""Where artifacts live: a directory each, published by one rename, told apart by the digest of their bytes."""

import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.errors import CorruptArtifactError, StorageError
from components.fingerprint import digest_of

RECORD_FILE = "_record.json"
_RENAME_EXCHANGE = 2  # linux/fs.h: swap two paths atomically
_AT_FDCWD = -100


class FileDigest(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size_bytes: int


def digest_files(artifact: Path) -> dict[str, FileDigest]:
    """Size and sha256 of every file under `artifact` but its record, by relative POSIX path, sorted."""
    return {
        path.relative_to(artifact).as_posix(): digest_file(path)
        for path in sorted(artifact.rglob("*"))
        if path.is_file() and path != artifact / RECORD_FILE
    }


def digest_file(path: Path) -> FileDigest:
    """Size and sha256 of one file; OSError if it cannot be read."""
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileDigest(sha256=sha256, size_bytes=stream.tell())


def digest_of_files(files: dict[str, FileDigest]) -> str:
    """The artifact's digest: it depends on the paths and the bytes, on nothing else."""
    return digest_of({path: file.sha256 for path, file in files.items()})


def holds_model(name: str) -> bool:
    """Whether a file of a Hugging Face directory counts in the digest that a training knows the model by."""
    return "/" not in name and name.endswith((".json", ".safetensors")) and name != RECORD_FILE


def verify_files(artifact: Path, recorded: dict[str, FileDigest]) -> None:
    """CorruptArtifactError names the first file whose bytes are not those of the record."""
    found = digest_files(artifact)
    for path in sorted(found.keys() | recorded.keys()):
        if path not in found:
            fault = f"{path} is missing"
        elif path not in recorded:
            fault = f"{path} does not belong to it"
        elif found[path] != recorded[path]:
            fault = f"{path} has sha256 {found[path].sha256[:12]}, its record says {recorded[path].sha256[:12]}"
        else:
            continue
        raise CorruptArtifactError(
            f"artifact {artifact.name} is damaged: {fault}; bring a data version back with "
            f"`starloom rollback data VERSION`, or delete {artifact} to have it computed again"
        )


def publish(staged: Path, place: Path) -> None:
    """Move the directory `staged` to `place`, replacing what stood there, in one atomic act.

    A reader sees the old artifact or the new one, whole. `staged` is gone afterwards.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    _sync_tree(staged)
    if place.exists():
        _exchange(staged, place)
        shutil.rmtree(staged)
    else:
        staged.rename(place)
    _sync(place.parent)


def _sync_tree(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            _sync(path)


def _sync(path: Path) -> None:
    """Make a file's bytes, or the names in a directory, last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, f"the file system cannot swap directories: {os.strerror(code)}", str(other))


_STORAGE_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; choose a writable STARLOOM_WORKSPACE",
    errno.EACCES: "it may not be written; change its permissions or choose another STARLOOM_WORKSPACE",
    errno.EPERM: "it may not be written; change its permissions or choose another STARLOOM_WORKSPACE",
}


@contextmanager
def storage_errors_told(directory: Path) -> Generator[None]:
    """Turn a full disk or a forbidden write under `directory` into a StorageError of one sentence."""
    try:
        yield
    except OSError as error:
        cause = _STORAGE_CAUSES.get(error.errno or 0)
        if cause is None:
            raise
        raise StorageError(f"cannot write {error.filename or directory}: {cause} and run again") from error
