"""python -m benchmarks [NAME ...]: the measured comparisons, each against peers in the same run.

CPU-seconds of one thread, medians over repetitions that alternate with the peers'; the ratios are what counts, the
absolute figures belong to the machine. The last results stand in benchmarks/README.md.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

MODULES = (
    "deduplication",
    "dedup_quality",
    "quality_filters",
    "redaction",
    "decontamination",
    "encode_text",
    "whole_pipeline",
    "network",
    "decoding",
)
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS")


def main(names: Sequence[str]) -> None:
    """Run the comparisons called so, or all, and print each one's rows as soon as they are there."""
    unknown = sorted(set(names) - set(MODULES))
    if unknown:
        sys.exit(f"error: there is no benchmark {unknown[0]!r}; there are {', '.join(MODULES)}")
    # Before any library starts its threads: one thread each, ours and the peers'.
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, "1"), TOKENIZERS_PARALLELISM="false")
    print("| what | ours | peer | ratio | against |\n|---|---|---|---|---|", flush=True)
    for name in names or MODULES:
        for row in import_module(f"benchmarks.{name}").compare():
            print(f"| {' | '.join(row.cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
