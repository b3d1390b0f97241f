"""Fill-in-the-middle: turn document segments so that their middle comes last (arXiv 2207.14255; StarCoder 5.1).

Every choice is drawn from a counter-based generator (Philox) by seed, sample and segment, so a sample is turned
the same way on any rank and after any restart, and another way in the next epoch. The cuts fall between
characters, not tokens, so that the model learns to continue from any point at which a person stops typing. A special
token inside a segment is one character: it is moved, never split or lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.config import FillInMiddleConfig
from model.special_tokens import END_OF_TEXT, FIM_MIDDLE, FIM_PAD, FIM_PREFIX, FIM_SUFFIX
from model.text_codec import TextCodec

_WORD = 1 << 64


@dataclass(frozen=True)
class Turn:
    """How one segment is turned. The cuts are shares of its length, as that is known only once it is decoded."""

    suffix_first: bool
    """Suffix-prefix-middle; otherwise prefix-suffix-middle."""
    cuts: tuple[int, int]
    """Two 64-bit words; word / 2^64 of the way along, rounded down, is a cut."""


def turn_window(
    window: NDArray[np.int64], codec: TextCodec, config: FillInMiddleConfig, seed: int, sample: int
) -> NDArray[np.int64]:
    """Turn each document segment of `window` with probability `config.rate`; the result is as long as `window`.

    A segment is what stands between end-of-text ids; these stay where they are. Where it holds several files of a
    repository (StarCoder2's `<file_sep>` is inside), it is not turned as a whole: with `config.rate` its files are
    candidates, and each of them is turned with `config.rate` again (arXiv 2402.19173, section 5.1: both are 0.5).
    Sentinels and broken merges lengthen a window: it is cut at its end, or filled with FIM_PAD where merges made it
    shorter.
    """
    separator = codec.special_ids.get("file_sep")
    turned: list[int] = []
    for number, (segment, ended) in enumerate(_segments(window)):
        if separator in segment:
            turned.extend(_turn_files(segment, codec, config, (seed, sample, number)))
        else:
            turn = choose_turn(config, seed, sample, number) if segment else None
            turned.extend(turn_segment(segment, codec, turn) if turn else segment)
        if ended:
            turned.append(END_OF_TEXT)
    fitted = np.full(len(window), FIM_PAD, np.int64)
    kept = turned[: len(window)]
    fitted[: len(kept)] = kept
    return fitted


def choose_turn(config: FillInMiddleConfig, seed: int, sample: int, segment: int, file: int = 0) -> Turn | None:
    """Whether and how to turn one segment, or file 1, 2, ... of it: a pure function, None for not at all."""
    # Only raw words: numpy keeps them the same for ever, but not what its Generator makes of them.
    philox = np.random.Philox(key=[seed, sample], counter=[0, 0, file, segment])
    rate, order, first, second = (int(word) for word in philox.random_raw(4))
    if rate >= config.rate * _WORD:
        return None
    return Turn(suffix_first=order < config.spm_rate * _WORD, cuts=(min(first, second), max(first, second)))


def turn_segment(segment: list[int], codec: TextCodec, turn: Turn) -> list[int]:
    """The three parts of a segment's text, each encoded alone, any of them perhaps empty, behind the sentinels.

    PSM is <fim_prefix> P <fim_suffix> S <fim_middle> M; SPM is <fim_prefix> <fim_suffix> S <fim_middle> P M
    (Megatron-LM's variant 2, as StarCoder). No text is lost: P + M + S is that of the segment.
    """
    text = codec.decode(segment)
    start, end = (cut * (len(text) + 1) // _WORD for cut in turn.cuts)
    prefix, middle, suffix = (codec.encode(part) for part in (text[:start], text[start:end], text[end:]))
    if turn.suffix_first:
        return [FIM_PREFIX, FIM_SUFFIX, *suffix, FIM_MIDDLE, *prefix, *middle]
    return [FIM_PREFIX, *prefix, FIM_SUFFIX, *suffix, FIM_MIDDLE, *middle]


def _turn_files(
    segment: list[int], codec: TextCodec, config: FillInMiddleConfig, key: tuple[int, int, int]
) -> list[int]:
    """`segment` with some of its files turned, if it is drawn; separators stay, and so does a repository's name."""
    if choose_turn(config, *key) is None:
        return segment
    separator, name = codec.special_ids["file_sep"], codec.special_ids["repo_name"]
    borders = [place for place, number in enumerate(segment) if number == separator]
    starts, ends = [0, *(place + 1 for place in borders)], [*borders, len(segment)]
    turned: list[int] = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        file = segment[start:end]
        turn = choose_turn(config, *key, number) if file and file[0] != name else None
        turned += turn_segment(file, codec, turn) if turn else file
        if number < len(starts):
            turned.append(separator)
    return turned


def _segments(window: NDArray[np.int64]) -> Iterator[tuple[list[int], bool]]:
    """The ids between end-of-text ids, and whether one follows."""
    start = 0
    for end in np.flatnonzero(window == END_OF_TEXT).tolist():
        yield window[start:end].tolist(), True
        start = end + 1
    yield window[start:].tolist(), False
