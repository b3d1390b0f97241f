"""`metrics.jsonl`: what each step measured, one canonical JSON line a step, no timings: equal runs have equal bytes."""

import json
from collections.abc import Mapping
from pathlib import Path

from model.durable_files import writing_to
from model.reporting import current_sink


class MetricsLog:
    """The log of one rank, in memory and in a file. A full disk holds up the file and not the training."""

    def __init__(self, path: Path | None) -> None:
        """`path` is None on ranks other than 0, which measure the same: they keep nothing."""
        self._path = path
        self._lines: list[bytes] = []
        self._is_behind = False
        """Whether the file lacks lines."""

    def restart(self, content: bytes) -> None:
        """Forget what came after a checkpoint whose metrics were `content`; TrainingFailedError if that fails."""
        if self._path is None:
            return
        with writing_to(self._path):
            self._path.write_bytes(content)
        self._lines = [content]

    def append(self, row: Mapping[str, float]) -> None:
        """Add one line."""
        if self._path is None:
            return
        line = json.dumps(dict(row), sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._lines.append(line)
        try:
            if self._is_behind:
                self._path.write_bytes(self.content())
            else:
                with self._path.open("ab") as file:
                    file.write(line)
        except OSError as error:
            if not self._is_behind:
                current_sink().note(f"{self._path} cannot be written ({error.strerror}), the training goes on")
            self._is_behind = True
        else:
            self._is_behind = False

    def content(self) -> bytes:
        """All lines."""
        return b"".join(self._lines)
