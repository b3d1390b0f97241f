"""Token shards: the corpus as raw little-endian uint16 token ids, written once and read through memory maps.

A split is one stream of documents, each ended by end-of-text, cut into files at document borders. The
manifest names every file with its size and digest; the stream's positions run on over the borders of files,
so a reader never sees them. Neither side ever holds more than a document or a window in memory.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.special_tokens import END_OF_TEXT

MANIFEST_FILE = "manifest.json"
TOKEN_DTYPE = np.dtype("<u2")
_VERIFY_CHUNK_TOKENS = 1 << 22

Count = Annotated[int, Field(ge=0)]


class TokenShardError(Exception):
    """Token shards that cannot be written or read; one sentence with the file, the value and the mend."""


class Shard(BaseModel):
    """One file of a split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*-[0-9]{5,}\.bin$")]
    """A bare name: a manifest cannot point outside its directory."""
    tokens: Count
    documents: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Split(BaseModel):
    """One stream of documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: tuple[Shard, ...]
    tokens: Count
    """End-of-text ids included."""
    documents: Count
    bytes: Count
    """UTF-8 bytes of the documents' text before tokenization."""


class Manifest(BaseModel):
    """What `manifest.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    dtype: Literal["uint16"]
    vocab_size: Annotated[int, Field(ge=1, le=65_536)]
    splits: dict[str, Split]


class ShardWriter:
    """Writes documents to shards under `out`, in the order they are added; `close` writes the manifest.

    A shard is closed as soon as it holds `shard_tokens` tokens or more, always after a whole document. The
    same documents give the same bytes. After an error the directory is unfinished: it has no manifest.
    """

    def __init__(self, out: Path, shard_tokens: int, vocab_size: int) -> None:
        self._out = out
        self._shard_tokens = shard_tokens
        self._vocab_size = vocab_size
        self._open: dict[str, _OpenShard] = {}
        self._closed: dict[str, list[Shard]] = {}
        self._bytes: dict[str, int] = {}

    def add(self, split: str, tokens: NDArray[np.integer[Any]] | Sequence[int], num_bytes: int) -> None:
        """Append one document of `num_bytes` UTF-8 bytes to `split` and end it by end-of-text.

        TokenShardError if an id is outside the vocabulary or is end-of-text, which would be a false border.
        """
        document = self._checked(split, tokens)
        shard = self._open.get(split)
        if shard is None:
            number = len(self._closed.setdefault(split, []))
            shard = self._open[split] = _OpenShard(self._out / f"{split}-{number:05d}.bin")
        shard.append(document)
        self._bytes[split] = self._bytes.get(split, 0) + num_bytes
        if shard.tokens >= self._shard_tokens:
            self._closed[split].append(self._open.pop(split).close())

    def close(self) -> dict[str, Any]:
        """Finish all shards, write `manifest.json` and return what it holds."""
        for split in list(self._open):
            self._closed[split].append(self._open.pop(split).close())
        splits = {
            name: Split(
                shards=tuple(shards),
                tokens=sum(shard.tokens for shard in shards),
                documents=sum(shard.documents for shard in shards),
                bytes=self._bytes[name],
            )
            for name, shards in self._closed.items()
        }
        manifest = Manifest(format=1, dtype="uint16", vocab_size=self._vocab_size, splits=splits)
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

    TokenShardError if the manifest is missing or not understood, or if a file is missing or has another size.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._manifest = _read_manifest(path / MANIFEST_FILE)
        self._maps = {
            name: [_map_shard(path / shard.file, shard.tokens) for shard in split.shards]
            for name, split in self._manifest.splits.items()
        }
        self._starts = {
            name: list(accumulate((shard.tokens for shard in split.shards), initial=0))
            for name, split in self._manifest.splits.items()
        }

    @property
    def vocab_size(self) -> int:
        """Every token id is below it."""
        return self._manifest.vocab_size

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have documents, in alphabetic order."""
        return tuple(sorted(self._manifest.splits))

    def num_tokens(self, split: str) -> int:
        """Length of the stream, end-of-text ids included; 0 for a split without documents."""
        return self._starts[split][-1] if split in self._starts else 0

    def num_documents(self, split: str) -> int:
        """0 for a split without documents."""
        return self._manifest.splits[split].documents if split in self._manifest.splits else 0

    def num_bytes(self, split: str) -> int:
        """UTF-8 bytes of the text before tokenization; 0 for a split without documents."""
        return self._manifest.splits[split].bytes if split in self._manifest.splits else 0

    def window(self, split: str, start: int, length: int) -> NDArray[np.int64]:
        """The ids at positions `start` to `start + length` of the stream, over borders of files.

        IndexError outside the stream; TokenShardError if an id is outside the vocabulary.
        """
        if start < 0 or length < 0 or start + length > self.num_tokens(split):
            raise IndexError(
                f"tokens {start} to {start + length} are outside split {split!r} of {self.num_tokens(split)}"
            )
        window = np.empty(length, np.int64)
        filled = 0
        while filled < length:
            number = bisect_right(self._starts[split], start + filled) - 1
            offset = start + filled - self._starts[split][number]
            piece = self._maps[split][number][offset : offset + length - filled]
            window[filled : filled + len(piece)] = piece
            filled += len(piece)
        if length and int(window.max()) >= self.vocab_size:
            raise self._beyond_vocabulary(f"split {split!r}", int(window.max()))
        return window

    def verify(self) -> None:
        """Read every file once; TokenShardError unless digest, documents and ids are as promised."""
        for name, split in self._manifest.splits.items():
            for shard, tokens in zip(split.shards, self._maps[name], strict=True):
                self._verify_shard(shard, tokens)

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
            raise _damaged(f"{path} has sha256 {sha256.hexdigest()}, not the manifest's {shard.sha256}")
        if documents != shard.documents:
            raise _damaged(f"{path} holds {documents} documents, not the manifest's {shard.documents}")

    def _beyond_vocabulary(self, where: str, token: int) -> TokenShardError:
        return _damaged(f"{where} in {self._path} holds token id {token}, beyond the vocabulary of {self.vocab_size}")


def _damaged(what: str) -> TokenShardError:
    return TokenShardError(f"{what}; tokenize the corpus again")


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _damaged(f"{path} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise _damaged(
            f"{path} is not a manifest of token shards: {where}: {fault['msg']}, not {fault['input']!r:.80}"
        ) from None
    for name, split in manifest.splits.items():
        held = sum(shard.tokens for shard in split.shards)
        if split.tokens != held:
            raise _damaged(f"{path} gives split {name!r} {split.tokens} tokens, but its shards have {held}")
    return manifest


def _map_shard(path: Path, tokens: int) -> NDArray[np.uint16]:
    expected = tokens * TOKEN_DTYPE.itemsize
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _damaged(f"{path} cannot be read ({error.strerror})") from None
    if size != expected:
        raise _damaged(
            f"{path} has {size} bytes, but the manifest's {tokens} tokens of uint16 take {expected}: it is "
            "truncated or of another type"
        )
    if tokens == 0:
        return np.empty(0, TOKEN_DTYPE)
    return np.memmap(path, TOKEN_DTYPE, mode="r")


def _chunks(tokens: NDArray[np.uint16]) -> Iterator[NDArray[np.uint16]]:
    for start in range(0, len(tokens), _VERIFY_CHUNK_TOKENS):
        yield tokens[start : start + _VERIFY_CHUNK_TOKENS]
