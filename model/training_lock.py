"""One training at a time in a directory of checkpoints: two would remove each other's."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from model.durable_files import writing_to
from model.training_errors import TrainingFailedError


@contextmanager
def only_trainer(work_dir: Path) -> Generator[None]:
    """Hold an existing directory while the block runs; TrainingFailedError if another process holds it.

    The kernel lets go of it when the process ends, however it ends.
    """
    lock = FileLock(work_dir / "training.lock")
    with writing_to(work_dir):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise TrainingFailedError(
                f"another training keeps its checkpoints in {work_dir}; wait for it to end, or stop it"
            ) from None
    try:
        yield
    finally:
        lock.release()
