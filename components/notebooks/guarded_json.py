"""Reading JSON that may be written to harm its reader: measured first, then parsed, and only what is wanted kept.

Python's parser calls itself once per level, so a text of 10,000 brackets ends in an error that depends on who called.
And a bracket of two bytes becomes a list of eighty. One pass over the bytes, which takes no memory, finds both before
anything is made of them.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from components.sources.source_files import Refusal

_QUOTE, _BACKSLASH, _COMMA = 0x22, 0x5C, 0x2C
_OPEN_LIST, _CLOSE_LIST, _OPEN_OBJECT, _CLOSE_OBJECT = 0x5B, 0x5D, 0x7B, 0x7D


@dataclass(frozen=True)
class JsonLimits:
    """What is parsed at all."""

    depth: int
    """Lists and objects inside one another. Python's own limit is near 1000, less the depth of the caller."""
    values: int
    """Elements of lists and members of objects in all; each may take some 80 bytes of memory."""


def parse_json(data: bytes, limits: JsonLimits, wanted: Collection[str]) -> Any | Refusal:
    """The value of a JSON text, its objects reduced to the `wanted` members, or why there is none.

    An object's other members are let go as soon as it is read, so that what they hold is not all in memory at once.
    Of members with one name the last counts. Strings may hold lone surrogates, which JSON's escapes can spell.
    """
    deepest, values = _compiled_measure()(np.frombuffer(data, np.uint8))
    if deepest > limits.depth:
        return Refusal("json_depth", str(deepest), str(limits.depth))
    if values > limits.values:
        return Refusal("json_values", str(values), str(limits.values))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Refusal("not_utf8", f"byte {data[error.start]:#04x} at {error.start}", "UTF-8")
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: {name: part for name, part in pairs if name in wanted})
    except json.JSONDecodeError as error:
        return Refusal("not_json", f"{error.msg.removesuffix(' at')} at character {error.pos}", "JSON")
    except ValueError:  # what Python says of an integer that it takes too long to read
        return Refusal("not_json", "a number of more than 4300 digits", "JSON")


@cache
def _compiled_measure() -> Any:
    """`_measure` as machine code. Compiled when first called, so that importing a step stays cheap."""
    return njit(nogil=True)(_measure)


def _measure(data: NDArray[np.uint8]) -> tuple[int, int]:
    """The deepest nesting and the number of values of a text, whether or not it is JSON."""
    depth = deepest = values = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == _BACKSLASH:
                escaped = True
            elif byte == _QUOTE:
                in_string = False
        elif byte == _QUOTE:
            in_string = True
        elif byte in (_OPEN_LIST, _OPEN_OBJECT):
            depth += 1
            values += 1
            deepest = max(deepest, depth)
        elif byte in (_CLOSE_LIST, _CLOSE_OBJECT):
            depth -= 1
        elif byte == _COMMA:
            values += 1
    return deepest, values
