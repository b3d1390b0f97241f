"""What the model reads at each step: a pure function of the step, so that no reader has a state to save.

Samples have one global number over all steps. Sample i is window i of epoch after epoch, each in its own
permutation; a step takes the next `global_batch_size` of them and deals them out over accumulation steps, then
replicas. How many replicas there are, and after which restart, changes who reads a sample but not which step does.
`rank` is everywhere the number of a replica: the ranks that share a replica's layers read the same.
"""

import numpy as np
from numpy.typing import NDArray

from model.config import PretrainConfig
from model.fill_in_middle import turn_window
from model.sample_order import permuted
from model.special_tokens import FIM_PAD, IGNORED_TARGET
from model.text_codec import TextCodec
from model.token_shards import TokenShards

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Tokens and targets, each (windows, context length); a token's target is the next one, or IGNORED_TARGET."""


class ShortCorpusError(Exception):
    """A split does not fill the windows that training needs; one sentence with its size and the mend."""


class TrainBatches:
    """The training split in windows of `context_length` inputs, neighbours sharing one token at their border.

    What is left at the end of the split, less than a window, is not read. ShortCorpusError if there is no window.
    """

    def __init__(self, shards: TokenShards, codec: TextCodec, config: PretrainConfig, context_length: int) -> None:
        self._shards = shards
        self._codec = codec
        self._config = config
        self._context_length = context_length
        self.num_windows = _num_windows(shards, "train", context_length)
        """Samples of one epoch."""

    def batch(self, step: int, rank: int) -> list[Batch]:
        """What replica `rank` reads in optimizer step `step` (both from 0): one batch for each accumulation step."""
        config = self._config
        first = step * config.global_batch_size
        per_accumulation = config.micro_batch_size * config.layout.data
        starts = range(first + rank * config.micro_batch_size, first + config.global_batch_size, per_accumulation)
        return [
            _split_targets(np.stack([self.sample(start + slot) for slot in range(config.micro_batch_size)]))
            for start in starts
        ]

    def sample(self, number: int) -> NDArray[np.int64]:
        """Sample `number` of the run: `context_length` + 1 ids, some documents turned to fill in the middle."""
        window = _window(self._shards, "train", self.window_of(number), self._context_length)
        return turn_window(window, self._codec, self._config.fill_in_middle, seed=self._config.seed, sample=number)

    def window_of(self, number: int) -> int:
        """Which window sample `number` reads; every window once in each epoch, in an order of its own."""
        epoch, position = divmod(number, self.num_windows)
        key = self._config.seed.to_bytes(8, "little") + epoch.to_bytes(8, "little")
        return permuted(position, self.num_windows, key)


def validation_batches(shards: TokenShards, config: PretrainConfig, context_length: int, rank: int) -> list[Batch]:
    """This replica's share of the validation windows: the same at every validation, none turned.

    At most `validation_batches` x `micro_batch_size` windows over all replicas, evenly spread over the split. Every
    replica gets equally many batches of equally many windows, so the plain mean of their losses is the mean over
    windows. ShortCorpusError if there is not a window for each replica.
    """
    available = _num_windows(shards, "validation", context_length)
    wanted = min(available, config.validation_batches * config.micro_batch_size)
    per_rank = wanted // config.layout.data
    if per_rank == 0:
        raise ShortCorpusError(
            f"split 'validation' has {available} windows of {context_length} tokens, and validation_batches "
            f"{config.validation_batches} asks for {wanted}: too few for {config.layout.data} replicas; "
            "hold out more files or raise validation_batches"
        )
    num_batches = -(-per_rank // config.micro_batch_size)
    batch_size = per_rank // num_batches
    total = num_batches * batch_size * config.layout.data
    numbers = [index * available // total for index in range(total)][rank :: config.layout.data]
    windows = np.stack([_window(shards, "validation", number, context_length) for number in numbers])
    return [_split_targets(part) for part in np.split(windows, num_batches)]


def _num_windows(shards: TokenShards, split: str, context_length: int) -> int:
    tokens = shards.num_tokens(split)
    if tokens <= context_length:
        raise ShortCorpusError(
            f"split {split!r} has {tokens} tokens, but one window takes {context_length + 1}; "
            "ingest more files or lower model.context_length_tokens"
        )
    return (tokens - 1) // context_length


def _window(shards: TokenShards, split: str, number: int, context_length: int) -> NDArray[np.int64]:
    return shards.window(split, number * context_length, context_length + 1)


def _split_targets(windows: NDArray[np.int64]) -> Batch:
    following = windows[:, 1:]
    return windows[:, :-1].copy(), np.where(following == FIM_PAD, IGNORED_TARGET, following)
