"""Pieces of a long computation: directories that appear whole or not at all, and are found again after a kill.

A piece is named after what it is made of, so that whoever wants it again looks for the same name.
"""

import hashlib
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from components.store import FileDigest, digest_files

_CONTENTS_FILE = "piece.json"
_CONTENTS = TypeAdapter(dict[str, FileDigest])
_HOUSE = Path(__file__).parents[1]
_CODE = ("components", "data_contracts")


def make_piece(piece: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill the directory `piece`, unless it stands there already as it was written. Returns `piece`."""
    if _is_whole(piece):
        return piece
    piece.parent.mkdir(parents=True, exist_ok=True)
    growing = Path(tempfile.mkdtemp(prefix=f"{piece.name}.", suffix=".part", dir=piece.parent))
    write(growing)
    (growing / _CONTENTS_FILE).write_bytes(_CONTENTS.dump_json(digest_files(growing)))
    shutil.rmtree(piece, ignore_errors=True)
    try:
        growing.rename(piece)
    except OSError:
        if not _is_whole(piece):  # else another worker was as fast: equal names have equal bytes
            raise
        shutil.rmtree(growing)
    return piece


def name_of(*parts: str) -> str:
    """A name for what depends on these parts, and on this project's code."""
    return hashlib.sha256("\0".join((_code_digest(), *parts)).encode()).hexdigest()[:24]


def new_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Zeros that live in the file `path`, of which memory holds what is in use; `map_array` finds what is written."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    with path.open("w+b") as stream:
        if num_bytes == 0:  # there is nothing to map
            return np.zeros(shape, dtype)
        os.posix_fallocate(stream.fileno(), 0, num_bytes)  # a disk that turns out full later would kill the process
        return np.frombuffer(mmap.mmap(stream.fileno(), num_bytes), dtype).reshape(shape)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write the bare numbers, for `map_array`: a header would cost more to read than what is wanted of a small file."""
    path.write_bytes(np.ascontiguousarray(array).data)


def map_array(path: Path, dtype: Any) -> NDArray[Any]:
    """Memory-mapped, one dimension: what `save_array` wrote."""
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:  # there is nothing to map
            return np.empty(0, dtype)
        return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), dtype)


def save_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow file of one batch."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def load_table(path: Path) -> pa.Table:
    """Memory-mapped: what `save_table` wrote."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _is_whole(piece: Path) -> bool:
    try:
        recorded = _CONTENTS.validate_json((piece / _CONTENTS_FILE).read_bytes())
    except (OSError, ValidationError):
        return False
    found = digest_files(piece)
    return {name: found.get(name) for name in recorded} == recorded


@cache
def _code_digest() -> str:
    """Of every source file that can change a piece, so that one made by other code is made again."""
    digest = hashlib.sha256()
    for path in sorted(path for name in _CODE for path in (_HOUSE / name).rglob("*.py")):
        digest.update(f"{path.relative_to(_HOUSE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
