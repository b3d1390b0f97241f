"""Random numbers of a commit, by seed, row and purpose: the same in any order of rows, on any worker."""

import hashlib


def draw(seed: int, file_id: str, purpose: str) -> float:
    """Uniform in [0, 1); draws for different purposes are independent."""
    return _number(seed, file_id, purpose) / 2**53


def draw_below(count: int, seed: int, file_id: str, purpose: str) -> int:
    """Uniform in 0, ..., count - 1."""
    return _number(seed, file_id, purpose) % count


def _number(seed: int, file_id: str, purpose: str) -> int:
    """53 random bits: what a float holds."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{file_id}:{purpose}".encode()).digest()[:8], "big") >> 11
