"""`metrics.jsonl`: what each step measured, one canonical JSON line a step, no timings: equal runs have equal bytes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from model.durable_files import writing_to


class MetricsLog:
    """The log of one rank. TrainingFailedError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def unread(cls) -> "MetricsLog":
        """For ranks other than 0, which measure the same."""
        return cls(Path(os.devnull))

    def restart(self, content: bytes) -> None:
        """Forget what was written after a checkpoint whose metrics were `content`."""
        with writing_to(self._path):
            self._path.write_bytes(content)

    def append(self, row: Mapping[str, float]) -> None:
        """Add one line."""
        line = json.dumps(dict(row), sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with writing_to(self._path), self._path.open("ab") as file:
            file.write(line)

    def content(self) -> bytes:
        """All lines."""
        return self._path.read_bytes()
