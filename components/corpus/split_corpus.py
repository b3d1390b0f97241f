"""The step that holds files out: each goes to train, validation or test by a hash of its name alone.

A file keeps its split when the corpus grows, when its neighbours change and on every machine. What shares the unit
shares the split: all files of a repository, or all versions of a path.
"""

import hashlib
from collections import Counter
from functools import partial
from pathlib import Path

import pyarrow as pa

from components.corpus.config import SplitCorpusConfig
from components.errors import EmptyArtifactError
from components.section import Summary
from components.shard_map import Mapped, map_shards
from components.tables import FilesCounts, sizes_of

SPLITS = ("train", "validation", "test")


class SplitCorpusSummary(Summary):
    """How the files fell."""

    files: FilesCounts
    split_files: dict[str, int]
    """Files per split, in the order train, validation, test."""
    split_bytes: dict[str, int]
    """UTF-8 bytes per split."""


def run(config: SplitCorpusConfig, *, clean_files: Path, out: Path, work_dir: Path) -> SplitCorpusSummary:
    """Write every file with its column `split` filled, in the input's order.

    Raises EmptyArtifactError if no file falls to train; validation and test may be empty.
    """
    outcome = map_shards(partial(_split, config=config), [clean_files], out, work_dir)
    counts = Counter(outcome.counts)
    if counts["train files"] == 0:
        raise EmptyArtifactError(_nothing_to_train_on(config, outcome.files.kept_files))
    return SplitCorpusSummary(
        files=outcome.files,
        split_files={name: counts[f"{name} files"] for name in SPLITS},
        split_bytes={name: counts[f"{name} bytes"] for name in SPLITS},
    )


def _split(batch: pa.RecordBatch, config: SplitCorpusConfig) -> Mapped:
    split = split_batch(batch, config)
    counts: Counter[str] = Counter()
    for name, size_bytes in zip(split.column("split").to_pylist(), sizes_of(split), strict=True):
        counts[f"{name} files"] += 1
        counts[f"{name} bytes"] += size_bytes
    return Mapped(split, counts=counts)


def split_batch(batch: pa.RecordBatch, config: SplitCorpusConfig) -> pa.RecordBatch:
    """The same rows of CODE_FILES with `split` set."""
    repositories = batch.column("repository").to_pylist()
    if config.unit == "repository":
        units = repositories
    else:
        paths = batch.column("path").to_pylist()
        units = [f"{repository}\0{path}" for repository, path in zip(repositories, paths, strict=True)]
    splits = pa.array([split_of(unit, config) for unit in units], pa.string())
    index = batch.schema.get_field_index("split")
    return batch.set_column(index, batch.schema.field(index), splits)


def split_of(unit: str, config: SplitCorpusConfig) -> str:
    """The split of a repository, or of a repository and a path joined by NUL.

    sha256 of the seed and the unit gives a number in [0, 1): test below `test_fraction`, validation in the
    `validation_fraction` above that, else train.
    """
    digest = hashlib.sha256(f"{config.seed}\0{unit}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < config.test_fraction:
        return "test"
    if place < config.test_fraction + config.validation_fraction:
        return "validation"
    return "train"


def _nothing_to_train_on(config: SplitCorpusConfig, num_files: int) -> str:
    return (
        f"split_corpus puts none of the {num_files} files into train (unit {config.unit}, validation_fraction "
        f"{config.validation_fraction}, test_fraction {config.test_fraction}); split by path, lower the fractions or "
        "take another seed"
    )
