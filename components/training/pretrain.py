"""Train the model: a request to `model.launcher`, and its figures as a Summary.

The loop itself, its processes and its checkpoints are the model's own; a killed training finds them again in
`work_dir`.
"""

from collections.abc import Sequence
from pathlib import Path

from components.errors import ParamsError, PreemptedError, TrainingError
from components.section import Summary
from components.training.start_model import find_start, require_fitting_start, require_same_tokenizer
from components.training.training_metrics import METRICS_FILE, read_metrics
from model.batches import ShortCorpusError, windows_of
from model.config import ModelConfig, PretrainConfig
from model.launcher import train
from model.model_size import parameter_count
from model.source_blend import BlendError, SourceBlend, weights_of
from model.token_shards import TokenShardError, TokenShards
from model.train_request import TrainRequest
from model.training_errors import TrainingFailedError, TrainingPreemptedError


class PretrainSummary(Summary):
    """What was trained, on how much, how far. Losses are mean nats per token."""

    parameters: int
    """The tied head counts once."""
    steps: int
    tokens: int
    """Positions read by all replicas."""
    epochs: float
    """How often the train split was read, on average."""
    epochs_by_source: dict[str, float]
    """How often each source was; those that the blend leaves out are not told."""
    final_loss: float
    """Over the last step's batch."""
    best_validation_loss: float
    final_validation_loss: float


def resolve_sources(config: PretrainConfig, workspace: Path) -> dict[str, str]:
    """The digest of the model to begin with, if one is named; SourceError if it is not there."""
    start = find_start(config, workspace)
    return {"start_from": start.digest} if start else {}


def run(
    config: PretrainConfig,
    *,
    model: ModelConfig,
    token_shards: Path,
    tokenizer: Path,
    workspace: Path,
    out: Path,
    work_dir: Path,
    checkpoint_store: str | None = None,
    ranks: Sequence[str] = (),
) -> PretrainSummary:
    """Train to the last step, from the last checkpoint in `work_dir` or the store if there is one, and write `out`.

    `checkpoint_store` is an `s3://bucket/prefix` where checkpoints are kept too, `ranks` a command that runs the ranks
    elsewhere, see `model.launcher`; neither changes anything of the result.
    ParamsError if the blend does not fit the sources or the model to begin with does not fit the parameters;
    SourceError if that is not there; TrainingError if a process fails, if the loss is not finite, if the store cannot
    be used, or if the shards do not fill a window; PreemptedError if the run was asked to stop.
    """
    start = find_start(config, workspace)
    request = TrainRequest(
        token_shards=token_shards,
        tokenizer=tokenizer,
        model=model,
        pretrain=config,
        work_dir=work_dir,
        out=out,
        checkpoint_store=checkpoint_store,
        start_from=start,
    )
    if start:
        require_same_tokenizer(start, tokenizer)
    try:
        shards = TokenShards(token_shards)
        require_fitting_start(config, model, shards.vocab_size, workspace)
        windows = windows_of(shards, "train", model.context_length_tokens)
        blend = SourceBlend(weights_of(config.blend, windows))
        result = train(request, ranks)
    except BlendError as error:
        raise ParamsError(str(error)) from error
    except TrainingPreemptedError as error:
        raise PreemptedError(str(error)) from error
    except (TrainingFailedError, TokenShardError, ShortCorpusError) as error:
        raise TrainingError(str(error)) from error
    measured = read_metrics(out / METRICS_FILE)
    samples = result.step * config.global_batch_size
    return PretrainSummary(
        parameters=parameter_count(model, shards.vocab_size),
        steps=result.step,
        tokens=result.tokens,
        epochs=result.tokens / shards.num_tokens("train"),
        epochs_by_source={source: blend.count(source, samples) / windows[source] for source in blend.sources},
        final_loss=result.loss,
        best_validation_loss=min(step.validation_loss for step in measured if step.validation_loss is not None),
        final_validation_loss=result.validation_loss,
    )
