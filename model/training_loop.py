"""The training run, to be read as a method section: every step is a function of its number and of the weights.

Batches, learning rate and validation windows are computed from the step, so a run that was stopped anywhere goes on
from its last checkpoint and ends in the same bits.
"""

import math
import struct
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from model.batches import Batch, TrainBatches, ValidationSource
from model.checkpoint import CheckpointStore
from model.config import PretrainConfig
from model.engine import Engine
from model.hang_watch import HangWatch
from model.loss_guard import SpikeGuard, describe_batch
from model.metrics_log import MetricsLog
from model.reporting import current_sink
from model.schedule import learning_rate
from model.stragglers import stragglers
from model.training_errors import TrainingFailedError, TrainingPreemptedError
from model.training_state import WholeState
from model.utilization import Utilization

_COMPARE_EVERY_STEPS = 50
"""How often ranks tell each other how long they computed."""
_WORD = struct.Struct("<?Q")
"""What a rank says after each step: whether it was asked to stop, and its peak memory in bytes."""


@dataclass(frozen=True)
class TrainingRun:
    """What one rank needs for the whole run. All ranks call `to_the_end` together."""

    config: PretrainConfig
    context_length: int
    engine: Engine
    batches: TrainBatches
    validation: Sequence[ValidationSource]
    checkpoints: CheckpointStore
    metrics: MetricsLog
    watch: HangWatch
    utilization: Utilization
    stop_requested: Callable[[], bool]
    """Whether this rank was asked to stop; one rank's word is enough."""
    start: WholeState | None
    """What the first step begins with; None for the weights that the engine has drawn."""
    spikes: SpikeGuard = field(default_factory=SpikeGuard)

    def to_the_end(self) -> None:
        """Train from the last checkpoint, or from the start, to the last step; its checkpoint is then written.

        TrainingFailedError if a loss or gradient is not finite or the disk is full; TrainingPreemptedError, after
        saving, if a rank was asked to stop; CheckpointError if the last checkpoint belongs to another run.
        """
        for step in range(self._resume() + 1, self.config.num_steps + 1):
            self.watch.beat(f"step {step}")
            started = perf_counter()
            rate = learning_rate(self.config, step)
            outcome = self.engine.train_step(self._micro_batches(step), rate)
            seconds = perf_counter() - started

            measured = {"loss": outcome.loss, "learning_rate": rate, "gradient_norm": outcome.gradient_norm}
            last = step == self.config.num_steps
            if last or step % self.config.validate_every_steps == 0:
                measured |= self._validate()
            self._judge(measured, step)
            self.metrics.append({"step": step, "tokens": step * self._tokens_per_step} | measured)
            stop, memory_bytes = self._hear_from_ranks()
            self._report(step, measured, seconds, memory_bytes)

            if step % _COMPARE_EVERY_STEPS == 0:
                self._name_stragglers(step)
            self._settle(wait=False)
            if last or stop or step % self.config.checkpoint_every_steps == 0:
                self._save(step, must_stand=last or stop)
            if stop and not last:
                raise TrainingPreemptedError(
                    f"training was asked to stop and has saved step {step} of {self.config.num_steps}; start it "
                    "again to go on"
                )

    def _validate(self) -> dict[str, float]:
        """The mean loss of each source, and their mean by how many tokens each source has."""
        losses: dict[str, float] = {}
        for source in self.validation:
            self.watch.beat(f"the validation on {source.name}")
            losses[source.name] = self.engine.evaluate(source.batches)
        mean = math.fsum(source.share * losses[source.name] for source in self.validation)
        return {"validation_loss": mean} | {f"validation_loss/{name}": loss for name, loss in losses.items()}

    def _micro_batches(self, step: int) -> Sequence[Batch]:
        return self.batches.batch(step - 1, self.engine.data_rank) if self.engine.reads_batches else ()

    def _resume(self) -> int:
        """The step that the run goes on from, 0 at the start; state and metrics are as they were then."""
        checkpoint = self.checkpoints.load_latest(current_sink().note)
        if checkpoint:
            self.engine.import_state(checkpoint.state, checkpoint.step)
            current_sink().note(f"resumed at step {checkpoint.step}")
            if checkpoint.layout != self.config.layout:
                current_sink().note("in another layout: from here on the weights agree but for rounding")
        elif self.start is not None:
            self.engine.import_state(self.start, step=0)
        self.metrics.restart(checkpoint.metrics if checkpoint else b"")
        step = checkpoint.step if checkpoint else 0
        current_sink().progress(step, self.config.num_steps, "steps")
        return step

    def _save(self, step: int, *, must_stand: bool) -> None:
        """Begin a checkpoint; the training waits only for the copy, or where it `must_stand` for its end."""
        self.watch.beat(f"the checkpoint of step {step}")
        started = perf_counter()
        self._settle(wait=True)
        with self._no_harm_in_failing(must_stand):
            self.checkpoints.begin(
                step,
                samples=step * self.config.global_batch_size,
                state=self.engine.export_state(),
                metrics=self.metrics.content(),
            )
            if must_stand:
                self.checkpoints.settle(wait=True)
        current_sink().metrics({"checkpoint_seconds": perf_counter() - started}, step)
        if must_stand:
            self.checkpoints.settle_upload(current_sink().note, wait=True)  # this machine may go away

    def _settle(self, *, wait: bool) -> None:
        """See to the checkpoint that is being written."""
        with self._no_harm_in_failing():
            self.checkpoints.settle(wait=wait)
        self.checkpoints.settle_upload(current_sink().note, wait=False)

    @contextmanager
    def _no_harm_in_failing(self, must_stand: bool = False) -> Generator[None]:
        """A checkpoint that cannot be saved is told and costs no training, unless it `must_stand`."""
        try:
            yield
        except TrainingFailedError as error:
            if must_stand:
                raise
            current_sink().note(f"a checkpoint was not saved, the training goes on: {error}")

    def _report(self, step: int, measured: Mapping[str, float], seconds: float, memory_bytes: int) -> None:
        tokens_per_second = self._tokens_per_step / seconds
        speed = {"seconds_per_step": seconds, "tokens_per_second": tokens_per_second, "memory_bytes": memory_bytes}
        current_sink().metrics({**measured, **speed, **self.utilization.rates(tokens_per_second)}, step)
        current_sink().progress(step, self.config.num_steps, "steps")

    def _hear_from_ranks(self) -> tuple[bool, int]:
        """Whether any was asked to stop, and the most memory that any has held."""
        mine = _WORD.pack(self.stop_requested(), self.engine.peak_memory_bytes)
        stops, memories = zip(*map(_WORD.unpack, self.engine.exchange(mine)), strict=True)
        return any(stops), max(memories)

    def _judge(self, measured: Mapping[str, float], step: int) -> None:
        """TrainingFailedError if a measure is no number; a loss that stands out is told. Both name the batch."""
        for name, value in measured.items():
            if not math.isfinite(value):
                raise TrainingFailedError(
                    f"training diverged at step {step}: {name} is {value}; lower pretrain.learning_rate (now "
                    f"{self.config.learning_rate}) or raise pretrain.warmup_steps (now {self.config.warmup_steps}) "
                    f"and look at {self._batch_of(step)}"
                )
        usual = self.spikes.usual_before(measured["loss"])
        if usual is not None:
            current_sink().note(
                f"the loss of step {step} is {measured['loss']:.3f}, of those before {usual:.3f}: look at "
                f"{self._batch_of(step)}"
            )

    def _batch_of(self, step: int) -> str:
        return describe_batch(self.batches, step, self.config.global_batch_size)

    def _name_stragglers(self, step: int) -> None:
        said = self.engine.exchange(struct.pack("<d", self.engine.take_forward_seconds()))
        seconds = [struct.unpack("<d", payload)[0] for payload in said]
        for rank, ratio in stragglers(seconds, self.config.layout).items():
            current_sink().note(
                f"rank {rank} computes {ratio:.1f} times as long as ranks of equal work (step {step}); all wait for it"
            )

    @property
    def _tokens_per_step(self) -> int:
        return self.config.global_batch_size * self.context_length
