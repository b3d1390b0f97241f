"""What tests of several steps share: small corpora in the real format, and Git repositories."""

import hashlib
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.catalog import STEPS
from components.config import PipelineConfig, load_config, parse_config
from components.lineage import StepRecord, published_record
from components.run_step import run_step
from components.settings import Settings
from components.tables import FilesWriter
from data_contracts.columns import CODE_FILES

ROOT = Path(__file__).parents[2]
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


def _new_repository(root: Path) -> Path:
    command = ["git", "init", "--quiet", "--initial-branch=main", str(root)]
    subprocess.run(command, check=True, env={"PATH": os.environ["PATH"], **IDENTITY})
    return root


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository on the branch main."""
    return Repository(_new_repository(tmp_path / "repository"))


@dataclass(frozen=True)
class Corpus:
    """A workspace in which every step before training was run."""

    config: PipelineConfig
    settings: Settings

    def record(self, artifact: str) -> StepRecord:
        """The record of one artifact."""
        record = published_record(artifact, self.settings)
        assert record is not None
        return record

    def copy(self, place: Path) -> "Corpus":
        """The same in another place."""
        shutil.copytree(self.settings.workspace, place)
        return Corpus(self.config, Settings(workspace=place))


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Some 200 documents of all kinds in many shards: files, near copies of some, notebooks, conversations, commits."""
    workspace = tmp_path_factory.mktemp("corpus") / "workspace"
    library = Path(sysconfig.get_path("stdlib"))
    for package in ("json", "email", "http"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(library / package, workspace / "sources" / package, ignore=ignored)
    for path in sorted((workspace / "sources/json").glob("*.py")):
        changed = path.read_text("utf-8").replace("self", "this", 3)
        (workspace / "sources" / f"copy_of_{path.name}").write_text(changed, "utf-8")
    shutil.copytree(ROOT / "samples", workspace / "samples")
    shutil.copy(ROOT / "opt_outs.yaml", workspace)
    _write_history(Repository(_new_repository(workspace / "history")), library / "json" / "encoder.py")
    corpus = Corpus(_small_config(), Settings(workspace=workspace))
    for step in STEPS[: [step.name for step in STEPS].index("pretrain")]:
        run_step(step, corpus.config, corpus.settings)
    return corpus


def _write_history(repository: Repository, model: Path) -> None:
    """Commits of one file each, with a message that says what they change."""
    lines = model.read_text("utf-8").splitlines(keepends=True)
    for number in range(24):
        text = "".join([*lines[: 40 + 5 * number], f"LIMIT_{number} = {number}  # of the part\n", *lines[60:]])
        message = f"Raise the limit of part number {number} to a new value"
        repository.commit({f"part_{number % 3}.py": text.encode()}, message)


def _small_config() -> PipelineConfig:
    """params.yaml with the small corpus as its sources, cut into many shards."""
    raw = load_config(ROOT / "params.yaml").model_dump()
    tree = {"kind": "directory", "repository": "python/cpython", "license": "Python-2.0", "exclude": []}
    raw["ingest_sources"] |= {
        "sources": [
            tree | {"name": "tree", "path": "sources"},
            tree | {"name": "notebooks", "path": "samples/notebooks", "license": "Apache-2.0"},
        ],
        "shard_bytes": 100_000,
    }
    raw["ingest_issues"]["shard_bytes"] = 4_000
    raw["ingest_commits"] |= {"histories": [raw["ingest_commits"]["histories"][0] | {"path": "history"}]}
    raw["ingest_commits"]["shard_bytes"] = 20_000
    raw["filter_quality"]["keep_fraction_by_language"] = {"python": 0.9}
    raw["redact_secrets"]["entities"] = [*raw["redact_secrets"]["entities"], "username"]
    raw["train_tokenizer"]["vocab_size"] = 400
    return parse_config(raw, "the small corpus")
