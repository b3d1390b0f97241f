"""The files of a repository become one document, each once, whoever deals them and however they are read."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.tables import shards_of
from components.tokens.config import RepositoryDocumentsConfig
from components.tokens.documents import Document
from components.tokens.repository_documents import bucket_path, deal_shards, repository_documents
from model.special_tokens import STARCODER2, names_of

TableOf = Callable[..., Path]
IDS = names_of(STARCODER2)
NAMED = RepositoryDocumentsConfig(order="random", named_probability=1.0, max_document_bytes=1 << 20)


def told(document: Document) -> str:
    """The document as a person would write it."""
    names = {number: f"<{name}>" for name, number in IDS.items()}
    return "".join(
        names[part] if isinstance(part, int) else part if isinstance(part, str) else bytes(part).decode()
        for part in document.parts
    )


def documents_of(
    table: Path, place: Path, config: RepositoryDocumentsConfig, buckets: int = 1, parts: int = 1, **settings: Any
) -> list[Document]:
    """All documents of a table, dealt by `parts` workers into so many buckets."""
    shards = shards_of(table)
    dealt = [place / f"{buckets}-{parts}-{number}" for number in range(parts)]
    for number, each in enumerate(dealt):
        each.mkdir()
        deal_shards(shards[number::parts], each, buckets, seed=3)
    found: list[Document] = []
    for bucket in range(buckets):
        files = [file for each in dealt if (file := bucket_path(each, bucket)).exists()]
        for portion in repository_documents(files, config, 3, IDS, **settings):
            found += portion
    return found


def rows(count: int, repositories: int = 5, split: str = "train") -> list[dict[str, Any]]:
    return [
        {
            "repository": f"o/r{number % repositories}",
            "path": f"f{number}.py",
            "content": f"x = {number}\n",
            "split": split,
        }
        for number in range(count)
    ]


def test_a_named_document_tells_repository_and_paths_and_another_only_the_code(
    table_of: TableOf, tmp_path: Path
) -> None:
    table = table_of(rows(1))
    (named,) = documents_of(table, tmp_path, NAMED)
    assert told(named) == "<repo_name>o/r0<file_sep>f0.py\nx = 0\n"
    (bare,) = documents_of(table, tmp_path, NAMED.model_copy(update={"named_probability": 0.0}), parts=2)
    assert told(bare) == "<file_sep>x = 0\n"


def test_half_of_many_repositories_are_named_by_seed_alone(table_of: TableOf, tmp_path: Path) -> None:
    table = table_of(rows(800, repositories=800))
    half = NAMED.model_copy(update={"named_probability": 0.5})
    documents = documents_of(table, tmp_path, half)
    named = {told(document) for document in documents if "<repo_name>" in told(document)}
    assert len(named) / 800 == pytest.approx(0.5, abs=0.08)
    assert named == {text for text in map(told, documents_of(table, tmp_path, half, parts=2)) if "<repo_name>" in text}


def test_every_file_is_in_one_document_with_its_repository_and_split(table_of: TableOf, tmp_path: Path) -> None:
    table = table_of([*rows(60), *rows(30, split="validation")])
    documents = documents_of(table, tmp_path, NAMED, buckets=3)
    assert len(documents) == 10
    assert {document.source for document in documents} == {"repository"}
    for document in documents:
        name, *files = told(document).split("<file_sep>")
        wanted = [
            row for row in rows(60 if document.split == "train" else 30) if f"<repo_name>{row['repository']}" == name
        ]
        assert sorted(files) == sorted(f"{row['path']}\n{row['content']}" for row in wanted)


def test_files_and_repositories_come_in_an_order_drawn_by_seed(table_of: TableOf, tmp_path: Path) -> None:
    table = table_of(rows(60))
    paths = [told(document).split("<file_sep>")[1:] for document in documents_of(table, tmp_path, NAMED)]
    assert all(files != sorted(files) for files in paths)
    shards = shards_of(table)
    other = tmp_path / "other"
    other.mkdir()
    deal_shards(shards, other, 1, seed=4)
    (portion,) = repository_documents([bucket_path(other, 0)], NAMED, 4, IDS)
    assert [told(document).split("<file_sep>")[1:] for document in portion] != paths
    assert {told(document).split("<file_sep>")[0] for document in portion} == {f"<repo_name>o/r{n}" for n in range(5)}


def test_imported_files_come_first_if_the_order_is_by_dependency(table_of: TableOf, tmp_path: Path) -> None:
    files = [("a.py", "import b\n"), ("b.py", "import c\n"), ("c.py", "")]
    table = table_of([{"path": path, "content": content, "split": "train"} for path, content in files])
    config = NAMED.model_copy(update={"order": "dependency"})
    (document,) = documents_of(table, tmp_path, config)
    assert (
        told(document) == "<repo_name>owner/project<file_sep>c.py\n<file_sep>b.py\nimport c\n<file_sep>a.py\nimport b\n"
    )


@pytest.mark.parametrize("order", ["random", "dependency"])
def test_a_large_repository_is_cut_between_files_into_documents_within_the_limit(
    table_of: TableOf, tmp_path: Path, order: str
) -> None:
    sizes = [300, 5_000, 700, 1_024, 1, 900, 124, 600]
    files = [{"path": f"{n}.py", "content": str(n) * size, "split": "train"} for n, size in enumerate(sizes)]
    config = RepositoryDocumentsConfig.model_validate(
        {"order": order, "named_probability": 1.0, "max_document_bytes": 1_024}
    )
    documents = documents_of(table_of(files), tmp_path, config)
    held = [told(document).split("<file_sep>")[1:] for document in documents]
    assert sorted(file for document in held for file in document) == [
        f"{n}.py\n{str(n) * s}" for n, s in enumerate(sizes)
    ]
    for document in held:
        assert sum(len(file) - len("0.py\n") for file in document) <= 1_024 or len(document) == 1
    assert len(documents) < len(files)


@given(
    repositories=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    shard_bytes=st.integers(1, 400),
    parts=st.integers(1, 4),
    portion_bytes=st.integers(1, 2_000),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_who_deals_and_how_much_is_read_at_once_changes_nothing(
    table_of: TableOf,
    tmp_path_factory: pytest.TempPathFactory,
    repositories: Sequence[int],
    shard_bytes: int,
    parts: int,
    portion_bytes: int,
) -> None:
    files = [
        {"repository": f"o/r{number}", "path": f"{place}.py", "content": "y" * 50 + str(place), "split": "train"}
        for place, number in enumerate(repositories)
    ]
    config = NAMED.model_copy(update={"max_document_bytes": 1_024})
    whole = documents_of(table_of(files), tmp_path_factory.mktemp("dealt"), config, buckets=2)
    again = documents_of(
        table_of(files, shard_bytes), tmp_path_factory.mktemp("dealt"), config, 2, parts, portion_bytes=portion_bytes
    )
    assert list(map(told, again)) == list(map(told, whole))


def test_documents_that_stand_alone_are_not_dealt(table_of: TableOf, tmp_path: Path) -> None:
    kinds = ["notebook", "issue", "commit", "notebook_script", "file"]
    table = table_of([{"kind": kind, "content": kind, "split": "train"} for kind in kinds])
    assert [told(document)[-4:] for document in documents_of(table, tmp_path, NAMED)] == ["file"]
