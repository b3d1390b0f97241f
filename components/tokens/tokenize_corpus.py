"""Turn every file into a document of token ids, split by split.

As in StarCoder's data a document may begin with where it comes from, `<reponame>` and `<filename>`, each drawn
by itself (bigcode-dataset, `preprocessing/add_content_with_meta.py`); the draw depends on seed and file alone.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from components.errors import EmptyArtifactError
from components.section import Summary
from components.tables import count_rows, read_files
from components.tokens.config import TokenizeCorpusConfig
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer
from model.reporting import track
from model.special_tokens import FILENAME, REPONAME
from model.token_shards import ShardWriter

_COLUMNS = ["file_id", "content", "size_bytes", "repository", "path", "split"]
_FILES_AT_ONCE = 64
"""An encoding takes some thirty times the memory of its text."""


class SplitSummary(Summary):
    """One split."""

    documents: int
    tokens: int
    """With the tokens of the prefixes and the end-of-text of each document."""
    bytes: int
    """UTF-8 bytes of the files' content."""


class TokenizeCorpusSummary(Summary):
    """How much text became how many tokens."""

    splits: dict[str, SplitSummary]
    vocab_size: int
    bytes_per_token: float
    """Of the content of all splits, without prefixes and end-of-text."""


def run(config: TokenizeCorpusConfig, *, corpus_splits: Path, tokenizer: Path, out: Path) -> TokenizeCorpusSummary:
    """Write the token shards of all splits, documents in the corpus's order; EmptyArtifactError without any."""
    text_tokenizer = load_text_tokenizer(tokenizer)
    vocab_size = text_tokenizer.get_vocab_size()
    writer = ShardWriter(out, config.shard_tokens, vocab_size)
    content_bytes, content_tokens = 0, 0
    documents = _encoded_files(corpus_splits, text_tokenizer)
    for row, ids in track(documents, count_rows(corpus_splits), "files"):
        prefix = metadata_prefix(text_tokenizer, row, config.metadata_probability, config.seed)
        writer.add(row["split"], prefix + ids, row["size_bytes"])
        content_bytes += row["size_bytes"]
        content_tokens += len(ids)
    manifest = writer.close()
    if content_tokens == 0:
        raise EmptyArtifactError("the corpus holds no text to tokenize; add sources or loosen filter_quality")
    return TokenizeCorpusSummary(
        splits={
            name: SplitSummary(documents=split["documents"], tokens=split["tokens"], bytes=split["bytes"])
            for name, split in sorted(manifest["splits"].items())
        },
        vocab_size=vocab_size,
        bytes_per_token=content_bytes / content_tokens,
    )


def metadata_prefix(tokenizer: Tokenizer, row: dict[str, Any], probability: float, seed: int) -> list[int]:
    """Ids of `<reponame>`repository`<filename>`path and a newline; each part with `probability`, else nothing.

    A pure function of seed and file: the first two words of one hash are the two draws.
    """
    digest = hashlib.sha256(f"{seed}:{row['file_id']}".encode()).digest()
    draws = (int.from_bytes(digest[:8]) / 2**64, int.from_bytes(digest[8:16]) / 2**64)
    ids: list[int] = []
    for draw, token_id, column in zip(draws, (REPONAME, FILENAME), ("repository", "path"), strict=True):
        if draw < probability:
            ids += [token_id, *encode_text(tokenizer, row[column])]
    return [*ids, *encode_text(tokenizer, "\n")] if ids else []


def _encoded_files(corpus_splits: Path, tokenizer: Tokenizer) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Each row with the ids of its content; the library encodes a few documents at once, on all processors."""
    for group in read_files(corpus_splits, _COLUMNS):
        for start in range(0, group.num_rows, _FILES_AT_ONCE):
            rows = group.slice(start, _FILES_AT_ONCE).to_pylist()
            encodings = tokenizer.encode_batch_fast([row["content"] for row in rows], add_special_tokens=False)
            for row, encoding in zip(rows, encodings, strict=True):
                yield row, encoding.ids
