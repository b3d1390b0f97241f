"""`metrics.jsonl` of a checkpoint, read back: what each optimizer step measured."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from components.errors import CorruptArtifactError

METRICS_FILE = "metrics.jsonl"
_OF_A_SOURCE = "validation_loss/"


class StepMetrics(BaseModel):
    """One line. Losses are mean nats per token."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    step: int
    """From 1."""
    tokens: int
    """Read up to and with this step."""
    loss: float
    learning_rate: float
    gradient_norm: float
    """Before clipping."""
    validation_loss: float | None = None
    """Mean of the sources' losses by their tokens."""
    source_losses: dict[str, float] = {}
    """Validation loss of each source: in the line `validation_loss/SOURCE`."""

    @model_validator(mode="before")
    @classmethod
    def _gather_sources(cls, line: Any) -> Any:
        if not isinstance(line, dict):
            return line
        plain: dict[str, Any] = {name: value for name, value in line.items() if not name.startswith(_OF_A_SOURCE)}
        return plain | {
            "source_losses": {name.removeprefix(_OF_A_SOURCE): line[name] for name in sorted(line.keys() - plain)}
        }


def read_metrics(path: Path) -> list[StepMetrics]:
    """The lines in the order of steps; CorruptArtifactError for a file that is missing, empty or damaged."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise CorruptArtifactError(f"there is no {path}; train the model again") from None
    if not lines:
        raise CorruptArtifactError(f"{path} is empty; train the model again")
    steps: list[StepMetrics] = []
    for number, line in enumerate(lines, start=1):
        try:
            steps.append(StepMetrics.model_validate_json(line))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]["msg"]
            raise CorruptArtifactError(
                f"{path} line {number} cannot be read ({fault}); train the model again"
            ) from None
    return steps
