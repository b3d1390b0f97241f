"""What a step's loss says about its batch: whether it stands out from those before it, and which samples it was.

Batches are a function of the step, so a sample that is named here can be read again and looked at.
"""

import statistics
from collections import Counter, deque

from model.batches import TrainBatches

WINDOW_STEPS = 64
LEAST_STEPS = 16
"""Before so many there is nothing to compare with."""
DEVIATIONS = 6.0
LEAST_RISE_NATS = 0.1
"""No spike below it, however quiet the steps before were."""


class SpikeGuard:
    """Compares each loss with those of the steps before it: spikes are what diverging runs begin with.

    PaLM (arXiv 2204.02311, section 5.1) saw some twenty and went on from before them without their batches.
    """

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW_STEPS)

    def usual_before(self, loss: float) -> float | None:
        """The mean of the steps before if `loss` is a spike above it, else None; `loss` then counts as one of them."""
        usual: float | None = None
        if len(self._losses) >= LEAST_STEPS:
            mean = statistics.fmean(self._losses)
            rise = max(DEVIATIONS * statistics.pstdev(self._losses, mean), LEAST_RISE_NATS)
            usual = mean if loss > mean + rise else None
        self._losses.append(loss)
        return usual


def describe_batch(batches: TrainBatches, step: int, batch_size: int) -> str:
    """The samples of an optimizer step (from 1) and how many there are of each source."""
    numbers = range((step - 1) * batch_size, step * batch_size)
    sources = Counter(batches.window_of(number)[0] for number in numbers)
    told = ", ".join(f"{name} {count}" for name, count in sorted(sources.items()))
    return f"samples {numbers[0]} to {numbers[-1]} ({told})"
