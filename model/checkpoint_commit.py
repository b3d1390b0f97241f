"""What makes files a checkpoint, on a disk and in a bucket: a commit that was written last and names each of them."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from model.config import ParallelLayout

COMMIT_FILE = "commit.json"
METRICS_FILE = "metrics.jsonl"
KEPT = 2
"""Checkpoints of a run that are kept, the newest ones."""


class Commit(BaseModel):
    """What `commit.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2]
    step: Annotated[int, Field(ge=1)]
    samples: Annotated[int, Field(ge=0)]
    """Seen by all replicas up to here."""
    identity: dict[str, str]
    """What the weights depend on but for the layout; a checkpoint of another run is refused."""
    layout: ParallelLayout
    sha256: dict[str, str]
    """By file name."""

    def content(self) -> bytes:
        """The bytes of `commit.json`; equal commits have equal ones."""
        return json.dumps(self.model_dump(), sort_keys=True).encode() + b"\n"

    def rank_files(self) -> list[str]:
        """The files of all ranks, in their order."""
        return [rank_file(rank) for rank in range(self.layout.world_size)]

    def verify(self, path: Path) -> None:
        """DamagedError if a file of the checkpoint has other bytes than are named here; OSError if it is not there."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.sha256.get(path.name):
            raise DamagedError(f"{path} has sha256 {digest[:12]}, not {str(self.sha256.get(path.name))[:12]}")


class DamagedError(Exception):
    """What a commit names is not there, or has other bytes; one sentence."""


def rank_file(rank: int) -> str:
    """The name of the file that a rank writes."""
    return f"rank-{rank:05d}.safetensors"


def step_name(step: int) -> str:
    """The directory of a step's checkpoint."""
    return f"step-{step:08d}"
