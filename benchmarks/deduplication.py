"""Near-deduplication from Parquet to the verified selection, against rensa's R-MinHash with a band index in Python.

Ours reads the table, hashes, joins, verifies and writes; the peer is given texts that lie in memory, and neither
verifies nor writes. The same 5-grams of tokens, 256 permutations, 25 bands of 10.
"""

import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.comparison import Comparison, alternate, source_texts
from components.config import load_config
from components.corpus import deduplicate
from components.tables import FilesWriter
from data_contracts.columns import CODE_FILES

ROOT = Path(__file__).parents[1]
SAMPLE_BYTES = 100_000_000
PEER_BYTES = 8_000_000
TOKEN = re.compile(r"[A-Za-z_0-9]+")
PERMUTATIONS, BANDS, ROWS = 256, 25, 10


def compare() -> list[Comparison]:
    """One row."""
    import rensa  # noqa: PLC0415 - a peer, installed for `make bench` alone

    texts = source_texts(SAMPLE_BYTES)
    step = max(1, sum(map(len, texts)) // PEER_BYTES)
    few = [text.decode() for text in texts[::step]]
    with tempfile.TemporaryDirectory() as place:
        table = _table(texts, Path(place) / "table")
        runs = iter(range(1_000_000))

        def ours() -> None:
            out, work = Path(place) / f"out{next(runs)}", Path(place) / f"work{next(runs)}"
            out.mkdir()
            config = load_config(ROOT / "params.yaml").deduplicate
            deduplicate.run(config, redacted_files=table, out=out, work_dir=work)

        seconds = alternate(ours, lambda: _rensa(rensa, few), repetitions=3)
    amounts = sum(map(len, texts)) / 1e6, sum(len(text.encode()) for text in few) / 1e6
    what = "near-deduplication, 256 permutations, Parquet to Parquet, verified"
    return [Comparison(what, "MB/s", amounts[0], "rensa R-MinHash, signatures and bands only", *seconds, amounts[1])]


def _rensa(rensa: Any, texts: list[str]) -> None:
    index = rensa.RMinHashLSH(threshold=0.7, num_perm=BANDS * ROWS, num_bands=BANDS)
    for number, text in enumerate(texts):
        tokens = TOKEN.findall(text)
        minhash = rensa.RMinHash(num_perm=BANDS * ROWS, seed=42)
        minhash.update([" ".join(tokens[first : first + 5]) for first in range(len(tokens) - 4)])
        index.insert(number, minhash)


def _table(texts: list[bytes], place: Path) -> Path:
    place.mkdir()
    base = {"kind": "file", "source": "bench", "repository": "o/p", "extension": ".py", "language": "python"}
    with FilesWriter(place) as writer:
        for number, text in enumerate(texts):
            digest = hashlib.sha256(text).hexdigest()
            row = {"file_id": digest[:32], "content": text.decode(), "content_sha256": digest}
            named = {"path": f"f{number}.py", "size_bytes": len(text)}
            writer.keep(pa.RecordBatch.from_pylist([base | row | named], schema=CODE_FILES))
    return place
