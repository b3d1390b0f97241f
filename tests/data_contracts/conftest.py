"""Small artifacts that keep their contracts; a test breaks one thing and looks at the report."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.columns import CODE_FILES, DROPPED_FILES

Row = dict[str, Any]


def code_file(number: int, **changes: Any) -> Row:
    content = f"print({number})\n"
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    row: Row = {
        "file_id": hashlib.sha256(f"id {number}".encode()).hexdigest()[:32],
        "kind": "file",
        "content": content,
        "content_sha256": sha256,
        "size_bytes": len(content),
        "source": "cpython-stdlib",
        "repository": "python/cpython",
        "path": f"Lib/module_{number}.py",
        "commit": None,
        "license": "Python-2.0",
        "language": "python",
        "extension": ".py",
        "stars": 60_000,
        "forks": None,
        "updated_at": None,
        "split": None,
    }
    return row | changes


def dropped_file(number: int, **changes: Any) -> Row:
    row: Row = {
        "file_id": hashlib.sha256(f"dropped {number}".encode()).hexdigest()[:32],
        "source": "cpython-stdlib",
        "repository": "python/cpython",
        "path": f"Lib/dropped_{number}.py",
        "commit": None,
        "size_bytes": 7,
        "rule": "max_line_length",
        "value": "1874",
        "threshold": "1000",
        "detail": "",
    }
    return row | changes


def nullable(schema: pa.Schema) -> pa.Schema:
    """The schema as a careless writer would have it, so that a test can write nulls."""
    return pa.schema([field.with_nullable(True) for field in schema])


def write_files(
    out: Path,
    rows: list[Row],
    dropped: list[Row] | None = None,
    schema: pa.Schema = CODE_FILES,
    rows_per_shard: int = 50,
) -> Path:
    """A table of files in shards; row groups of 20 rows, so that a shard has several."""
    out.mkdir(parents=True, exist_ok=True)
    for shard, start in enumerate(range(0, len(rows), rows_per_shard)):
        table = pa.Table.from_pylist(rows[start : start + rows_per_shard], schema=schema)
        pq.write_table(table, out / f"files-{shard:05d}.parquet", row_group_size=20, write_page_checksum=True)
    pq.write_table(pa.Table.from_pylist(dropped or [], schema=nullable(DROPPED_FILES)), out / "dropped-00000.parquet")
    return out


def token_manifest() -> dict[str, Any]:
    streams: dict[str, dict[str, list[int]]] = {
        "train": {"python": [60_000, 25_000], "issue": [20_000]},
        "validation": {"python": [300]},
        "test": {"python": [150], "c-sharp": [50]},
    }
    splits: dict[str, Any] = {}
    for split, sources in streams.items():
        held = {source: token_stream(split, source, sizes) for source, sizes in sources.items()}
        totals = {field: sum(stream[field] for stream in held.values()) for field in ("tokens", "documents", "bytes")}
        splits[split] = totals | {"sources": held}
    return {"format": 3, "dtype": "uint16", "vocab_size": 4096, "splits": splits}


def token_stream(split: str, source: str, sizes: list[int]) -> dict[str, Any]:
    shards = [
        {
            "file": f"{split}-{source}-{number:05d}.bin",
            "tokens": tokens,
            "documents": 10,
            "sha256": hashlib.sha256(bytes(2 * tokens)).hexdigest(),
        }
        for number, tokens in enumerate(sizes)
    ]
    index = {"file": f"{split}-{source}-documents.parquet", "documents": 10 * len(sizes), "sha256": "0" * 64}
    sizes_of_all = {"tokens": sum(sizes), "documents": 10 * len(sizes), "bytes": 3 * sum(sizes)}
    return {"shards": shards, "index": index} | sizes_of_all


def indexed_documents(num_documents: int, num_tokens: int) -> list[Row]:
    tokens = num_tokens // num_documents
    return [
        {"start": number * tokens, "tokens": tokens, "repository": "o/p", "path": f"m{number}.py", "files": 1}
        for number in range(num_documents)
    ]


def write_index(path: Path, rows: list[Row]) -> None:
    """As a careless writer would, so that a test can write nulls."""
    types = {"start": pa.uint64(), "tokens": pa.uint64(), "repository": pa.string(), "path": pa.string()}
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types | {"files": pa.uint32()})), path)


def write_tokens(out: Path, manifest: dict[str, Any] | None = None) -> Path:
    """The shard files and indexes of the good manifest beside the given one."""
    out.mkdir(parents=True, exist_ok=True)
    streams = [stream for split in token_manifest()["splits"].values() for stream in split["sources"].values()]
    for shard in (shard for stream in streams for shard in stream["shards"]):
        (out / shard["file"]).write_bytes(bytes(2 * shard["tokens"]))
    for stream in streams:
        write_index(out / stream["index"]["file"], indexed_documents(stream["documents"], stream["tokens"]))
    (out / "manifest.json").write_text(json.dumps(manifest or token_manifest()), "utf-8")
    return out


def evaluation() -> dict[str, Any]:
    return {
        "format": 1,
        "split": "test",
        "held_out": {"files": 30, "bytes": 200_000, "tokens": 60_000},
        "bits_per_byte": 1.9,
        "baseline": {"name": "order-3 byte model", "order": 3, "bits_per_byte": 2.6},
        "per_language": [
            {
                "language": language,
                "files": 15,
                "bytes": 100_000,
                "bits_per_byte": 1.9,
                "baseline_bits_per_byte": 2.6,
            }
            for language in ("c", "python")
        ],
        "problems": {"count": 40, "solution_bits_per_byte": 2.0, "syntax_valid_fraction": 0.5},
        "fill_in_middle": {"cases": 50, "exact_match_fraction": 0.1},
        "perplexity_per_token": 80.0,
    }


def write_evaluation(out: Path, report: dict[str, Any] | None = None) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report or evaluation()), "utf-8")
    return out


@pytest.fixture(scope="session")
def artifacts() -> Any:
    """The builders of this file."""
    return sys.modules[__name__]
