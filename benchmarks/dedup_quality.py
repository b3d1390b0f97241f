"""What deduplication finds and what it takes away, against the exact Jaccard similarity of all pairs of real files.

The truth is computed apart from the step: tokens by a regular expression, n-grams as Python's tuples, and every pair of
files compared whose sizes allow the threshold. The step runs as it stands in params.yaml.

    recall          pairs of near-duplicates of which at least one goes
    sharing a band  pairs that their signatures propose; beside it what bands and rows promise on average for pairs of
                    just these similarities, which one draw of permutations misses by a few hundredths either way
    over-deletion   files that go although no file that stays is similar enough

Beside the step stands what BigCode's code and datatrove do with the very same signatures: all files go but one of what
hangs together through pairs that share a band.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from benchmarks.comparison import Finding
from benchmarks.deduplication import CONFIG, TOKEN
from benchmarks.source_files import SourceFile, source_files, write_table
from components.corpus.deduplicate import Findings, find_duplicates
from components.corpus.signed_shards import sign_shard

SAMPLE_BYTES = 100_000_000
THRESHOLD, SURE = 0.7, 0.8
"""StarCoder's threshold, and the similarity from which on a pair should hardly ever be missed."""
EXACT = "exact Jaccard of all pairs"
COMPONENTS = "connected components of bands"


@dataclass(frozen=True)
class Truth:
    """All pairs of files whose Jaccard similarity is at least THRESHOLD."""

    pairs: NDArray[np.int64]
    """[pairs, 2], the lower number first."""
    similarity: NDArray[np.float64]

    def ranges(self) -> list[tuple[str, "Truth"]]:
        """The sure pairs and the others."""
        is_sure = self.similarity >= SURE
        parts = ((f"J >= {SURE}", is_sure), (f"{THRESHOLD} <= J < {SURE}", ~is_sure))
        return [(told, Truth(self.pairs[chosen], self.similarity[chosen])) for told, chosen in parts]


def compare() -> list[Finding]:
    """Recall and proposed pairs in two ranges of similarity, and over-deletion."""
    files = source_files(SAMPLE_BYTES)
    truth = exact_pairs(files)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        table = write_table(files, place / "table")
        found = find_duplicates(CONFIG, table, place / "ours")
        bands = band_keys(found, place / "ours")
        ours = stays_by(found, len(files))
        peer = stays_by_components(bands)
    rows = [
        Finding(f"recall, {told}", resolved(pairs, ours), resolved(pairs, peer), f"{COMPONENTS}; {EXACT}")
        for told, pairs in truth.ranges()
    ]
    rows += [
        Finding(f"sharing a band, {told}", _share(_meeting(pairs, bands)), _promised(pairs), f"the S-curve; {EXACT}")
        for told, pairs in truth.ranges()
    ]
    return [
        *rows,
        Finding("over-deletion", over_deleted(truth, ours), over_deleted(truth, peer), f"{COMPONENTS}; {EXACT}"),
    ]


def exact_pairs(files: Sequence[SourceFile]) -> Truth:
    """The truth; a file of fewer tokens than an n-gram has is like no other."""
    sets = [_ngrams(file.content.decode()) for file in files]
    order = np.argsort([len(each) for each in sets], kind="stable")
    starts = np.cumsum([0, *(len(sets[number]) for number in order)])
    found = _similar_pairs(np.concatenate([sets[number] for number in order]), starts, THRESHOLD)
    pairs, similarity = np.array([pair[:2] for pair in found], np.int64), np.array([pair[2] for pair in found])
    return Truth(np.sort(order[pairs.reshape(-1, 2)], axis=1), similarity)


def _ngrams(text: str) -> NDArray[np.int64]:
    """Python's 64-bit hashes of the different n-grams of tokens, in ascending order."""
    tokens = TOKEN.findall(text)
    ngrams = zip(*(tokens[first:] for first in range(CONFIG.ngram_tokens)), strict=False)
    return np.array(sorted(set(map(hash, ngrams))), np.int64)


@numba.njit(cache=True)
def _similar_pairs(members: Any, starts: Any, threshold: float) -> Any:
    """Pairs of sets, which come in ascending order of size; a pair is left as soon as it cannot reach the threshold."""
    found = [(0, 0, 0.0) for _ in range(0)]
    for left in range(len(starts) - 1):
        size = starts[left + 1] - starts[left]
        for right in range(left + 1, len(starts) - 1):
            other = starts[right + 1] - starts[right]
            if size == 0 or size < threshold * other:
                break
            a, b = starts[left], starts[right]
            shared = 0
            needed = threshold / (1 + threshold) * (size + other) - 1e-6
            while a < starts[left + 1] and b < starts[right + 1] and shared + starts[left + 1] - a >= needed:
                if members[a] == members[b]:
                    shared += 1
                    a += 1
                    b += 1
                elif members[a] < members[b]:
                    a += 1
                else:
                    b += 1
            jaccard = shared / (size + other - shared)
            if jaccard >= threshold:
                found.append((left, right, jaccard))
    return found


def band_keys(found: Findings, work_dir: Path) -> NDArray[np.uint64]:
    """The keys [files, bands] by which the step lets files meet."""
    total_rows = sum(shard.num_rows for shard in found.shards)
    signed = [sign_shard(shard, config=CONFIG, work_dir=work_dir, total_rows=total_rows) for shard in found.shards]
    return np.concatenate([each.band_keys_of(np.arange(each.shard.num_rows)) for each in signed])


def stays_by(found: Findings, num_files: int) -> NDArray[np.bool_]:
    """Which files the step keeps."""
    stays = np.ones(num_files, np.bool_)
    for segment in found.verdicts:
        stays[segment.of_rows(range(num_files)).column("row").to_numpy()] = False
    return stays


def stays_by_components(bands: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which files are the first of their component, where files that share a band are neighbours."""
    files, columns = np.nonzero(bands)  # 0 is the key of a file without n-grams
    _, keys = np.unique(bands[files, columns], return_inverse=True)
    num_files = len(bands)
    links = csr_array((np.ones(len(files)), (files, num_files + keys)), shape=(num_files + len(keys),) * 2)
    _, labels = connected_components(links, directed=False)
    stays = np.zeros(num_files, np.bool_)
    stays[np.unique(labels[:num_files], return_index=True)[1]] = True
    return stays


def resolved(truth: Truth, stays: NDArray[np.bool_]) -> str:
    """Pairs of which not both files stay."""
    return _share(~stays[truth.pairs].all(axis=1))


def over_deleted(truth: Truth, stays: NDArray[np.bool_]) -> str:
    """Files that go without a similar one that stays."""
    has_standing = np.zeros(len(stays), np.bool_)
    for one, other in ((0, 1), (1, 0)):
        has_standing[truth.pairs[stays[truth.pairs[:, other]], one]] = True
    return _share(~has_standing[~stays])


def _meeting(truth: Truth, bands: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return (bands[truth.pairs[:, 0]] == bands[truth.pairs[:, 1]]).any(axis=1)


def _promised(truth: Truth) -> str:
    """How many pairs of these similarities share a band on average (Leskovec et al., section 3.4.2)."""
    promised = 1 - (1 - truth.similarity**CONFIG.rows_per_band) ** CONFIG.num_bands
    return f"{promised.mean():.4f}" if len(promised) else ""


def _share(chosen: NDArray[np.bool_]) -> str:
    return f"{chosen.mean() if len(chosen) else 0:.4f} ({chosen.sum():,} of {len(chosen):,})"
