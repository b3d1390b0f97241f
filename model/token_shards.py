"""Token shards: the corpus as raw little-endian uint16 token ids, written once and read through memory maps.

A split has one stream of documents for each source (a language, or another kind of text), so that sources can be
blended and judged one by one. A stream's documents are each ended by end-of-text, and it is cut into files at document
borders; an index beside them tells where each document comes from. The manifest names every file with its size and
digest; the stream's positions run on over the borders of files, so a reader never sees them. Neither side ever holds
more than a document or a window in memory, and of the index a row group.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from model.config import SourceName
from model.document_index import UNKNOWN, Document, DocumentIndex, IndexWriter, Origin
from model.shard_manifest import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    Split,
    Stream,
    TokenShardError,
    damaged,
    read_manifest,
)
from model.special_tokens import END_OF_TEXT

TOKEN_DTYPE = np.dtype("<u2")
_VERIFY_CHUNK_TOKENS = 1 << 22

_SOURCE_NAME: TypeAdapter[str] = TypeAdapter(SourceName)


class ShardWriter:
    """Writes documents to shards under `out`, in the order they are added; `close` writes the manifest.

    A shard is closed as soon as it holds `shard_tokens` tokens or more, always after a whole document. The
    same documents give the same bytes. After an error the directory is unfinished: it has no manifest.
    """

    def __init__(self, out: Path, shard_tokens: int, vocab_size: int) -> None:
        self._out = out
        self._shard_tokens = shard_tokens
        self._vocab_size = vocab_size
        self._streams: dict[tuple[str, str], _OpenStream] = {}

    def add(
        self,
        split: str,
        source: str,
        tokens: NDArray[np.integer[Any]] | Sequence[int],
        num_bytes: int,
        document: Origin = UNKNOWN,
    ) -> None:
        """Append one document of `num_bytes` UTF-8 bytes to the stream of `source` and end it by end-of-text.

        `document` says where it comes from. TokenShardError if an id is outside the vocabulary or is end-of-text, which
        would be a false border, or if `source` is no name for a file.
        """
        ids = self._checked(split, tokens)
        if (split, source) not in self._streams:
            _require_name(source)
            self._streams[split, source] = _OpenStream(self._out, f"{split}-{source}", self._shard_tokens)
        self._streams[split, source].append(ids, num_bytes, document)

    def close(self) -> dict[str, Any]:
        """Finish all shards, write `manifest.json` and return what it holds."""
        streams: dict[str, dict[str, Stream]] = {}
        for (split, source), stream in sorted(self._streams.items()):
            streams.setdefault(split, {})[source] = stream.close()
        splits = {split: _split_of(sources) for split, sources in streams.items()}
        manifest = Manifest(format=3, dtype="uint16", vocab_size=self._vocab_size, splits=splits)
        dumped = manifest.model_dump(mode="json")
        (self._out / MANIFEST_FILE).write_text(json.dumps(dumped, indent=2, sort_keys=True) + "\n", "utf-8")
        return dumped

    def _checked(self, split: str, tokens: NDArray[np.integer[Any]] | Sequence[int]) -> NDArray[np.uint16]:
        array = np.asarray(tokens)
        if array.size == 0:
            return np.empty(0, TOKEN_DTYPE)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise TokenShardError(
                f"a document of split {split!r} is a {array.ndim}-dimensional array of {array.dtype}; "
                "give a list of token ids"
            )
        lowest, highest = int(array.min()), int(array.max())
        if lowest < 0 or highest >= self._vocab_size:
            outside = lowest if lowest < 0 else highest
            raise TokenShardError(
                f"a document of split {split!r} holds token id {outside}, beyond the vocabulary of "
                f"{self._vocab_size}; encode it with the tokenizer that the shards are made for"
            )
        if lowest == END_OF_TEXT:
            raise TokenShardError(
                f"a document of split {split!r} holds the end-of-text id {END_OF_TEXT} inside; "
                "encode special tokens in source text as plain text"
            )
        return array.astype(TOKEN_DTYPE, copy=False)


def _require_name(source: str) -> None:
    try:
        _SOURCE_NAME.validate_python(source)
    except ValidationError:
        raise TokenShardError(
            f"source {source!r} names no files: use at most 64 lower-case letters, digits, '_' and '-', a letter first"
        ) from None


def _split_of(sources: dict[str, Stream]) -> Split:
    streams = sources.values()
    return Split(
        sources=sources,
        tokens=sum(stream.tokens for stream in streams),
        documents=sum(stream.documents for stream in streams),
        bytes=sum(stream.bytes for stream in streams),
    )


class _OpenStream:
    """A stream being written: the shards that are closed and the one that is open, if any."""

    def __init__(self, out: Path, stem: str, shard_tokens: int) -> None:
        self._out = out
        self._stem = stem
        self._shard_tokens = shard_tokens
        self._closed: list[Shard] = []
        self._open: _OpenShard | None = None
        self._index = IndexWriter(out / f"{stem}-documents.parquet")
        self._bytes = 0

    def append(self, ids: NDArray[np.uint16], num_bytes: int, origin: Origin) -> None:
        """Write one document to the open shard, or to a new one, and to the index."""
        if self._open is None:
            self._open = _OpenShard(self._out / f"{self._stem}-{len(self._closed):05d}.bin")
        self._open.append(ids)
        self._index.append(len(ids) + 1, origin)
        self._bytes += num_bytes
        if self._open.tokens >= self._shard_tokens:
            self._close_shard()

    def close(self) -> Stream:
        """Finish the stream."""
        self._close_shard()
        return Stream(
            shards=tuple(self._closed),
            index=self._index.close(),
            tokens=sum(shard.tokens for shard in self._closed),
            documents=sum(shard.documents for shard in self._closed),
            bytes=self._bytes,
        )

    def _close_shard(self) -> None:
        if self._open is not None:
            self._closed.append(self._open.close())
            self._open = None


class _OpenShard:
    """A shard being written; its digest grows with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("xb")
        self._sha256 = hashlib.sha256()
        self._documents = 0
        self.tokens = 0

    def append(self, document: NDArray[np.uint16]) -> None:
        """Write one document and its end-of-text."""
        for raw in (np.ascontiguousarray(document).data, END_OF_TEXT.to_bytes(TOKEN_DTYPE.itemsize, "little")):
            self._file.write(raw)
            self._sha256.update(raw)
        self.tokens += len(document) + 1
        self._documents += 1

    def close(self) -> Shard:
        """Finish the file."""
        self._file.close()
        return Shard(
            file=self._path.name,
            tokens=self.tokens,
            documents=self._documents,
            sha256=self._sha256.hexdigest(),
        )


