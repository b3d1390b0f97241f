"""Byte-level BPE as one pass over bytes: the ids of the library `tokenizers`, without its strings.

A text is cut into pieces by GPT-2's pattern with single digits, and each piece is merged as the library does it: the
pair of the lowest rank first, the leftmost of equals. A piece of up to 31 bytes is merged once and then found again
in a table; what falls out of it is merged again, so the table changes the speed and never an id. No text is slow: a
piece of n bytes costs n log n, not n squared, and some 30 bytes of memory per byte of the longest piece.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.kernels import inlined_kernel, kernel

DIGIT, SPACE, LETTER, NUMERAL, OTHER = range(5)
"""Classes of characters: a digit is a piece by itself; of the others, runs of one class are."""

NUM_CODES = 2**21
"""As far as four bytes can go, so that no byte, even if it is no UTF-8, points outside the table of classes."""
MAX_TOKENS = 2**16

_BLANK, _APOSTROPHE = 0x20, 0x27
_KEY_BYTES = 31
_KEPT_IDS = 15
_SLOT_WORDS = 8
"""A slot is one cache line: 31 bytes and their number in four words, up to 15 ids and their number in four more."""
_SLOT_BITS = 17
_SHIFT = np.uint64(64 - _SLOT_BITS)
_ONE, _HALF = np.uint64(1), np.uint64(32)
_LOW = np.uint64(0xFFFF)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_PLACE = np.int64(0xFFFFFFFF)
_RANK_BITS = 20
_NONE = -1


class Tables(NamedTuple):
    """A tokenizer as arrays."""

    classes: NDArray[np.uint8]
    """[NUM_CODES]: the class of each code point."""
    byte_ids: NDArray[np.uint16]
    """[256]: the id of each byte alone."""
    pairs: NDArray[np.int64]
    """Open addressing, a power of two: left id, right id and rank of a merge in one number; -1 where empty."""
    merged_ids: NDArray[np.uint16]
    """[merges]: what the merge of each rank makes."""


def pair_table(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The table of merges from their left and right ids, [merges, 2] in the order of ranks; at most half full."""
    table = np.full(1 << int(2 * len(pairs) + 1).bit_length(), _NONE, np.int64)
    _fill_pairs(pairs, table)
    return table


def empty_memory() -> NDArray[np.uint64]:
    """Eight MiB in which `encode_bytes` finds pieces again; of one tokenizer and one thread."""
    return np.zeros((1 << _SLOT_BITS, _SLOT_WORDS), np.uint64)


def encode_bytes(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], tables: Tables, memory: NDArray[np.uint64]
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """The ids of the texts that lie in `data` between `offsets` ([texts + 1]), and the offsets of their ids."""
    ids = np.empty(int(offsets[-1] - offsets[0]), np.uint16)
    id_offsets = np.zeros(len(offsets), np.int64)
    _encode(data, offsets, tables, memory, ids, id_offsets)
    return ids[: id_offsets[-1]], id_offsets


@kernel
def _pair_slot(left: Any, right: Any, table: Any) -> Any:
    key = np.int64(left) << 16 | np.int64(right)
    return ((key * 0x9E3779B1) >> 13) & (len(table) - 1)


@kernel
def _fill_pairs(pairs: Any, table: Any) -> None:
    for rank in range(len(pairs)):
        left, right = pairs[rank]
        slot = _pair_slot(left, right, table)
        while table[slot] >= 0:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = (left << 16 | right) << _RANK_BITS | rank


@kernel
def _rank(left: Any, right: Any, table: Any) -> Any:
    """The rank of the merge of two ids, or -1."""
    key = np.int64(left) << 16 | np.int64(right)
    slot = _pair_slot(left, right, table)
    while table[slot] >= 0:
        if table[slot] >> _RANK_BITS == key:
            return table[slot] & ((1 << _RANK_BITS) - 1)
        slot = (slot + 1) & (len(table) - 1)
    return np.int64(_NONE)


