"""What a training run is asked for and what came of it; pydantic only, read by the launcher and by every rank."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from model.config import ModelConfig, PretrainConfig

CHECKPOINTS_DIR = "checkpoints"
METRICS_FILE = "metrics.jsonl"
ARTIFACT_FILES = ("model.safetensors", "model_config.json", METRICS_FILE)
"""What a finished training leaves in `out`, in the order in which it is written."""
MISTAKE = 42
"""Exit code of a rank that met what a person must mend first: starting it again would end the same."""
PREEMPTED = 75
"""Exit code of a rank that was asked to stop and has saved its work: EX_TEMPFAIL of sysexits.h, try again."""

DEALING = {
    *("layout", "threads_per_process", "micro_batch_size", "accumulation_steps"),
    *("activation_checkpointing", "compile_blocks", "loss_chunk_tokens", "checkpoint_every_steps"),
}
"""Parameters that change the rounding of a run but not what it learns; a checkpoint may be taken across them."""

_NOT_LEARNED = {*DEALING, "start_from"}
"""Left out of a run's identity: of `start_from` the content counts, and stands there by itself."""

_STORE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]*)?")
"""Names that every S3 takes: a bucket of 3 to 63 characters, and of a key those that need no escape."""


def require_store_url(url: str) -> str:
    """`url`, if it is s3://bucket/prefix; a ValueError of pydantic else."""
    if not _STORE.fullmatch(url):
        raise PydanticCustomError("checkpoint_store", "give s3://bucket/prefix")
    return url


CheckpointStoreUrl = Annotated[str, AfterValidator(require_store_url)]
"""Where checkpoints are kept beside the disk: `s3://bucket/prefix`."""


class StartFrom(BaseModel):
    """Weights to begin with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path
    """A Hugging Face directory."""
    digest: str
    """Of its files: what counts, wherever they lie."""


class TrainRequest(BaseModel):
    """A run. All but two directories and a store decide the weights; those only say where they arise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_shards: Path
    tokenizer: Path
    model: ModelConfig
    pretrain: PretrainConfig
    work_dir: Path
    """Kept between attempts: checkpoints, metrics so far, what each rank wrote to its standard error."""
    out: Path
    """Existing and empty; filled when the last step is done."""
    checkpoint_store: CheckpointStoreUrl | None = None
    """Checkpoints go there too, and are taken from there when `work_dir` has none so new."""
    start_from: StartFrom | None = None
    """What `pretrain.start_from` names, found and digested."""

    def identity(self) -> dict[str, str]:
        """Everything that the weights depend on, by name: digests, and the samples of the global batch as they are.

        Token shards count by their manifest. How the work is dealt out is not there: a run may go on in another
        layout, with the same global batch.
        """
        parts = {
            "model": self.model.model_dump_json().encode(),
            "pretrain": json.dumps(
                self.pretrain.model_dump(mode="json", exclude=_NOT_LEARNED), sort_keys=True
            ).encode(),
            "tokenizer": (self.tokenizer / "tokenizer.json").read_bytes(),
            "token_shards": (self.token_shards / "manifest.json").read_bytes(),
        }
        digests = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
        start = {"start_from": self.start_from.digest} if self.start_from else {}
        return digests | start | {"batch": str(self.pretrain.global_batch_size)}


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
