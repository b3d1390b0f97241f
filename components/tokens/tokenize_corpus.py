"""Turn the corpus into documents of token ids, a stream for each split and source: one file each, or one repository.

An index beside each stream tells where its documents come from. Shards of the corpus are encoded side by side by
whatever runner there is, and put together in their order: the same bytes for any number of workers. What is encoded
waits in the working directory, and is found again after a kill.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from components.errors import EmptyArtifactError, ParamsError
from components.pieces import make_piece
from components.runner import current_runner
from components.section import Summary
from components.tables import FILES, read_files, read_shard, shards_of
from components.tokens.config import TokenizeCorpusConfig
from components.tokens.documents import (
    COLUMNS,
    Document,
    draw,
    has_repositories,
    row_document,
    rows_of_batch,
    stands_alone,
)
from components.tokens.encoded_documents import (
    EncodedDocument,
    encode_documents,
    key_of,
    read_encoded,
    write_encoded,
)
from components.tokens.encoders import CompiledEncoder, LibraryEncoder, Text, TextEncoder, objection_to_compiled
from components.tokens.repository_documents import BUCKET_BYTES, bucket_path, deal_shards, repository_documents
from components.tokens.tokenizer_files import TOKENIZER_FILES, load_text_tokenizer, special_ids
from model.reporting import current_sink, track
from model.text_codec import family_of
from model.token_shards import ShardWriter

_MAX_DEALERS = 64
"""The corpus is dealt in so many parts at most: parts times buckets is a number of files."""
_CHECKED_PARTS = 4
"""The sample that the encoders are compared on comes from at least so many row groups, if there are."""


class SplitSummary(Summary):
    """One split."""

    documents: int
    tokens: int
    """With the tokens of names, paths and marks and the end-of-text of each document."""
    bytes: int
    """UTF-8 bytes of the files' text."""
    tokens_by_source: dict[str, int]
    """What `pretrain.blend` weighs."""


class TokenizeCorpusSummary(Summary):
    """How much text became how many tokens."""

    splits: dict[str, SplitSummary]
    vocab_size: int
    special_tokens: str
    """The tokenizer's family."""
    bytes_per_token: float
    """Of the text of all splits, without names, paths, marks and end-of-text."""
    encoder: Literal["compiled", "tokenizers"]
    """Which encoder ran; the ids do not depend on it."""
    encoder_check_bytes: int
    """Text of the corpus on which both encoders were seen to agree, or one of them not to."""


class _Rows(Enum):
    """Which rows of its files a task makes documents of."""

    ALL = "all"
    ALONE = "alone"
    REPOSITORIES = "repositories"


@dataclass(frozen=True)
class _Task:
    """Files to be encoded to one folder of the working directory."""

    files: tuple[Path, ...]
    rows: _Rows
    work_dir: Path


@dataclass(frozen=True)
class _Plan:
    """What every worker is told."""

    config: TokenizeCorpusConfig
    tokenizer: Path
    tokenizer_key: str
    compiled: bool


def run(
    config: TokenizeCorpusConfig, *, corpus_splits: Path, tokenizer: Path, out: Path, work_dir: Path
) -> TokenizeCorpusSummary:
    """Write the token shards of all splits and sources: in the corpus's order, or repositories in one drawn by seed.

    EmptyArtifactError without any text; ParamsError for a layout or a mark that the tokenizer has no tokens for.
    """
    text_tokenizer = load_text_tokenizer(tokenizer)
    if config.layout == "repositories" and not has_repositories(special_ids(text_tokenizer)):
        raise ParamsError(
            "tokenize_corpus.layout repositories needs <file_sep>, which the tokenizer does not have; set "
            "train_tokenizer.special_tokens to starcoder2, or the layout to files"
        )
    compiled, checked_bytes = _choose_encoder(text_tokenizer, corpus_splits, config)
    plan = _Plan(config, tokenizer, key_of([tokenizer / name for name in TOKENIZER_FILES]), compiled)
    writer = ShardWriter(out, config.shard_tokens, text_tokenizer.get_vocab_size())
    text_bytes = text_tokens = 0
    for document in _encode_corpus(plan, corpus_splits, work_dir):
        writer.add(document.split, document.source, document.ids, document.text_bytes, document.origin)
        text_bytes += document.text_bytes
        text_tokens += document.text_tokens
    manifest = writer.close()
    if text_tokens == 0:
        raise EmptyArtifactError("the corpus holds no text to tokenize; add sources or loosen filter_quality")
    return TokenizeCorpusSummary(
        splits={
            name: SplitSummary(
                documents=split["documents"],
                tokens=split["tokens"],
                bytes=split["bytes"],
                tokens_by_source={source: stream["tokens"] for source, stream in sorted(split["sources"].items())},
            )
            for name, split in sorted(manifest["splits"].items())
        },
        vocab_size=text_tokenizer.get_vocab_size(),
        special_tokens=family_of(text_tokenizer),
        bytes_per_token=text_bytes / text_tokens,
        encoder="compiled" if compiled else "tokenizers",
        encoder_check_bytes=checked_bytes,
    )


def _choose_encoder(tokenizer: Tokenizer, corpus_splits: Path, config: TokenizeCorpusConfig) -> tuple[bool, int]:
    """Whether the compiled encoder may be used, and how much text of the corpus says so; a note if it may not."""
    sample = list(_sample(corpus_splits, config.encoder_check_bytes, config.seed))
    objection = objection_to_compiled(tokenizer, sample)
    if objection is not None:
        current_sink().note(f"ids come from the library tokenizers, which is many times slower: {objection}")
    return objection is None, sum(map(len, sample))


