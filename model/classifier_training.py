"""Teach a token classifier: AdamW, a cosine with warm-up, and an early stop at the weights with the best score.

The recipe is StarPII's (BigCode `pii/ner/pii_train_ner`); its numbers are parameters. The same sequences and the same
parameters give the same weights, bit by bit, on the same kind of processor.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.encoder import TokenClassifier
from model.encoder_config import ClassifierTrainingConfig
from model.reporting import current_sink
from model.special_tokens import IGNORED_TARGET

_BUCKET_BATCHES = 16
"""Sequences are shuffled, then those of so many batches are put in the order of their lengths: less padding."""


@dataclass(frozen=True)
class LabelledSequence:
    """Features [T, K] of the tokens of one sequence and the label [T] of each, or IGNORED_TARGET."""

    features_TK: NDArray[np.int64]
    labels_T: NDArray[np.int64]


@dataclass(frozen=True)
class Validation:
    """What the score was after so many steps."""

    step: int
    loss: float
    """Mean of the training loss in nats since the validation before."""
    score: float


def train_classifier(
    model: TokenClassifier,
    sequences: Sequence[LabelledSequence],
    config: ClassifierTrainingConfig,
    score: Callable[[TokenClassifier], float],
) -> list[Validation]:
    """Train `model` in place and leave it, in evaluation mode, at the weights of which `score` was highest.

    It stops when `patience_validations` scores in a row were not `min_improvement` above the best. Returns what each
    validation saw.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(config.num_threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return _train(model, sequences, config, score)
    finally:
        torch.set_num_threads(threads)


def learning_rate(config: ClassifierTrainingConfig, step: int) -> float:
    """The rate of optimizer step `step`, counted from 1: linear up to `warmup_steps`, then a cosine to 0."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def padded(sequences: Sequence[LabelledSequence]) -> tuple[Tensor, Tensor, Tensor]:
    """features_BTK, is_token_BT and labels_BT of sequences side by side, each filled up to the longest."""
    longest = max(len(sequence.labels_T) for sequence in sequences)
    num_features = sequences[0].features_TK.shape[1]
    features_BTK = np.zeros((len(sequences), longest, num_features), np.int64)
    is_token_BT = np.zeros((len(sequences), longest), np.bool_)
    labels_BT = np.full((len(sequences), longest), IGNORED_TARGET, np.int64)
    for row, sequence in enumerate(sequences):
        length = len(sequence.labels_T)
        features_BTK[row, :length] = sequence.features_TK
        is_token_BT[row, :length] = True
        labels_BT[row, :length] = sequence.labels_T
    return torch.from_numpy(features_BTK), torch.from_numpy(is_token_BT), torch.from_numpy(labels_BT)


def _train(
    model: TokenClassifier,
    sequences: Sequence[LabelledSequence],
    config: ClassifierTrainingConfig,
    score: Callable[[TokenClassifier], float],
) -> list[Validation]:
    optimizer = _optimizer(model, config)
    validations: list[Validation] = []
    best: dict[str, Tensor] = {}
    best_score, since_better, losses = -math.inf, 0, 0.0
    for step, batch in enumerate(_batches(sequences, config), start=1):
        losses += _learn(model, optimizer, batch, learning_rate(config, step), config)
        current_sink().progress(step, config.max_steps, "steps")
        if step % config.validate_every_steps and step < config.max_steps:
            continue
        seen = Validation(step, losses / ((step - 1) % config.validate_every_steps + 1), score(model.eval()))
        validations.append(seen)
        current_sink().metrics({"loss": seen.loss, "score": seen.score}, step)
        losses = 0.0
        since_better = 0 if seen.score >= best_score + config.min_improvement else since_better + 1
        if seen.score > best_score:
            best_score = seen.score
            best = {name: weight.clone() for name, weight in model.state_dict().items()}
        if since_better == config.patience_validations:
            break
    model.load_state_dict(best)
    model.eval()
    return validations


def _learn(
    model: TokenClassifier,
    optimizer: torch.optim.Optimizer,
    batch: Sequence[LabelledSequence],
    rate: float,
    config: ClassifierTrainingConfig,
) -> float:
    """One step; returns its loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss = model.train().loss(*padded(batch))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip_norm)
    optimizer.step()
    return loss.item()


def _optimizer(model: TokenClassifier, config: ClassifierTrainingConfig) -> torch.optim.Optimizer:
    """AdamW; biases and LayerNorms do not decay, as Hugging Face's Trainer has it."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim != 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _batches(
    sequences: Sequence[LabelledSequence], config: ClassifierTrainingConfig
) -> Iterator[Sequence[LabelledSequence]]:
    """`max_steps` batches; each epoch sees every sequence once, in an order of its own."""
    random = Random(config.seed)
    bucket = config.batch_size * _BUCKET_BATCHES
    left = config.max_steps
    while left > 0:
        order = random.sample(range(len(sequences)), len(sequences))
        buckets = [
            sorted(order[i : i + bucket], key=lambda n: len(sequences[n].labels_T))
            for i in range(0, len(order), bucket)
        ]
        batches = [
            places[i : i + config.batch_size] for places in buckets for i in range(0, len(places), config.batch_size)
        ]
        random.shuffle(batches)
        for batch in batches[:left]:
            yield [sequences[number] for number in batch]
        left -= len(batches)
