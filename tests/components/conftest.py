"""What tests of several steps share: small corpora in the real format, and Git repositories."""

import hashlib
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.tables import FilesWriter
from data_contracts.columns import CODE_FILES

TableOf = Callable[..., Path]
CorpusOf = Callable[[Sequence[tuple[str, str, str]]], Path]


@pytest.fixture
def corpus_of(tmp_path: Path) -> CorpusOf:
    """Call it with (split, path, content) of each file: it writes a `corpus_splits` artifact."""

    def write(files: Sequence[tuple[str, str, str]]) -> Path:
        place = tmp_path / f"corpus-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        with FilesWriter(place, shard_bytes=1 << 20) as writer:
            for split, path, content in files:
                writer.keep(pa.RecordBatch.from_pylist([_row(split, path, content)], schema=CODE_FILES))
        return place

    return write


def _row(split: str, path: str, content: str) -> dict[str, object]:
    digest = hashlib.sha256(content.encode()).hexdigest()
    return {
        "file_id": hashlib.sha256(f"{path}\0{digest}".encode()).hexdigest()[:32],
        "kind": "file",
        "content": content,
        "content_sha256": digest,
        "size_bytes": len(content.encode()),
        "source": "made-up",
        "repository": "owner/project",
        "path": path,
        "commit": None,
        "license": "Apache-2.0",
        "language": "markdown" if path.endswith(".md") else "python",
        "extension": Path(path).suffix,
        "stars": None,
        "forks": None,
        "updated_at": None,
        "split": split,
    }


@pytest.fixture(scope="session")
def program() -> Callable[[int], str]:
    """Call it with a number: a small Python file that differs from those of other numbers."""
    return _program


def _program(number: int) -> str:
    return (
        f'"""Module {number} of the made-up project."""\n\nimport math\n\n\n'
        f"def area_{number}(radius):\n    return {number} * math.pi * radius ** 2\n\n\n"
        f"class Shape{number}:\n    def __init__(self, name):\n        self.name = name\n\n"
        f"    def describe(self):\n        return f'{{self.name}} number {number}'\n"
    )


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
        "kind": "file",
        "source": "made-up",
        "repository": "owner/project",
        "path": f"src/file_{number:04d}.py",
        "commit": None,
        "license": "Apache-2.0",
        "language": "python",
        "extension": ".py",
        "stars": None,
        "forks": None,
        "updated_at": None,
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


IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass(frozen=True)
class Repository:
    """A Git repository that a test fills."""

    root: Path

    def git(self, *arguments: str | Path, stdin: bytes = b"", **variables: str) -> str:
        """What a command of Git prints; the variables are those of its environment."""
        done = subprocess.run(
            ["git", "-C", self.root, *arguments],
            input=stdin,
            capture_output=True,
            check=True,
            env={"PATH": os.environ["PATH"], **IDENTITY, **variables},
        )
        return done.stdout.decode("utf-8", "replace").strip()

    def commit(self, files: dict[str, bytes | None], message: str = "change", **variables: str) -> str:
        """Write the files (None deletes), commit, and return the commit."""
        for name, content in files.items():
            path = self.root / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        self.git("add", "--all")
        message_file = ("--allow-empty", "--allow-empty-message", "--cleanup=verbatim", "--file=-")
        self.git("commit", "--quiet", *message_file, stdin=message.encode(), **variables)
        return self.git("rev-parse", "HEAD")

    def loose_object(self, object_id: str) -> Path:
        """The file that holds the object, as long as nothing packed it."""
        return self.root / ".git" / "objects" / object_id[:2] / object_id[2:]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository on the branch main."""
    root = tmp_path / "repository"
    command = ["git", "init", "--quiet", "--initial-branch=main", str(root)]
    subprocess.run(command, check=True, env={"PATH": os.environ["PATH"], **IDENTITY})
    return Repository(root)
