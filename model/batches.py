"""What the model reads at each step: a pure function of the step, so that no reader has a state to save.

Samples have one global number over all steps. The blend gives sample i to a source; it is the source's next window, in
epoch after epoch of the source, each in its own permutation, whatever other sources there are. A step takes the next
`global_batch_size` samples and deals them out over accumulation steps, then replicas. How many replicas there are, and
after which restart, changes who reads a sample but not which step does. `rank` is everywhere the number of a replica:
the ranks that share a replica's layers read the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import gcd

import numpy as np
from numpy.typing import NDArray

from model.config import PretrainConfig
from model.document_index import Document
from model.fill_in_middle import turn_window
from model.sample_order import permuted
from model.source_blend import SourceBlend, weights_of
from model.special_tokens import FIM_PAD, IGNORED_TARGET
from model.text_codec import TextCodec
from model.token_shards import TokenShards

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Tokens and targets, each (windows, context length); a token's target is the next one, or IGNORED_TARGET."""


class ShortCorpusError(Exception):
    """A split does not fill the windows that training needs; one sentence with its size and the mend."""


class TrainBatches:
    """The training split in windows of `context_length` inputs, neighbours sharing one token at their border.

    What is left at the end of a source's stream, less than a window, is not read. ShortCorpusError if there is no
    window; BlendError if `config.blend` does not fit the sources.
    """

    def __init__(self, shards: TokenShards, codec: TextCodec, config: PretrainConfig, context_length: int) -> None:
        self._shards = shards
        self._codec = codec
        self._config = config
        self._context_length = context_length
        self.num_windows = windows_of(shards, "train", context_length)
        """Samples of one epoch of each source."""
        self.blend = SourceBlend(weights_of(config.blend, self.num_windows))
        """Which source a sample is of."""

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
        window = _window(self._shards, "train", *self.window_of(number), self._context_length)
        return turn_window(window, self._codec, self._config.fill_in_middle, seed=self._config.seed, sample=number)

    def window_of(self, number: int) -> tuple[str, int]:
        """The source and the window that sample `number` reads."""
        source, before = self.blend.locate(number)
        epoch, position = divmod(before, self.num_windows[source])
        key = sha256(f"{self._config.seed} {epoch} {source}".encode()).digest()
        return source, permuted(position, self.num_windows[source], key)

    def documents_of(self, number: int) -> list[tuple[Document, int]]:
        """The documents that sample `number` reads from, in their order, each with how many of its tokens.

        TokenShardError if their index cannot be read.
        """
        source, window = self.window_of(number)
        start, length = window * self._context_length, self._context_length + 1
        documents = self._shards.documents("train", source, start, length)
        return [(document, document.tokens_within(start, length)) for document in documents]


@dataclass(frozen=True)
class ValidationSource:
    """What a replica reads of one source at every validation."""

    name: str
    share: float
    """Of the source in the tokens of all sources that are validated."""
    batches: list[Batch]


def validation_sources(
    shards: TokenShards, config: PretrainConfig, context_length: int, rank: int
) -> list[ValidationSource]:
    """Each source's windows for this replica: the same at every validation and in every layout, none turned.

    At most `validation_batches` x `micro_batch_size` windows in all, dealt out to the sources by `_shared_out` and
    evenly spread over each one's stream. The plain mean of the replicas' batch losses is the mean over the source's
    windows. ShortCorpusError if the split has no window.
    """
    available = windows_of(shards, "validation", context_length)
    counts = _shared_out(available, config.validation_batches, config.micro_batch_size)
    total_tokens = sum(shards.num_tokens("validation", source) for source in counts)
    sources: list[ValidationSource] = []
    for name, count in sorted(counts.items()):
        numbers = [index * available[name] // count for index in range(count)]
        own = _dealt(numbers, config.layout.data, rank)
        windows = np.stack([_window(shards, "validation", name, number, context_length) for number in own])
        num_batches = next(
            n for n in range(1, len(own) + 1) if len(own) % n == 0 and len(own) <= n * config.micro_batch_size
        )
        batches = [_split_targets(part) for part in np.split(windows, num_batches)]
        sources.append(ValidationSource(name, shards.num_tokens("validation", name) / total_tokens, batches))
    return sources


def windows_of(shards: TokenShards, split: str, context_length: int) -> dict[str, int]:
    """How many windows each source of a split fills; ShortCorpusError if none fills one."""
    windows = {
        source: max(0, shards.num_tokens(split, source) - 1) // context_length for source in shards.sources(split)
    }
    if not any(windows.values()):
        raise ShortCorpusError(
            f"split {split!r} has {shards.num_tokens(split)} tokens, and no source of it fills a window, which takes "
            f"{context_length + 1}; ingest more files or lower model.context_length_tokens"
        )
    return windows


def _shared_out(available: Mapping[str, int], num_batches: int, batch_size: int) -> dict[str, int]:
    """How many windows of each source are read, in all at most `num_batches` x `batch_size`.

    First each source, the largest first, gets a batch, or what it has if that is less; then the next batch goes to the
    source with the most windows for each batch, counting the next (D'Hondt), as long as it can fill it.
    """
    batches = {source: 0 for source, windows in available.items() if windows}
    for _ in range(num_batches):
        open_to = [name for name, held in batches.items() if not held or available[name] >= (held + 1) * batch_size]
        if not open_to:
            break
        batches[max(open_to, key=lambda name: (not batches[name], available[name] / (batches[name] + 1), name))] += 1
    return {name: min(available[name], held * batch_size) for name, held in batches.items() if held}


def _dealt(numbers: list[int], num_replicas: int, rank: int) -> list[int]:
    """The part of replica `rank`: all parts are equally long, and each number is in equally many of them."""
    num_parts = gcd(len(numbers), num_replicas)
    return numbers[rank % num_parts :: num_parts]


def _window(shards: TokenShards, split: str, source: str, number: int, context_length: int) -> NDArray[np.int64]:
    return shards.window(split, source, number * context_length, context_length + 1)


def _split_targets(windows: NDArray[np.int64]) -> Batch:
    following = windows[:, 1:]
    return windows[:, :-1].copy(), np.where(following == FIM_PAD, IGNORED_TARGET, following)
