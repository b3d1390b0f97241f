"""Tables of source files for the steps that read them, and the library of the running Python as real input."""

import hashlib
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.tables import FilesWriter
from data_contracts.columns import CODE_FILES

TableOf = Callable[..., Path]


@pytest.fixture
def table_of(tmp_path: Path) -> TableOf:
    """Call it with the rows, each a dict with at least `content`: it writes a table of files and returns where."""

    def write(rows: Iterable[dict[str, Any]], shard_bytes: int = 1 << 20) -> Path:
        place = tmp_path / f"table-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        with FilesWriter(place, shard_bytes) as writer:
            completed = [_completed(row, number) for number, row in enumerate(rows)]
            writer.keep(pa.RecordBatch.from_pylist(completed, schema=CODE_FILES))
        return place

    return write


def _completed(row: dict[str, Any], number: int) -> dict[str, Any]:
    content = row["content"]
    row = {
        "source": "made-up",
        "repository": "owner/project",
        "path": f"src/file_{number:04d}.py",
        "commit": None,
        "license": "Apache-2.0",
        "language": "python",
        "extension": ".py",
        "stars": None,
        "split": None,
    } | row
    digest = hashlib.sha256(content.encode()).hexdigest()
    identity = "\0".join((row["repository"], row["path"], row["commit"] or "", digest))
    return {
        "file_id": hashlib.sha256(identity.encode()).hexdigest()[:32],
        "content_sha256": digest,
        "size_bytes": len(content.encode()),
    } | row


@pytest.fixture(scope="session")
def library_files() -> list[dict[str, Any]]:
    """Some 250 real files: path and content of the top modules and four packages of the running Python's library."""
    root = Path(sysconfig.get_path("stdlib"))
    folders = (".", "email", "http", "asyncio", "encodings")
    paths = sorted(path for folder in folders for path in (root / folder).glob("*.py"))
    return [
        {"path": path.relative_to(root).as_posix(), "content": path.read_text(encoding="utf-8")}
        for path in paths
        if path.stat().st_size < 200_000
    ]
