"""How many nats a network spends on a text: every token scored once, with at least half a window before it.

A passage longer than the context is read in overlapping windows of which only the new part is scored. The sum
divided by ln 2 and by the text's bytes is bits per byte, which compares models whatever their tokens are.

Shapes: B windows, T tokens, V vocabulary, N scored tokens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from components.evaluation.torch_threads import map_pieces
from model.special_tokens import END_OF_TEXT
from model.transformer import CodeModel


@dataclass(frozen=True)
class Passage:
    """Tokens of which those from `first_scored` on are scored, given all before."""

    ids: Sequence[int]
    first_scored: int

    @staticmethod
    def of_text(ids: Sequence[int], given: Sequence[int] = ()) -> "Passage":
        """The scored text `ids` after the text `given`, at the start of a document."""
        return Passage([END_OF_TEXT, *given, *ids], 1 + len(given))


@dataclass(frozen=True)
class Window:
    """Reads the tokens `start` to `end`, and scores the tokens `first_scored` to `end`, including the one at `end`."""

    start: int
    first_scored: int
    end: int


def plan_windows(num_ids: int, first_scored: int, context_length: int) -> Iterator[Window]:
    """Windows of at most `context_length` tokens that score each token from `first_scored` on exactly once.

    A token is scored with all tokens before it or with at least half of `context_length`.
    """
    half = context_length // 2
    next_scored = first_scored
    while next_scored < num_ids:
        end = min(num_ids - 1, max(context_length, next_scored + context_length - half))
        yield Window(max(0, end - context_length), next_scored, end)
        next_scored = end + 1


def nats_of_passages(model: CodeModel, passages: Sequence[Passage], batch_size: int) -> list[float]:
    """Nats of the scored tokens of each passage; `batch_size` windows are computed at once."""
    context_length = model.config.context_length_tokens
    windows = [
        (number, window)
        for number, passage in enumerate(passages)
        for window in plan_windows(len(passage.ids), passage.first_scored, context_length)
    ]
    # Windows of like length stand together, so that little is padded.
    windows.sort(key=lambda item: item[1].start - item[1].end)
    batches = [windows[start : start + batch_size] for start in range(0, len(windows), batch_size)]

    def score(batch: list[tuple[int, Window]]) -> list[float]:
        return _nats_of_windows(model, [(passages[number].ids, window) for number, window in batch])

    parts: list[list[float]] = [[] for _ in passages]
    for batch, nats in zip(batches, map_pieces(score, batches, "batches scored"), strict=True):
        for (number, _), value in zip(batch, nats, strict=True):
            parts[number].append(value)
    return [math.fsum(values) for values in parts]


def _nats_of_windows(model: CodeModel, batch: Sequence[tuple[Sequence[int], Window]]) -> list[float]:
    longest = max(window.end - window.start for _, window in batch)
    tokens_BT = np.full((len(batch), longest), END_OF_TEXT, np.int64)
    scored_BT = np.zeros((len(batch), longest), np.bool_)
    targets: list[int] = []
    for row, (ids, window) in enumerate(batch):
        tokens_BT[row, : window.end - window.start] = ids[window.start : window.end]
        scored_BT[row, window.first_scored - window.start - 1 : window.end - window.start] = True
        targets.extend(ids[window.first_scored : window.end + 1])
    logits_NV = model(torch.from_numpy(tokens_BT))[torch.from_numpy(scored_BT)]
    nats_N = F.cross_entropy(logits_NV, torch.tensor(targets), reduction="none").double()
    counts = [window.end - window.first_scored + 1 for _, window in batch]
    return [float(part.sum()) for part in nats_N.split(counts)]
