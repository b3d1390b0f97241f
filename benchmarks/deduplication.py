"""Near-deduplication from Parquet, against datatrove, rensa's R-MinHash and Daft's minhash.

The same files, 5-grams of tokens, 25 bands of 10 permutations. What each side does:

    ours        reads, signs, joins the bands, verifies every pair by exact Jaccard, selects stars; survives a kill
    datatrove   reads, signs, joins the bands, connected components, reads again and drops; verifies nothing
    rensa       reads, signs, joins the bands; verifies and selects nothing
    Daft        reads, signs; nothing else

None writes the files that stay; the step's own writing is part of `whole_pipeline`. The peers are in their fast mode:
datatrove cuts tokens by space, without spaCy, leaves out what it can of its normalization and hashes with xxHash; rensa
makes one matrix of all signatures; Daft runs natively, one expression from the file to the signatures, with xxHash.
Tokens are runs of ASCII letters, digits and underscores; datatrove has a list of punctuation instead, close to that.
"""

import re
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import cache
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.comparison import Comparison, Work, against_peers, peer_module
from benchmarks.source_files import at_most, megabytes, source_files, write_table
from components.config import load_config
from components.corpus import deduplicate

ROOT = Path(__file__).parents[1]
SAMPLE_BYTES = 100_000_000
RENSA_BYTES, DATATROVE_BYTES = 20_000_000, 5_000_000
REPETITIONS = 3
CONFIG = load_config(ROOT / "params.yaml").deduplicate
BANDS, ROWS = CONFIG.num_bands, CONFIG.rows_per_band
TOKEN = re.compile(r"[A-Za-z0-9_]+")


def compare() -> list[Comparison]:
    """A row for each peer."""
    files = source_files(SAMPLE_BYTES)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)

        def work(who: str, make: Callable[[Path, Path], Callable[[], object]], max_bytes: int) -> Work:
            chosen = at_most(max_bytes, files)
            return Work(who, megabytes(chosen), make(write_table(chosen, place / who.partition(" ")[0]), place))

        ours = work("ours", our_work, SAMPLE_BYTES)
        peers = [
            work("datatrove, four stages", datatrove_work, DATATROVE_BYTES),
            work("rensa R-MinHash and bands", rensa_work, RENSA_BYTES),
            work("Daft minhash, signatures only", daft_work, SAMPLE_BYTES),
        ]
        return against_peers(f"near-duplicates among {len(files):,} files", "MB/s", ours, peers, REPETITIONS)


def our_work(table: Path, place: Path) -> Callable[[], deduplicate.Findings]:
    """The step as it stands in params.yaml but for the writing; each call works in a new folder of `place`."""
    runs = count()
    return lambda: deduplicate.find_duplicates(CONFIG, table, place / f"ours-{next(runs)}")


def rensa_work(table: Path, place: Path) -> Callable[[], list[bool]]:
    """Which files share a band with another one."""
    del place
    rensa = peer_module("rensa")

    def run() -> list[bool]:
        texts = pq.read_table(table / "files-00000.parquet", columns=["content"]).column("content").to_pylist()
        shingles = (_shingles(TOKEN.findall(text)) for text in texts)
        matrix = rensa.RMinHash.digest_matrix_from_token_sets(shingles, BANDS * ROWS, CONFIG.seed)
        index = rensa.RMinHashLSH(threshold=CONFIG.jaccard_threshold, num_perm=BANDS * ROWS, num_bands=BANDS)
        return index.query_duplicate_flags_matrix_one_shot(matrix)

    return run


def _shingles(tokens: list[str]) -> list[str]:
    return list(map(" ".join, zip(*(tokens[first:] for first in range(CONFIG.ngram_tokens)), strict=False)))


def daft_work(table: Path, place: Path) -> Callable[[], object]:
    """The signatures as an Arrow table."""
    del place
    daft, functions = _daft_of_one_thread(), peer_module("daft.functions")
    content = functions.regexp_replace(daft.col("content"), "[^A-Za-z0-9_]+", " ")
    signature = functions.minhash(
        content, num_hashes=BANDS * ROWS, ngram_size=CONFIG.ngram_tokens, seed=CONFIG.seed, hash_function="xxhash"
    )
    return lambda: daft.read_parquet(f"{table}/files-*.parquet").select(signature.alias("signature")).to_arrow()


@cache
def _daft_of_one_thread() -> Any:
    """Daft sets its runner once in a process."""
    daft = peer_module("daft")
    daft.set_runner_native(num_threads=1)
    return daft


def datatrove_work(table: Path, place: Path) -> Callable[[], list[str]]:
    """Its four stages, called one after the other as its executor does; gives the ids of the files that stay."""
    minhash, readers = peer_module("datatrove.pipeline.dedup.minhash"), peer_module("datatrove.pipeline.readers")
    peer_module("loguru").logger.disable("datatrove")
    kept_as_is = ("lowercase", "norm_numbers", "norm_weekdays", "norm_monthnames", "norm_unicode_diacritics")
    words = peer_module("datatrove.utils.text").TextNormConfig(**dict.fromkeys(kept_as_is, False))
    config = minhash.MinhashConfig(CONFIG.ngram_tokens, BANDS, ROWS, CONFIG.seed, words)
    runs = count()

    def documents() -> Any:
        reader = readers.ParquetReader(
            str(table), glob_pattern="files-*.parquet", text_key="content", id_key="file_id", read_metadata=False
        )
        return reader.run()

    def run() -> list[str]:
        signatures, pairs, removed = (str(place / f"datatrove-{next(runs)}") for _ in range(3))
        minhash.MinhashDedupSignature(signatures, config, language=_spaces()).run(documents())
        for rank in range(BANDS):
            minhash.MinhashDedupBuckets(signatures, pairs, config=config).run(rank=rank, world_size=BANDS)
        with redirect_stderr(StringIO()):  # its progress bar
            minhash.MinhashDedupCluster(pairs, removed, config=config).run()
        return [document.id for document in minhash.MinhashDedupFilter(removed).run(documents())]

    return run


def _spaces() -> Any:
    """A tokenizer of datatrove's kind that cuts by space: the fastest there can be."""

    class Spaces(peer_module("datatrove.utils.word_tokenizers").WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            raise NotImplementedError

        span_tokenize = sent_tokenize

    return Spaces()