def _sample(corpus_splits: Path, max_bytes: int, seed: int) -> Iterator[Text]:
    """Some contents of at most `max_bytes`: shards, and files of a row group, in the order of their draws."""
    room = max_bytes
    for shard in sorted(shards_of(corpus_splits), key=lambda shard: draw(seed, "sample", shard.name)):
        for batch in read_shard(shard, FILES.schema, COLUMNS):
            taken = 0
            for row in sorted(rows_of_batch(batch), key=lambda row: draw(seed, "sample", row.file_id)):
                if taken + len(row.content) <= min(room, max_bytes // _CHECKED_PARTS):
                    taken += len(row.content)
                    yield row.content
            room -= taken
            if room < max_bytes // _CHECKED_PARTS:
                return


def _encode_corpus(plan: _Plan, corpus_splits: Path, work_dir: Path) -> Iterator[EncodedDocument]:
    """All documents in their order, whoever encodes them."""
    shards = shards_of(corpus_splits)
    if plan.config.layout == "files":
        tasks = [_Task((shard,), _Rows.ALL, work_dir) for shard in shards]
    else:
        tasks = [_Task((shard,), _Rows.ALONE, work_dir) for shard in shards]
        tasks += [_Task(files, _Rows.REPOSITORIES, work_dir) for files in _deal(plan, corpus_splits, work_dir)]
    finished: dict[int, Path] = {}
    following = 0
    size_bytes = sum(file.stat().st_size for task in tasks for file in task.files)
    results = current_runner().run(partial(_encode_task, plan), tasks, size_bytes=size_bytes)
    for index, target in track(results, len(tasks), "shards"):
        finished[index] = target
        while following in finished:
            yield from read_encoded(finished.pop(following))
            following += 1


def _deal(plan: _Plan, corpus_splits: Path, work_dir: Path) -> list[tuple[Path, ...]]:
    """The files of each bucket, after all shards of the corpus have been dealt."""
    num_bytes = sum(_shared_bytes(corpus_splits))
    num_buckets = max(1, -(-num_bytes // BUCKET_BYTES))
    shards = shards_of(corpus_splits)
    parts = [shards[start::_MAX_DEALERS] for start in range(min(_MAX_DEALERS, len(shards)))]
    places = [work_dir / f"dealt-{number:02d}" for number in range(len(parts))]
    function = partial(_deal_part, num_buckets=num_buckets, seed=plan.config.seed)
    tasks = list(zip(parts, places, strict=True))
    for _ in current_runner().run(function, tasks, size_bytes=sum(shard.stat().st_size for shard in shards)):
        pass
    buckets = [[bucket_path(place, bucket) for place in places] for bucket in range(num_buckets)]
    return [files for bucket in buckets if (files := tuple(file for file in bucket if file.exists()))]


def _deal_part(task: tuple[Sequence[Path], Path], num_buckets: int, seed: int) -> int:
    """Deal some shards; runs in a worker, which begins anew where another one died."""
    shards, place = task
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return deal_shards(shards, place, num_buckets, seed)


def _shared_bytes(corpus_splits: Path) -> Iterator[int]:
    """Text of the rows that share documents, batch by batch."""
    for batch in read_files(corpus_splits, ["kind", "size_bytes"]):
        alone = np.array([stands_alone(kind) for kind in batch.column("kind").to_pylist()], np.bool_)
        yield int(batch.column("size_bytes").to_numpy()[~alone].sum())


def _encode_task(plan: _Plan, task: _Task) -> Path:
    """Encode some files, or find them encoded; runs in a worker."""
    settings = plan.config.model_dump_json(exclude={"shard_tokens", "encoder_check_bytes"})
    target = task.work_dir / f"encoded-{key_of(task.files, plan.tokenizer_key, task.rows.value, settings)}"
    return make_piece(target, partial(_write_task, plan, task))


def _write_task(plan: _Plan, task: _Task, piece: Path) -> None:
    encoder, ids = _open_encoder(plan.tokenizer, plan.tokenizer_key, plan.compiled)
    documents = (
        document
        for documents in _documents(task, plan.config, ids)
        for document in encode_documents(documents, encoder)
    )
    write_encoded(piece, documents)


@lru_cache(maxsize=1)
def _open_encoder(tokenizer: Path, tokenizer_key: str, compiled: bool) -> tuple[TextEncoder, dict[str, int]]:
    """The encoder and the special ids of this process; the key is there so that a renewed file is read anew."""
    del tokenizer_key
    text_tokenizer = load_text_tokenizer(tokenizer)
    encoder = CompiledEncoder(text_tokenizer) if compiled else LibraryEncoder(text_tokenizer)
    return encoder, special_ids(text_tokenizer)


def _documents(task: _Task, config: TokenizeCorpusConfig, ids: dict[str, int]) -> Iterator[Sequence[Document]]:
    """The task's documents, as many at once as a row group holds or as a portion of a bucket does."""
    if task.rows is _Rows.REPOSITORIES:
        yield from repository_documents(task.files, config.repository_documents, config.seed, ids)
        return
    for batch in (batch for file in task.files for batch in read_shard(file, FILES.schema, COLUMNS)):
        yield [
            row_document(row, config, ids)
            for row in rows_of_batch(batch)
            if task.rows is _Rows.ALL or stands_alone(row.kind)
        ]
