"""A shuffle without a list: position i of a keyed permutation in constant time and memory.

A Feistel network permutes the integers below a power of four whatever its round function does; positions that
fall outside the size are sent on until they fall inside (cycle walking), less than four times on average.
"""

from hashlib import blake2b

_ROUNDS = 4
"""Enough for a permutation that looks random (Luby and Rackoff, 1988)."""


def permuted(position: int, size: int, key: bytes) -> int:
    """Where `position` of 0..size-1 goes: a bijection for each `key` of at most 64 bytes. IndexError outside."""
    if not 0 <= position < size:
        raise IndexError(f"position {position} is outside 0 to {size - 1}")
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    position = _feistel(position, half_bits, key)
    while position >= size:
        position = _feistel(position, half_bits, key)
    return position


def _feistel(value: int, half_bits: int, key: bytes) -> int:
    mask = (1 << half_bits) - 1
    left, right = value >> half_bits, value & mask
    for number in range(_ROUNDS):
        left, right = right, left ^ (_mixed(right, number, key) & mask)
    return left << half_bits | right


def _mixed(half: int, number: int, key: bytes) -> int:
    said = number.to_bytes(1, "little") + half.to_bytes(8, "little")
    return int.from_bytes(blake2b(said, digest_size=8, key=key).digest(), "little")