class TokenShards:
    """Read access to the token shards in a directory; sizes are checked at once, digests by `verify`.

    TokenShardError if the manifest is missing or not understood, or if a shard is missing or has another size. An index
    is looked at by `documents` and `verify` only: a training needs none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._manifest = read_manifest(path / MANIFEST_FILE)
        self._streams = {
            (split, source): _MappedStream(path, stream)
            for split, held in self._manifest.splits.items()
            for source, stream in held.sources.items()
        }

    @property
    def vocab_size(self) -> int:
        """Every token id is below it."""
        return self._manifest.vocab_size

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have documents, in alphabetic order."""
        return tuple(sorted(self._manifest.splits))

    def sources(self, split: str) -> tuple[str, ...]:
        """Names of the sources that have documents in the split, in alphabetic order."""
        return tuple(sorted(self._manifest.splits[split].sources)) if split in self._manifest.splits else ()

    def num_tokens(self, split: str, source: str | None = None) -> int:
        """Length of a source's stream, or of all of the split, end-of-text ids included; 0 without documents."""
        if source is None:
            return sum(self.num_tokens(split, each) for each in self.sources(split))
        stream = self._streams.get((split, source))
        return stream.tokens if stream else 0

    def window(self, split: str, source: str, start: int, length: int) -> NDArray[np.int64]:
        """The ids at positions `start` to `start + length` of the stream, over borders of files.

        IndexError outside the stream; TokenShardError if an id is outside the vocabulary.
        """
        self._require_inside(split, source, start, length)
        window = self._streams[split, source].window(start, length) if length else np.empty(0, np.int64)
        if length and int(window.max()) >= self.vocab_size:
            raise self._beyond_vocabulary(f"source {source!r} of split {split!r}", int(window.max()))
        return window

    def documents(self, split: str, source: str, start: int, length: int) -> list[Document]:
        """The documents with tokens at positions `start` to `start + length` of the stream, in its order.

        Nothing is read until somebody asks, and then the row groups that answer. IndexError outside the stream;
        TokenShardError if the index cannot be read.
        """
        self._require_inside(split, source, start, length)
        return self._streams[split, source].index.overlapping(start, length) if length else []

    def verify(self) -> None:
        """Read every file once; TokenShardError unless digest, documents and ids are as promised."""
        for stream in self._streams.values():
            for shard, tokens in stream.files():
                self._verify_shard(shard, tokens)
            stream.index.verify(stream.tokens)

    def _require_inside(self, split: str, source: str, start: int, length: int) -> None:
        tokens = self.num_tokens(split, source)
        if start < 0 or length < 0 or start + length > tokens:
            raise IndexError(
                f"tokens {start} to {start + length} are outside source {source!r} of split {split!r}, of {tokens}"
            )

    def _verify_shard(self, shard: Shard, tokens: NDArray[np.uint16]) -> None:
        sha256 = hashlib.sha256()
        documents = 0
        for chunk in _chunks(tokens):
            sha256.update(chunk.tobytes())
            documents += int(np.count_nonzero(chunk == END_OF_TEXT))
            if int(chunk.max()) >= self.vocab_size:
                raise self._beyond_vocabulary(shard.file, int(chunk.max()))
        path = self._path / shard.file
        if sha256.hexdigest() != shard.sha256:
            raise damaged(f"{path} has sha256 {sha256.hexdigest()}, not the manifest's {shard.sha256}")
        if documents != shard.documents:
            raise damaged(f"{path} holds {documents} documents, not the manifest's {shard.documents}")

    def _beyond_vocabulary(self, where: str, token: int) -> TokenShardError:
        return damaged(f"{where} in {self._path} holds token id {token}, beyond the vocabulary of {self.vocab_size}")


