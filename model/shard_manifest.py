"""What `manifest.json` says of token shards: every file of every stream with its size and digest."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.config import SourceName

MANIFEST_FILE = "manifest.json"

Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TokenShardError(Exception):
    """Token shards that cannot be written or read; one sentence with the file, the value and the mend."""


class Shard(BaseModel):
    """One file of a stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*-[0-9]{5,}\.bin$")]
    """A bare name: a manifest cannot point outside its directory."""
    tokens: Count
    documents: Count
    sha256: Sha256


class IndexFile(BaseModel):
    """The index of a stream's documents, see `model/document_index.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*-documents\.parquet$")]
    """A bare name."""
    documents: Count
    """Rows of the file."""
    sha256: Sha256


class _Sizes(BaseModel):
    """How much there is of a split or a stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: Count
    """End-of-text ids included."""
    documents: Count
    bytes: Count
    """UTF-8 bytes of the documents' text before tokenization."""


class Stream(_Sizes):
    """The documents of one source."""

    shards: tuple[Shard, ...]
    index: IndexFile


class Split(_Sizes):
    """The streams of a split and their sums."""

    sources: dict[SourceName, Stream]


class Manifest(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[3]
    dtype: Literal["uint16"]
    vocab_size: Annotated[int, Field(ge=1, le=65_536)]
    splits: dict[str, Split]


def damaged(what: str) -> TokenShardError:
    """The error for shards that are not as they were written."""
    return TokenShardError(f"{what}; tokenize the corpus again")


def read_manifest(path: Path) -> Manifest:
    """The manifest at `path`; TokenShardError if it is missing, not understood or contradicts itself."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise damaged(f"{path} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise damaged(_fault_of(path, error)) from None
    for name, split in manifest.splits.items():
        _require_sum(path, f"split {name!r}", split, split.sources.values(), "sources")
        for source, stream in split.sources.items():
            told = f"source {source!r} of split {name!r}"
            _require_sum(path, told, stream, stream.shards, "shards")
            if stream.documents != stream.index.documents:
                raise damaged(
                    f"{path} gives {told} {stream.documents} documents, but its index has {stream.index.documents}"
                )
    return manifest


def _fault_of(path: Path, error: ValidationError) -> str:
    faults = error.errors(include_url=False)
    # An older format lacks fields too; that it is older is what a person must know.
    fault = next((fault for fault in faults if fault["loc"] == ("format",)), faults[0])
    where = ".".join(str(part) for part in fault["loc"]) or "the file"
    return f"{path} is not a manifest of token shards: {where}: {fault['msg']}, not {fault['input']!r:.80}"


def _require_sum(path: Path, name: str, whole: _Sizes, parts: Collection[Stream | Shard], what: str) -> None:
    held = sum(part.tokens for part in parts)
    if whole.tokens != held:
        raise damaged(f"{path} gives {name} {whole.tokens} tokens, but its {what} have {held}")
