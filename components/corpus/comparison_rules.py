"""Which files are compared with which, and how: one rule per kind and, where the parameters say so, extension."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from components.corpus.config import DeduplicateConfig

_compute: Any = pyarrow.compute


@dataclass(frozen=True)
class ComparisonRule:
    """How files are compared with others of the same rule; with those of another only equality of content counts."""

    kind: str
    ngram_tokens: int
    jaccard_threshold: float
    num_bands: int
    rows_per_band: int

    @property
    def salt(self) -> int:
        """A number of 64 bits that no other rule has."""
        return salt_of(repr(self))


def salt_of(name: str) -> int:
    """64 bits that depend on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def rule_of(config: DeduplicateConfig, kind: str, extension: str) -> ComparisonRule | None:
    """The rule of files of a kind and extension; None if only equality counts for the kind."""
    if kind not in config.kinds:
        return None
    chosen: dict[str, Any] = {name: getattr(config, name) for name in _CHANGEABLE}
    override = config.overrides.get(extension)
    if override is not None:
        chosen |= override.model_dump(exclude_none=True)
    return ComparisonRule(kind=kind, **chosen)


_CHANGEABLE = ("ngram_tokens", "jaccard_threshold", "num_bands", "rows_per_band")


def rows_by_rule(
    config: DeduplicateConfig, batch: pa.RecordBatch
) -> Iterator[tuple[ComparisonRule, NDArray[np.int64]]]:
    """The rows of a batch with `kind` and `extension` that each rule holds for; rows without a rule are left out."""
    pairs = _compute.binary_join_element_wise(batch.column("kind"), batch.column("extension"), "\0").dictionary_encode()
    rules = [rule_of(config, *pair.split("\0", 1)) for pair in pairs.dictionary.to_pylist()]
    numbers = {rule: number for number, rule in enumerate(dict.fromkeys(rules))}
    number_of_row = np.array([numbers[rule] for rule in rules], np.int64)[pairs.indices.to_numpy(zero_copy_only=False)]
    for rule, number in numbers.items():
        if rule is not None:
            yield rule, np.flatnonzero(number_of_row == number)


def max_bands(config: DeduplicateConfig) -> int:
    """The number of bands of the rule that has the most."""
    return max(config.num_bands, *(override.num_bands or 0 for override in config.overrides.values()), 0)
