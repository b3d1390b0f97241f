"""python -m benchmarks [NAME ...]: the measured comparisons, each against peers in the same run.

CPU-seconds of one thread, medians over repetitions that alternate with the peers'; the ratios are what counts, the
absolute figures belong to the machine. The last results stand in benchmarks/README.md.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import Comparison, Finding

MODULES = (
    "deduplication",
    "dedup_quality",
    "quality_filters",
    "redaction",
    "decontamination",
    "encode_text",
    "whole_pipeline",
    "network",
)
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS")
WIDTH = 180


def main(names: Sequence[str]) -> None:
    """Run the comparisons called so, or all, and print the table as Markdown."""
    unknown = sorted(set(names) - set(MODULES))
    if unknown:
        sys.exit(f"error: there is no benchmark {unknown[0]!r}; there are {', '.join(MODULES)}")
    # Before any library starts its threads: one thread each, ours and the peers'.
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, "1"), TOKENIZERS_PARALLELISM="false")
    rows: list[Comparison | Finding] = []
    for name in names or MODULES:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        rows += import_module(f"benchmarks.{name}").compare()
    table = Table(box=box.MARKDOWN)
    for heading in ("what", "ours", "peer", "ratio", "against"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.cells)
    Console(width=WIDTH).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
