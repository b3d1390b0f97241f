"""Text to hashes of its n-grams, on Arrow's own bytes: what near-duplicates and copies of problems are found by.

A token is a run of ASCII letters, digits and underscores; no Python string is made for any. Hashes have 64 bits: among
10 million different n-grams two agree with probability 3e-6.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.kernels import kernel, read_only

_IS_WORD = np.zeros(256, dtype=np.bool_)
_IS_WORD[np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_", dtype=np.uint8)] = True
_IS_CONTINUATION = np.zeros(256, dtype=np.bool_)
_IS_CONTINUATION[0x80:0xC0] = True  # UTF-8: the second to fourth bytes of a character
_IS_SEPARATOR = ~_IS_WORD & ~_IS_CONTINUATION
_UPPER_A, _UPPER_Z = (np.uint8(byte) for byte in b"AZ")
_TO_LOWER = np.uint8(32)

_WINDOW_BYTES = 2048
"""Tokens are cut and hashed by turns of so many bytes, so that what passes between the two stays in the cache."""
_LEFT_MASK = np.array([(1 << 8 * min(length, 8)) - 1 for length in range(17)], dtype=np.uint64)
_RIGHT_MASK = np.array([(1 << 8 * max(length - 8, 0)) - 1 for length in range(17)], dtype=np.uint64)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_MIX_SHIFT = np.uint64(33)  # the finalizer of MurmurHash3, 64 bits
_HALF = np.uint64(32)
_ROLL = np.uint64(0x9E3779B97F4A7C15)  # odd: the base of the rolling polynomial modulo 2^64


def ngram_hashes(
    texts: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ngram_tokens: int,
    *,
    lowercase: bool = False,
    empty_tokens: bool = False,
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hash every run of `ngram_tokens` consecutive tokens of each text, in order, repeated ones too.

    Takes what `components.tables.text_buffers` returns. Returns the hashes [N] and where each text's begin
    [rows + 1]; a text with fewer tokens has none. With `empty_tokens` every other character ends a token, which is
    then empty between two of them, as where text is split on `[^A-Za-z_0-9]` (BigCode near_deduplication).
    """
    texts, starts = texts[starts[0] : starts[-1]], starts - starts[0]
    if lowercase:
        texts = texts | ((texts - _UPPER_A <= _UPPER_Z - _UPPER_A) * _TO_LOWER)
    room = len(texts) // (1 if empty_tokens else 2) + len(starts)
    hashes_N = np.empty(room, dtype=np.uint64)
    firsts = np.zeros(len(starts), dtype=np.int64)
    count = _hash_ngrams(read_only(texts), read_only(starts), ngram_tokens, empty_tokens, hashes_N, firsts)
    return hashes_N[:count], firsts


