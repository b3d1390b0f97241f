"""Text to hashes of its n-grams, on Arrow's own bytes: what near-duplicates and contamination are found by.

A token is a run of ASCII letters, digits and underscores (BigCode near_deduplication: split on `[^A-Za-z_0-9]`); no
Python string is made for any. The kernels compile at their first call and are then read from numba's cache. Hashes
have 64 bits: among 10 million different n-grams two agree with probability 3e-6.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_IS_WORD = np.zeros(256, dtype=np.bool_)
_IS_WORD[np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_", dtype=np.uint8)] = True
_IS_BLANK = np.zeros(256, dtype=np.bool_)
_IS_BLANK[np.frombuffer(b" \t\n\v\f\r", dtype=np.uint8)] = True
_IS_BLANK_ESCAPE = np.zeros(256, dtype=np.bool_)
_IS_BLANK_ESCAPE[np.frombuffer(b"nrt", dtype=np.uint8)] = True
_BACKSLASH, _SPACE, _UPPER_A, _UPPER_Z = (np.uint8(byte) for byte in b"\\ AZ")
_TO_LOWER = np.uint8(32)

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)  # FNV-1a, 64 bits
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_MIX_SHIFT = np.uint64(33)  # the finalizer of MurmurHash3, 64 bits
_ROLL = np.uint64(0x9E3779B97F4A7C15)  # odd: the base of the rolling polynomial modulo 2^64


def ngram_hashes(
    texts: NDArray[np.uint8], starts: NDArray[np.int64], ngram_tokens: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hash every run of `ngram_tokens` consecutive tokens of each text, in order, repeated ones too.

    Takes what `components.tables.text_buffers` returns. Returns the hashes [N] and where each text's begin
    [rows + 1]; a text with fewer tokens has none.
    """
    room = int(starts[-1] - starts[0]) // 2 + len(starts)
    hashes_N = np.empty(room, dtype=np.uint64)
    firsts = np.zeros(len(starts), dtype=np.int64)
    count = _hash_ngrams(_read_only(texts), _read_only(starts), ngram_tokens, hashes_N, firsts)
    return hashes_N[:count], firsts


def _read_only(array: Any) -> Any:
    """Arrow's memory is read-only and numpy's is not; one form for both saves the compiler a second turn."""
    view = array.view()
    view.flags.writeable = False
    return view


@numba.njit(cache=True, nogil=True)
def _mix(value: Any) -> Any:
    """Spread a 64-bit value: each bit of the result depends on every bit of `value`; one to one."""
    value ^= value >> _MIX_SHIFT
    value *= _MIX_1
    value ^= value >> _MIX_SHIFT
    value *= _MIX_2
    return value ^ (value >> _MIX_SHIFT)


@numba.njit(cache=True, nogil=True)
def _hash_ngrams(texts: Any, starts: Any, ngram_tokens: Any, hashes_N: Any, firsts: Any) -> Any:
    last_tokens = np.zeros(ngram_tokens, dtype=np.uint64)
    oldest_factor = np.uint64(1)
    for _ in range(ngram_tokens):
        oldest_factor *= _ROLL
    count = 0
    for row in range(len(starts) - 1):
        rolling = np.uint64(0)
        last_tokens[:] = np.uint64(0)
        num_tokens = 0
        slot = 0
        position = starts[row]
        end = starts[row + 1]
        while position < end:
            if not _IS_WORD[texts[position]]:
                position += 1
                continue
            token = _FNV_OFFSET
            while position < end and _IS_WORD[texts[position]]:
                token = (token ^ np.uint64(texts[position])) * _FNV_PRIME
                position += 1
            token = _mix(token)
            rolling = rolling * _ROLL + token - last_tokens[slot] * oldest_factor
            last_tokens[slot] = token
            slot = slot + 1 if slot + 1 < ngram_tokens else 0
            num_tokens += 1
            if num_tokens >= ngram_tokens:
                hashes_N[count] = _mix(rolling)
                count += 1
        firsts[row + 1] = count
    return count


def fold_texts(texts: NDArray[np.uint8], starts: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Each text in lower case (ASCII), with every run of blanks as one space and none at its ends.

    Takes and returns what `components.tables.text_buffers` returns. Line ends and tabs that are written as escapes
    are blanks too and other backslashes are left out, so that a text quoted in JSON or in source folds like itself.
    """
    folded = np.empty(int(starts[-1] - starts[0]), dtype=np.uint8)
    folded_starts = np.zeros(len(starts), dtype=np.int64)
    _fold(_read_only(texts), _read_only(starts), folded, folded_starts)
    return folded[: folded_starts[-1]], folded_starts


@numba.njit(cache=True, nogil=True)
def _fold(texts: Any, starts: Any, folded: Any, folded_starts: Any) -> None:
    count = 0
    for row in range(len(starts) - 1):
        first = count
        position = starts[row]
        end = starts[row + 1]
        after_blank = False
        while position < end:
            byte = texts[position]
            position += 1
            if byte == _BACKSLASH:
                while position < end and texts[position] == _BACKSLASH:
                    position += 1
                if position < end and _IS_BLANK_ESCAPE[texts[position]]:
                    after_blank = True
                    position += 1
            elif _IS_BLANK[byte]:
                after_blank = True
            else:
                if after_blank and count > first:
                    folded[count] = _SPACE
                    count += 1
                after_blank = False
                folded[count] = byte + _TO_LOWER if _UPPER_A <= byte <= _UPPER_Z else byte
                count += 1
        folded_starts[row + 1] = count
