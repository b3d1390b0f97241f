"""Keep one of each group of equal or nearly equal files, and say of every other which kept file stands for it.

Equal: the same content digest. Nearly equal: the exact Jaccard similarity of the sets of token n-grams reaches the
threshold; MinHash bands only propose pairs. A file with fewer tokens than one n-gram has no set, so only an equal file
can replace it (BigCode's first version drops all such files but one). Files of different kinds are never compared.

Kept is the file of more stars, then of more forks (unknown counts as none), then changed later, then nearer to the
root, then first by path, repository and source. Nothing depends on how rows are spread over shards, on the order of
shards, or on who does the work. A table of any size passes in bounded memory:

    sign_shard       per shard      read texts; n-gram counts and the keys of contents and bands, sorted
    join_range       per key range  rows of all shards with equal keys
    link_rows        once           groups of rows that hang together, cut into segments
    describe_linked  per shard      read texts again; merits and sets of n-grams of the linked files
    choose_kept      per segment    verified star selection
    write_shard      per shard      kept and dropped rows

Each piece is a directory in `work_dir` named after what it is made of, and is found there after a kill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from components.corpus.choose_kept import Verdicts, choose_kept
from components.corpus.config import DeduplicateConfig
from components.corpus.key_join import join_range, key_ranges
from components.corpus.linked_files import LinkedFiles, describe_linked
from components.corpus.linked_rows import link_rows
from components.corpus.signed_shards import Shard, sign_shard
from components.corpus.write_unique import gather, write_shard
from components.pieces import name_of
from components.runner import current_runner
from components.section import Summary
from components.shard_map import sum_of
from components.tables import FilesCounts, shard_rows, shards_of
from data_contracts.columns import CODE_FILES

Item = TypeVar("Item")
Result = TypeVar("Result")


class DeduplicateSummary(Summary):
    """What was compared and what was dropped."""

    files: FilesCounts
    distinct_contents: int
    """Contents left after exact deduplication."""
    short_contents: int
    """Distinct contents with fewer tokens than one n-gram; they are never near-duplicates."""
    compared_pairs: int
    """Pairs of distinct contents whose exact Jaccard similarity was computed."""


@dataclass(frozen=True)
class Findings:
    """What is to become of each row, shard by shard and segment by segment."""

    shards: list[Shard]
    described: list[LinkedFiles]
    verdicts: list[Verdicts]
    place: Path
    """Where in the working directory the pieces of this very table lie."""
    distinct_contents: int
    short_contents: int


def run(config: DeduplicateConfig, *, redacted_files: Path, out: Path, work_dir: Path) -> DeduplicateSummary:
    """Write unique_files, one shard per input shard; dropped rows name the kept file (exact_ and near_duplicate)."""
    found = find_duplicates(config, redacted_files, work_dir)
    write = partial(write_shard, verdicts=found.verdicts, place=found.place)
    written = _in_order(write, list(zip(found.shards, found.described, strict=True)), found.shards)
    gather(written, out)
    return DeduplicateSummary(
        files=sum_of(shard.counts for shard in written),
        distinct_contents=found.distinct_contents,
        short_contents=found.short_contents,
        compared_pairs=sum(segment.compared_pairs for segment in found.verdicts),
    )


def find_duplicates(config: DeduplicateConfig, files: Path, work_dir: Path) -> Findings:
    """Everything but the writing: which rows of a table of files are to go, and why."""
    shards = _shards(files)
    num_rows = sum(shard.num_rows for shard in shards)
    sign = partial(sign_shard, config=config, work_dir=work_dir, total_rows=num_rows)
    signed = _in_order(sign, shards, shards)
    place = work_dir / f"joined-{name_of(config.model_dump_json(), *(shard.piece.name for shard in signed))}"
    links = _in_order(partial(join_range, shards=signed, place=place), key_ranges(num_rows), shards)
    linked = link_rows(links, signed, place)
    described = _in_order(partial(describe_linked, config=config, linked=linked, place=place), signed, shards)
    verdicts = _in_order(partial(choose_kept, described=described, place=place), linked.segments(), shards)
    distinct_contents = num_rows - sum(of_range.num_repeated for of_range in links)
    return Findings(shards, described, verdicts, place, distinct_contents, linked.num_short)


def _in_order(function: Callable[[Item], Result], items: Sequence[Item], shards: Sequence[Shard]) -> list[Result]:
    """The results of the items in their order; how much there is in the shards decides whether workers pay."""
    size_bytes = sum(shard.path.stat().st_size for shard in shards)
    results = dict(current_runner().run(function, items, size_bytes=size_bytes))
    return [results[index] for index in range(len(items))]


def _shards(files: Path) -> list[Shard]:
    shards: list[Shard] = []
    first_row = 0
    for path in shards_of(files):
        shards.append(Shard(path, first_row, shard_rows(path, CODE_FILES)))
        first_row += shards[-1].num_rows
    return shards
