"""What the tagger says of a piece of text: BIO labels over StarPII's entities, and spans made from them and back.

Seven entities, each with a label for its first piece (B) and for those that follow (I), and O for all else: 15 labels
(BigCode `pii/ner/pii_train_ner`). EMAIL_EXAMPLE is learned so that it is told apart from EMAIL, and is nobody's secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Entity = Literal["NAME", "EMAIL", "EMAIL_EXAMPLE", "USERNAME", "KEY", "IP_ADDRESS", "PASSWORD"]

ENTITIES: tuple[Entity, ...] = ("NAME", "EMAIL", "EMAIL_EXAMPLE", "USERNAME", "KEY", "IP_ADDRESS", "PASSWORD")
PERSONAL: tuple[Entity, ...] = ("NAME", "EMAIL", "USERNAME", "KEY", "IP_ADDRESS", "PASSWORD")
"""The six that are found, scored and redacted (StarPII's model card)."""

OUTSIDE = 0
NUM_LABELS = 1 + 2 * len(ENTITIES)
LABEL_NAMES: tuple[str, ...] = ("O", *(f"{place}-{entity}" for entity in ENTITIES for place in "BI"))
"""In the order of the label ids: O, then B and I of each entity."""


@dataclass(frozen=True, order=True)
class LabelledSpan:
    """Bytes [start_byte, end_byte) of a text that are `entity`."""

    start_byte: int
    end_byte: int
    entity: Entity


def labels_of(starts: NDArray[np.int64], ends: NDArray[np.int64], spans: Sequence[LabelledSpan]) -> NDArray[np.int64]:
    """The label of each piece [start, end), for pieces in order and spans that do not overlap.

    A piece belongs to the span that it shares a byte with.
    """
    labels = np.full(starts.size, OUTSIDE, np.int64)
    for span in spans:
        first = int(np.searchsorted(ends, span.start_byte, side="right"))
        after = int(np.searchsorted(starts, span.end_byte, side="left"))
        labels[first:after] = _inside(span.entity)
        labels[first : min(first + 1, after)] = _inside(span.entity) - 1
    return labels


def spans_of(starts: NDArray[np.int64], ends: NDArray[np.int64], labels: NDArray[np.int64]) -> list[LabelledSpan]:
    """The spans that labels say, in order; from the first byte of the first piece to the last of the last.

    An I without its entity before it begins a span, as if it were a B.
    """
    kinds = (labels + 1) // 2
    before = np.concatenate([[OUTSIDE], kinds[:-1]])
    begins = (kinds != OUTSIDE) & ((labels % 2 == 1) | (kinds != before))
    continues = np.concatenate([(kinds != OUTSIDE) & ~begins, [False]])[1:]
    firsts, lasts = np.flatnonzero(begins), np.flatnonzero((kinds != OUTSIDE) & ~continues)
    return [
        LabelledSpan(int(starts[first]), int(ends[last]), ENTITIES[int(kinds[first]) - 1])
        for first, last in zip(firsts, lasts, strict=True)
    ]


def _inside(entity: Entity) -> int:
    return 2 + 2 * ENTITIES.index(entity)