def distinct_hashes(
    hashes_N: NDArray[np.uint64], firsts: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Each text's hashes once and in ascending order, and where each text's begin; takes what `ngram_hashes` returns.

    The hashes must be spread evenly over the 64 bits, else it is slow.
    """
    sets_N = np.empty_like(hashes_N)
    firsts_of_sets = np.zeros_like(firsts)
    _sort_distinct(hashes_N, firsts, sets_N, firsts_of_sets)
    return sets_N[: firsts_of_sets[-1]], firsts_of_sets


@kernel
def _find_words(texts: Any, first: Any, end: Any, edges: Any, count: Any) -> Any:
    """Append where words begin and end, by turns; an odd count says that the last one is still open."""
    window, room = texts[first:end], edges[count:]  # indices from 0 spare the compiler the negative ones
    is_open = count & 1 == 1
    found = 0
    for index in range(len(window)):
        is_word = _IS_WORD[window[index]]
        room[found] = first + index
        found += is_word != is_open
        is_open = is_word
    return count + found


@kernel
def _find_pieces(texts: Any, first: Any, end: Any, edges: Any, count: Any) -> Any:
    """Append where the pieces between separators end and begin, by turns; the last one is always open."""
    window, room = texts[first:end], edges[count - 1 :]
    found = 0
    for index in range(len(window)):
        byte = window[index]
        room[found + 1] = first + index
        room[found + 2] = first + index + 1
        found += 2 if _IS_SEPARATOR[byte] else 0
        if _IS_CONTINUATION[byte]:
            room[found] = first + index + 1
    return count + found


@kernel
def _load(texts: Any, first: Any) -> Any:
    """Eight bytes as one number. The positions are unsigned so that the compiler makes one load of it."""
    place = np.uint64(first)
    value = np.uint64(0)
    for shift in range(8):
        value |= np.uint64(texts[place + np.uint64(shift)]) << np.uint64(8 * shift)
    return value


@kernel
def _load_some(texts: Any, first: Any, end: Any) -> Any:
    """At most eight bytes as one number, none from `end` on."""
    value = np.uint64(0)
    for position in range(min(end, first + 8) - 1, first - 1, -1):
        value = value << np.uint64(8) | np.uint64(texts[position])
    return value


@kernel
def _hash_short(texts: Any, first: Any, length: Any) -> Any:
    """`_hash_token` of at most 16 bytes, where the texts go on for 16: without a loop it is many times faster."""
    left = _load(texts, first) & _LEFT_MASK[length]
    right = _load(texts, first + 8) & _RIGHT_MASK[length]
    value = left * _MIX_1
    value = ((value ^ (value >> _HALF)) ^ right) * _MIX_2
    return value ^ (value >> _HALF)


@kernel
def _hash_token(texts: Any, first: Any, end: Any) -> Any:
    """A hash of the bytes; tokens of up to eight never share one."""
    value = np.uint64(0)
    while True:
        length = min(end - first, 16)
        if first + 16 <= len(texts):
            left = _load(texts, first) & _LEFT_MASK[length]
            right = _load(texts, first + 8) & _RIGHT_MASK[length]
        else:
            left = _load_some(texts, first, end)
            right = _load_some(texts, first + 8, end)
        value = (value ^ left) * _MIX_1
        value = ((value ^ (value >> _HALF)) ^ right) * _MIX_2
        value ^= value >> _HALF
        first += 16
        if first >= end:
            return value


@kernel
def _mix(value: Any) -> Any:
    """Spread a 64-bit value: each bit of the result depends on every bit of `value`; one to one."""
    value ^= value >> _MIX_SHIFT
    value *= _MIX_1
    value ^= value >> _MIX_SHIFT
    value *= _MIX_2
    return value ^ (value >> _MIX_SHIFT)


@kernel
def _cut(texts: Any, first: Any, end: Any, is_last: Any, empty_tokens: Any, edges: Any, count: Any) -> Any:
    if empty_tokens:
        count = _find_pieces(texts, first, end, edges, count)
    else:
        count = _find_words(texts, first, end, edges, count)
    if is_last and count & 1 == 1:
        edges[count] = end
        count += 1
    return count


@kernel
def _hash_ngrams(texts: Any, starts: Any, ngram_tokens: Any, empty_tokens: Any, hashes_N: Any, firsts: Any) -> Any:
    edges = np.empty(2 * _WINDOW_BYTES + 4, dtype=np.int64)
    last_tokens = np.empty(ngram_tokens, dtype=np.uint64)
    oldest_factor = np.uint64(1)
    for _ in range(ngram_tokens):
        oldest_factor *= _ROLL
    count = 0
    for row in range(len(starts) - 1):
        rolling = np.uint64(0)
        last_tokens[:] = np.uint64(0)
        num_tokens = slot = 0
        edges[0] = starts[row]
        num_edges = 1 if empty_tokens else 0
        for first in range(starts[row], starts[row + 1] + 1, _WINDOW_BYTES):
            end = min(first + _WINDOW_BYTES, starts[row + 1])
            is_last = first + _WINDOW_BYTES > starts[row + 1]
            num_edges = _cut(texts, first, end, is_last, empty_tokens, edges, num_edges)
            for edge in range(0, num_edges - 1, 2):
                begin, length = edges[edge], edges[edge + 1] - edges[edge]
                if length <= 16 and begin + 16 <= len(texts):
                    token = _hash_short(texts, begin, length)
                else:
                    token = _hash_token(texts, begin, begin + length)
                rolling = rolling * _ROLL + token - last_tokens[slot] * oldest_factor
                last_tokens[slot] = token
                slot = slot + 1 if slot + 1 < ngram_tokens else 0
                num_tokens += 1
                if num_tokens >= ngram_tokens:
                    hashes_N[count] = _mix(rolling)
                    count += 1
            edges[0] = edges[max(num_edges - 1, 0)]
            num_edges &= 1
        firsts[row + 1] = count
    return count


@kernel
def _sort_distinct(hashes_N: Any, firsts: Any, sets_N: Any, firsts_of_sets: Any) -> None:
    """Scatter each text's hashes by their leading bits to about where they belong, then move each to its place."""
    for row in range(len(firsts) - 1):
        hashes = hashes_N[firsts[row] : firsts[row + 1]]
        ordered = sets_N[firsts_of_sets[row] : firsts_of_sets[row] + len(hashes)]
        bits = 1
        while (1 << bits) < len(hashes):
            bits += 1
        shift = np.uint64(64 - bits)
        ends = np.zeros((1 << bits) + 1, dtype=np.int64)
        for value in hashes:
            ends[np.int64(value >> shift) + 1] += 1
        for bucket in range(1 << bits):
            ends[bucket + 1] += ends[bucket]
        for value in hashes:
            bucket = np.int64(value >> shift)
            ordered[ends[bucket]] = value
            ends[bucket] += 1
        num_distinct = 0
        for index in range(len(ordered)):
            value = ordered[index]
            place = index
            while place > 0 and ordered[place - 1] > value:
                ordered[place] = ordered[place - 1]
                place -= 1
            ordered[place] = value
        for value in ordered:
            if num_distinct == 0 or value != ordered[num_distinct - 1]:
                ordered[num_distinct] = value
                num_distinct += 1
        firsts_of_sets[row + 1] = firsts_of_sets[row] + num_distinct
