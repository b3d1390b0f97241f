"""python -m benchmarks [NAME ...]: the measured comparisons, each against a peer in the same run.

CPU-seconds of one thread, medians over repetitions that alternate with the peer's; the ratios are what counts, the
absolute figures belong to the machine. The last results stand in benchmarks/README.md.
"""

import os
import sys
from importlib import import_module

# Before any library starts its threads: one thread each, ours and the peers'.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.comparison import Comparison  # noqa: E402

MODULES = ("quality_filters", "redaction", "deduplication", "decontamination", "encode_text", "network", "decoding")


def main(names: list[str]) -> None:
    """Run the comparisons called so, or all, and print the table."""
    unknown = sorted(set(names) - set(MODULES))
    if unknown:
        sys.exit(f"error: there is no benchmark {unknown[0]!r}; there are {', '.join(MODULES)}")
    rows: list[Comparison] = []
    for name in names or MODULES:
        rows += import_module(f"benchmarks.{name}").compare()
    table = Table(title="CPU-seconds, one thread, median", title_justify="left")
    for heading in ("what", "ours", "peer", "ratio", "against"):
        table.add_column(heading)
    for row in rows:
        ours, peer = row.rates
        told = (f"{ours:,.1f} {row.unit}", f"{peer:,.2f} {row.unit}")
        table.add_row(row.what, *told, f"{ours / peer:.1f}x", row.peer)
    Console(width=150).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
