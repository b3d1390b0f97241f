"""Encoded documents on their way from a worker to the token shards: four files of a piece (`components/pieces.py`).

A finished piece is found again after a kill. Its name is made of the bytes that were encoded, of the tokenizer and of
the code, so what another run left behind is never taken.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.pieces import load_table, save_table
from components.tokens.documents import Document
from components.tokens.encoders import TextEncoder, as_text
from model.document_index import Origin
from model.token_shards import TOKEN_DTYPE

_SPLITS = ("train", "validation", "test")
_IDS_FILE, _TABLE_FILE, _SOURCES_FILE, _ORIGINS_FILE = "ids.bin", "documents.npy", "sources.json", "origins.arrow"
_ORIGINS = pa.schema({"repository": pa.string(), "path": pa.string(), "files": pa.int64()})
_CODE = ("components/tokens/*.py", "components/markup.py", "model/special_tokens.py", "model/text_codec.py")
_HOUSE = Path(__file__).parents[2]


@dataclass(frozen=True)
class EncodedDocument:
    """One document as ids, without its end-of-text."""

    split: str
    source: str
    ids: NDArray[np.uint16]
    text_bytes: int
    """UTF-8 bytes of the corpus in it, without names, paths and marks."""
    text_tokens: int
    """Ids of that text."""
    origin: Origin


def encode_documents(documents: Sequence[Document], encoder: TextEncoder) -> Iterator[EncodedDocument]:
    """The documents in their order; all their texts are encoded at once."""
    texts = [
        as_text(part) if isinstance(part, str) else part
        for document in documents
        for part in document.parts
        if not isinstance(part, int)
    ]
    encoded = encoder.encode(texts)
    text = 0
    for document in documents:
        pieces: list[NDArray[np.uint16]] = [np.empty(0, np.uint16)]
        text_bytes = text_tokens = 0
        for part in document.parts:
            if isinstance(part, int):
                pieces.append(np.array([part], np.uint16))
                continue
            pieces.append(encoded.of(text))
            text += 1
            if not isinstance(part, str):
                text_bytes += len(part)
                text_tokens += len(pieces[-1])
        ids = np.concatenate(pieces)
        yield EncodedDocument(document.split, document.source, ids, text_bytes, text_tokens, document.origin)


def write_encoded(place: Path, documents: Iterable[EncodedDocument]) -> None:
    """Write the documents to the directory `place`."""
    table: list[tuple[int, int, int, int, int]] = []
    sources: dict[str, int] = {}
    origins: list[Origin] = []
    with (place / _IDS_FILE).open("wb") as file:
        for document in documents:
            file.write(np.ascontiguousarray(document.ids, TOKEN_DTYPE).data)
            split, source = _SPLITS.index(document.split), sources.setdefault(document.source, len(sources))
            table.append((split, source, len(document.ids), document.text_bytes, document.text_tokens))
            origins.append(document.origin)
    np.save(place / _TABLE_FILE, np.array(table, np.int64).reshape(-1, 5), allow_pickle=False)
    (place / _SOURCES_FILE).write_text(json.dumps(list(sources)), encoding="utf-8")
    columns = {name: [getattr(origin, name) for origin in origins] for name in _ORIGINS.names}
    save_table(place / _ORIGINS_FILE, pa.table(columns, schema=_ORIGINS))


def read_encoded(target: Path) -> Iterator[EncodedDocument]:
    """What `write_encoded` was given; the ids are views of the file."""
    table = np.load(target / _TABLE_FILE, allow_pickle=False)
    sources: list[str] = json.loads((target / _SOURCES_FILE).read_text(encoding="utf-8"))
    is_empty = (target / _IDS_FILE).stat().st_size == 0
    ids = np.empty(0, TOKEN_DTYPE) if is_empty else np.memmap(target / _IDS_FILE, TOKEN_DTYPE, mode="r")
    origins = load_table(target / _ORIGINS_FILE).to_pylist()
    start = 0
    for (split, source, length, text_bytes, text_tokens), origin in zip(table.tolist(), origins, strict=True):
        own = ids[start : start + length]
        yield EncodedDocument(_SPLITS[split], sources[source], own, text_bytes, text_tokens, Origin(**origin))
        start += length


def key_of(files: Sequence[Path], *more: str) -> str:
    """A name for what is made of the bytes of `files`, of `more` and of this code."""
    digest = hashlib.sha256(_code_digest())
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    digest.update("\0".join(more).encode())
    return digest.hexdigest()[:24]


@cache
def _code_digest() -> bytes:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _CODE for path in _HOUSE.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.digest()