@inlined_kernel
def _class_at(data: Any, place: Any, end: Any, classes: Any) -> Any:
    """The class of the character at `place`, and how many bytes it takes."""
    code = np.int64(data[place])
    if code < 0x80:
        return classes[code], np.int64(1)
    if code < 0xC0:
        return np.uint8(OTHER), np.int64(1)
    if code < 0xE0:
        code, width = code & 0x1F, 2
    elif code < 0xF0:
        code, width = code & 0x0F, 3
    else:
        code, width = code & 0x07, 4
    stop = min(place + width, end)
    for following in range(place + 1, stop):
        code = code << 6 | np.int64(data[following] & 0x3F)
    return classes[code], stop - place


@inlined_kernel
def _run_end(data: Any, place: Any, end: Any, classes: Any, kind: Any) -> Any:
    while place < end:
        found, width = _class_at(data, place, end, classes)
        if found != kind:
            return place
        place += width
    return end


@inlined_kernel
def _spaces_end(data: Any, start: Any, end: Any, classes: Any) -> Any:
    """A run of space leaves its last character to what follows, unless it is alone, or a digit or nothing follows."""
    last = place = start
    while place < end:
        kind, width = _class_at(data, place, end, classes)
        if kind != SPACE:
            return place if kind == DIGIT or last == start else last
        last = place
        place += width
    return end


@inlined_kernel
def _contraction_end(data: Any, place: Any, end: Any) -> Any:
    """Where one of 's 't 'm 'd 're 've 'll ends whose apostrophe stands before `place`, or -1."""
    if place >= end:
        return np.int64(_NONE)
    first = data[place]
    if first in (0x73, 0x74, 0x6D, 0x64):
        return place + 1
    second = data[place + 1] if place + 1 < end else np.uint8(0)
    if (first in (0x72, 0x76) and second == 0x65) or (first == 0x6C and second == 0x6C):
        return place + 2
    return np.int64(_NONE)


@inlined_kernel
def _piece_end(data: Any, start: Any, end: Any, classes: Any) -> Any:
    """Where the piece that begins at `start` ends."""
    kind, width = _class_at(data, start, end, classes)
    place = start + width
    if kind == DIGIT:
        return place
    if kind == SPACE:
        if data[start] == _BLANK and place < end:
            following, width = _class_at(data, place, end, classes)
            if following not in (SPACE, DIGIT):
                return _run_end(data, place + width, end, classes, following)
        return _spaces_end(data, start, end, classes)
    if data[start] == _APOSTROPHE:
        contracted = _contraction_end(data, place, end)
        if contracted >= 0:
            return contracted
    return _run_end(data, place, end, classes, kind)


@kernel
def _sink(heap: Any, size: Any, place: Any) -> None:
    item = heap[place]
    child = 2 * place + 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= item:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = item


@kernel
def _offer(heap: Any, size: Any, rank: Any, position: Any) -> Any:
    """Put a possible merge on the heap, if it is one; returns the heap's size."""
    if rank < 0:
        return size
    item, place = rank << 32 | position, size
    while place > 0 and heap[(place - 1) >> 1] > item:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = item
    return size + 1


@kernel
def _merge(data: Any, start: Any, end: Any, tables: Any, links: Any, heap: Any, ids: Any, count: Any) -> Any:
    """Append the ids of one piece to `ids`; returns their new number.

    `links[i]` is the token that begins at byte i (-1: none does any more), where the next begins, and the one before.
    The heap holds rank and place of every merge that was ever possible: at most two for each byte.
    """
    size, length = 0, end - start
    for i in range(length):
        links[i, 0], links[i, 1], links[i, 2] = tables.byte_ids[data[start + i]], i + 1, i - 1
    for i in range(length - 1):
        size = _offer(heap, size, _rank(links[i, 0], links[i + 1, 0], tables.pairs), i)
    while size > 0:
        rank, i = heap[0] >> 32, heap[0] & _PLACE
        size -= 1
        heap[0] = heap[size]
        _sink(heap, size, 0)
        right = np.int64(links[i, 1])
        if links[i, 0] < 0 or right >= length or _rank(links[i, 0], links[right, 0], tables.pairs) != rank:
            continue
        links[i, 0], links[right, 0] = tables.merged_ids[rank], _NONE
        following, before = np.int64(links[right, 1]), np.int64(links[i, 2])
        links[i, 1] = following
        if following < length:
            links[following, 2] = i
            size = _offer(heap, size, _rank(links[i, 0], links[following, 0], tables.pairs), i)
        if before >= 0:
            size = _offer(heap, size, _rank(links[before, 0], links[i, 0], tables.pairs), before)
    i = np.int64(0)
    while i < length:
        ids[count] = links[i, 0]
        count += 1
        i = np.int64(links[i, 1])
    return count


