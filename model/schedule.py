"""The learning rate as a pure function of the step: nothing to save, nothing to restore.

Linear warm-up, then a cosine down to the minimum (StarCoder paper, section 5.4; the shape is that of arXiv 1608.03983
without restarts).
"""

import math

from model.config import PretrainConfig


def learning_rate(config: PretrainConfig, step: int) -> float:
    """The rate of optimizer step `step`, counted from 1.

    It rises in equal parts to `learning_rate` at step `warmup_steps`, and reaches `min_learning_rate` at the last step.
    """
    if step < 1 or step > config.num_steps:
        raise ValueError(f"step {step} is not between 1 and num_steps {config.num_steps}")
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    decayed_fraction = (step - config.warmup_steps) / (config.num_steps - config.warmup_steps)
    height = 0.5 * (1.0 + math.cos(math.pi * decayed_fraction))
    return config.min_learning_rate + height * (config.learning_rate - config.min_learning_rate)