class _MappedStream:
    """One stream as memory maps of its files, end to end."""

    def __init__(self, path: Path, stream: Stream) -> None:
        self._shards = stream.shards
        self._maps = [_map_shard(path / shard.file, shard.tokens) for shard in stream.shards]
        self._starts = list(accumulate((shard.tokens for shard in stream.shards), initial=0))
        self.tokens = self._starts[-1]
        self.index = DocumentIndex(path / stream.index.file, stream.index)

    def window(self, start: int, length: int) -> NDArray[np.int64]:
        """The ids at positions that the stream has."""
        window = np.empty(length, np.int64)
        filled = 0
        while filled < length:
            number = bisect_right(self._starts, start + filled) - 1
            offset = start + filled - self._starts[number]
            piece = self._maps[number][offset : offset + length - filled]
            window[filled : filled + len(piece)] = piece
            filled += len(piece)
        return window

    def files(self) -> Iterator[tuple[Shard, NDArray[np.uint16]]]:
        """What the manifest says of each file, and the file."""
        return zip(self._shards, self._maps, strict=True)


def _map_shard(path: Path, tokens: int) -> NDArray[np.uint16]:
    expected = tokens * TOKEN_DTYPE.itemsize
    try:
        size = path.stat().st_size
    except OSError as error:
        raise damaged(f"{path} cannot be read ({error.strerror})") from None
    if size != expected:
        raise damaged(
            f"{path} has {size} bytes, but the manifest's {tokens} tokens of uint16 take {expected}: it is "
            "truncated or of another type"
        )
    if tokens == 0:
        return np.empty(0, TOKEN_DTYPE)
    return np.memmap(path, TOKEN_DTYPE, mode="r")


def _chunks(tokens: NDArray[np.uint16]) -> Iterator[NDArray[np.uint16]]:
    for start in range(0, len(tokens), _VERIFY_CHUNK_TOKENS):
        yield tokens[start : start + _VERIFY_CHUNK_TOKENS]
