"""Files that are there whole or not at all, also after a power failure: written aside, flushed, renamed."""

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from model.training_errors import TrainingFailedError


def write_durably(path: Path, content: bytes) -> bytes:
    """Put `content` at `path`, replacing what is there; returns its sha256. TrainingFailedError as `writing_to`."""
    unfinished = path.with_name(path.name + ".unfinished")
    with writing_to(path):
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
            flush_directory(path.parent)
        except OSError:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)  # on a full disk, room for what is written next
            raise
    return hashlib.sha256(content).digest()


def flush_directory(path: Path) -> None:
    """Make the names in a directory last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing_to(path: Path) -> Generator[None]:
    """Turn a full disk, a missing permission and their like into a TrainingFailedError that says the mend."""
    try:
        yield
    except OSError as error:
        raise TrainingFailedError(
            f"{path} cannot be written ({error.strerror}); make room or mend its permissions and start again: the "
            "run goes on from its last checkpoint"
        ) from error
