"""What a training run is asked for and what came of it; pydantic only, read by the launcher and by every rank."""

import hashlib
import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from model.config import ModelConfig, PretrainConfig

CHECKPOINTS_DIR = "checkpoints"
METRICS_FILE = "metrics.jsonl"
PREEMPTED = 75
"""Exit code of a rank that was asked to stop and has saved its work: EX_TEMPFAIL of sysexits.h, try again."""

DEALING = {
    *("layout", "threads_per_process", "micro_batch_size", "accumulation_steps"),
    *("activation_checkpointing", "compile_blocks", "loss_chunk_tokens", "checkpoint_every_steps"),
}
"""Parameters that change the rounding of a run but not what it learns; a checkpoint may be taken across them."""


class TrainRequest(BaseModel):
    """A run. The first four fields decide the weights; the two directories only say where they arise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_shards: Path
    tokenizer: Path
    model: ModelConfig
    pretrain: PretrainConfig
    work_dir: Path
    """Kept between attempts: checkpoints, metrics so far, what each rank wrote to its standard error."""
    out: Path
    """Existing and empty; filled when the last step is done."""

    def run_digest(self) -> str:
        """Names everything that the weights depend on: parameters, tokenizer, token shards (by their manifest).

        But for how the work is dealt out: a run may go on in another layout, with the same global batch.
        """
        run = self.pretrain.model_dump(mode="json", exclude=DEALING) | {"batch": self.pretrain.global_batch_size}
        parts = (
            self.model.model_dump_json().encode(),
            json.dumps(run, sort_keys=True).encode(),
            (self.tokenizer / "tokenizer.json").read_bytes(),
            (self.token_shards / "manifest.json").read_bytes(),
        )
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class TrainResult(BaseModel):
    """A finished run; deterministic."""

    model_config = ConfigDict(frozen=True)

    step: Annotated[int, Field(ge=1)]
    tokens: int
    """Positions read by all ranks."""
    loss: float
    """Mean nats per token over the last step's batch."""
    validation_loss: float
    """Mean nats per token over the validation windows, after the last step."""
