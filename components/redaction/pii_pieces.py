"""Text cut into pieces that need no vocabulary: runs of letters of like case, runs of digits, single marks.

    parseHTTPReply(x42, "Löwis")  ->  parse HTTP Reply ( x 42 , " Löwis " )

A piece is known by its place in the bytes and by a bag of hashed features: its letters, its first and its last three,
its shape, the gaps around it, and the pieces before and after. Blanks are no pieces; a line's end is one. Any bytes
will do, UTF-8 or not. All is numpy over the bytes; nothing is decoded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PIECE_BYTES = 16
NUM_PIECE_FEATURES = 7

_BLANK, _LINE_END, _LOWER, _UPPER, _DIGIT, _MARK = range(6)
_CLASS = np.full(256, _MARK, np.uint8)
_CLASS[[0, 9, 11, 12, 13, 32]] = _BLANK
_CLASS[10] = _LINE_END
_CLASS[ord("a") : ord("z") + 1] = _LOWER
_CLASS[0x80:] = _LOWER  # letters beyond ASCII, for the most part
_CLASS[ord("A") : ord("Z") + 1] = _UPPER
_CLASS[ord("0") : ord("9") + 1] = _DIGIT
_IS_CAPITAL = np.array([chr(code).isupper() for code in range(2**11)])
_GENERAL = np.arange(256, dtype=np.uint8)
_GENERAL[ord("A") : ord("Z") + 1] += 32
_GENERAL[ord("0") : ord("9") + 1] = ord("0")


@dataclass(frozen=True)
class Pieces:
    """The pieces of one text in order: byte offsets [T], and the bag of each as rows of an embedding [T, K]."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    features_TK: NDArray[np.int64]
    words: NDArray[np.int64]
    """Number of the word that the piece belongs to: a run of letters, digits and `_`, or one mark alone."""


def split_pieces(text: bytes, num_features: int) -> Pieces:
    """Cut `text`; features are hashed into 0 .. num_features - 1. Takes some 100 times the text in memory."""
    data = np.frombuffer(text, np.uint8)
    classes = _classes(data)
    starts, ends = _borders(classes)
    features = _features(data, classes, starts, ends, num_features)
    return Pieces(starts, ends, features, _words(data, classes, starts, ends))


def _classes(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class of each byte. A capital beyond ASCII begins with a capital byte: "Šimić" has the shape of a name."""
    classes = _CLASS[data]
    leads = np.flatnonzero((data[:-1] >= 0xC2) & (data[:-1] < 0xE0))
    codes = (data[leads].astype(np.int64) & 0x1F) << 6 | data[leads + 1] & 0x3F
    classes[leads[_IS_CAPITAL[codes]]] = _UPPER
    return classes


def _borders(classes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    before = np.concatenate([[_BLANK], classes[:-1]]).astype(np.uint8)
    after = np.concatenate([classes[1:], [_BLANK]]).astype(np.uint8)
    begins = (classes != before) | (classes == _MARK) | (classes == _LINE_END)
    begins &= ~((classes == _LOWER) & (before == _UPPER))  # "Title" stays whole,
    begins |= (classes == _UPPER) & (before == _UPPER) & (after == _LOWER)  # "HTTPReply" does not
    begins &= classes != _BLANK
    places = np.arange(classes.size)
    run_starts = np.maximum.accumulate(np.where(begins, places, 0))
    begins |= ((places - run_starts) % MAX_PIECE_BYTES == 0) & (classes != _BLANK)
    stops = np.append(np.flatnonzero(begins | (classes == _BLANK)), classes.size)
    starts = np.flatnonzero(begins)
    return starts, stops[np.searchsorted(stops, starts) + 1] if starts.size else starts


def _words(
    data: NDArray[np.uint8], classes: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    is_wordy = (classes[starts] != _MARK) & (classes[starts] != _LINE_END) | (data[starts] == ord("_"))
    joined = np.zeros(starts.size, np.bool_)
    joined[1:] = is_wordy[1:] & is_wordy[:-1] & (starts[1:] == ends[:-1])
    return np.cumsum(~joined) - 1


def _features(
    data: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    num_features: int,
) -> NDArray[np.int64]:
    if starts.size == 0:
        return np.zeros((0, NUM_PIECE_FEATURES), np.int64)
    lengths = ends - starts
    piece_of = np.repeat(np.arange(starts.size), lengths)
    firsts = np.cumsum(lengths) - lengths
    place = np.arange(piece_of.size) - firsts[piece_of]
    letters = _GENERAL[data[starts[piece_of] + place]].astype(np.uint64)
    hashed = _mix(letters + np.uint64(256) * place.astype(np.uint64))
    from_end = lengths[piece_of] - 1 - place
    hashed_back = _mix(letters + np.uint64(256) * (from_end + 100).astype(np.uint64))
    whole = np.add.reduceat(hashed, firsts)
    prefix = np.add.reduceat(np.where(place < 3, hashed, 0), firsts)
    suffix = np.add.reduceat(np.where(from_end < 3, hashed_back, 0), firsts)
    gaps = np.minimum(np.diff(starts, prepend=0) - np.concatenate([[0], lengths[:-1]]), 2)
    around = gaps * 3 + np.append(gaps[1:], 2)
    second = classes[np.minimum(starts + 1, data.size - 1)]
    shape = (classes[starts].astype(np.int64) * 8 + np.where(lengths > 1, second, 7)) * 32 + lengths
    previous, following = np.roll(whole, 1), np.roll(whole, -1)
    previous[0] = following[-1] = 0
    columns = (whole, prefix, suffix, shape.astype(np.uint64), around.astype(np.uint64), previous, following)
    salted = [_mix(column + np.uint64(kind << 56)) for kind, column in enumerate(columns, start=1)]
    return (np.stack(salted, axis=1) % np.uint64(num_features)).astype(np.int64)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection that scatters all bits (the finalizer of SplitMix64, Steele, Lea and Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
