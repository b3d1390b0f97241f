"""Spread independent pieces of inference over the processor without letting it into the result.

A floating-point sum depends on how many threads share it. So each piece is computed by one thread, and how
many pieces run at once, which the machine decides, changes nothing.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from model.reporting import track

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def map_pieces(work: Callable[[Piece], Result], pieces: Sequence[Piece], what: str) -> list[Result]:
    """`work` of each piece, in their order, in inference mode; progress counts pieces as `what`."""

    def alone(piece: Piece) -> Result:
        with torch.inference_mode():
            return work(piece)

    processors = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(processors, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        results: Iterator[Result] = pool.map(alone, pieces)
        return list(track(results, len(pieces), what))