@kernel
def _fill_key(data: Any, start: Any, length: Any, key: Any) -> Any:
    """Write the bytes and their number to the four words of `key`; returns the slot that they are first looked for."""
    key[1] = key[2] = key[0] = 0
    key[3] = np.uint64(length) << np.uint64(56)
    for i in range(length):
        key[i >> 3] |= np.uint64(data[start + i]) << np.uint64(8 * (i & 7))
    mixed = key[0]
    for word in range(1, 4):
        mixed = (mixed ^ (mixed >> _HALF)) * _SPREAD ^ key[word]
    mixed = (mixed ^ (mixed >> _HALF)) * _SPREAD
    return mixed >> _SHIFT


@kernel
def _holds(memory: Any, slot: Any, key: Any) -> Any:
    return (
        memory[slot, 0] == key[0]
        and memory[slot, 3] == key[3]
        and memory[slot, 1] == key[1]
        and memory[slot, 2] == key[2]
    )


@kernel
def _recall(memory: Any, slot: Any, ids: Any, count: Any) -> Any:
    """Append the ids of a slot to `ids`; returns their new number."""
    for i in range(1, np.int64(memory[slot, 4] & _LOW) + 1):
        ids[count] = memory[slot, 4 + (i >> 2)] >> np.uint64(16 * (i & 3)) & _LOW
        count += 1
    return count


@kernel
def _remember(memory: Any, slot: Any, key: Any, ids: Any, before: Any, count: Any) -> None:
    for word in range(4):
        # The newer of two moves over, so that what was found lately stays.
        memory[slot ^ _ONE, word], memory[slot ^ _ONE, 4 + word] = memory[slot, word], memory[slot, 4 + word]
        memory[slot, word], memory[slot, 4 + word] = key[word], 0
    memory[slot, 4] = count - before
    for i in range(1, count - before + 1):
        memory[slot, 4 + (i >> 2)] |= np.uint64(ids[before + i - 1]) << np.uint64(16 * (i & 3))


@kernel
def _encode(data: Any, offsets: Any, tables: Any, memory: Any, ids: Any, id_offsets: Any) -> None:
    capacity, count = np.int64(64), np.int64(0)
    links, heap = np.empty((capacity, 3), np.int32), np.empty(2 * capacity, np.int64)
    key = np.empty(4, np.uint64)
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        while start < end:
            stop = _piece_end(data, start, end, tables.classes)
            length, before = stop - start, count
            if length > capacity:
                capacity = length
                links, heap = np.empty((capacity, 3), np.int32), np.empty(2 * capacity, np.int64)
            if length == 1:
                ids[count] = tables.byte_ids[data[start]]
                count += 1
            elif length > _KEY_BYTES:
                count = _merge(data, start, stop, tables, links, heap, ids, count)
            else:
                slot = _fill_key(data, start, length, key)
                if _holds(memory, slot, key):
                    count = _recall(memory, slot, ids, count)
                elif _holds(memory, slot ^ _ONE, key):
                    count = _recall(memory, slot ^ _ONE, ids, count)
                else:
                    count = _merge(data, start, stop, tables, links, heap, ids, count)
                    if count - before <= _KEPT_IDS:
                        _remember(memory, slot, key, ids, before, count)
            start = stop
        id_offsets[row + 1] = count
