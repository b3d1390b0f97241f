"""What a row of the corpus becomes before it is encoded: texts and special tokens in their order.

StarCoder: a file may begin with where it comes from, `<reponame>`, `<filename>` and `<gh_stars>`, each drawn by itself
(bigcode-dataset, `preprocessing/add_content_with_meta.py`). StarCoder2: a document is the files of a repository between
`<file_sep>`, named or not (arXiv 2402.19173, section 5.1). Notebooks, issues and commits bring their own marks. Every
draw depends on the seed and on what it is drawn for, never on the order of rows.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from components.errors import ParamsError
from components.markup import STRUCTURED_KINDS, Mark, split_marks
from components.tables import text_buffers
from components.tokens.config import PrefixProbabilities, TokenizeCorpusConfig
from components.tokens.encoders import Text, as_text
from model.document_index import Origin

LIGHT_COLUMNS = ("file_id", "kind", "repository", "path", "language", "stars", "split", "size_bytes")
COLUMNS = ("content", *LIGHT_COLUMNS)
"""What is read of the corpus."""

_STAR_BUCKETS = ((0, "0"), (10, "1-10"), (100, "10-100"), (1000, "100-1000"))
"""Upper bounds, inclusive (bigcode-dataset, `preprocessing/add_content_with_meta.py`)."""
_MANY_STARS = "1000+"
_FILE, _SCRIPT = "file", "notebook_script"
REPOSITORY = "repository"
"""The source of documents that hold the files of a whole repository."""
_NO_LANGUAGE = "unknown"
Part = int | str | Text
"""Of a document: a special token, what is told about a text (names, paths), or text of the corpus itself."""


@dataclass(frozen=True)
class Row:
    """A row of the corpus without its license and history."""

    file_id: str
    kind: str
    repository: str
    path: str
    language: str | None
    stars: int | None
    split: str
    size_bytes: int
    content: Text
    """Its UTF-8 bytes, where Arrow has them."""


@dataclass(frozen=True)
class Document:
    """One document before it is encoded."""

    split: str
    source: str
    """Whose stream of the token shards it goes to."""
    parts: Sequence[Part]
    origin: Origin
    """Where its text comes from, for the index of the token shards."""


def rows_of_batch(batch: pa.RecordBatch) -> Iterator[Row]:
    """The rows of a batch that has COLUMNS; no content is copied."""
    data, offsets = text_buffers(batch)
    columns = [batch.column(name).to_pylist() for name in LIGHT_COLUMNS]
    for number, values in enumerate(zip(*columns, strict=True)):
        yield Row(*values, content=data[offsets[number] : offsets[number + 1]])


def has_repositories(special_ids: Mapping[str, int]) -> bool:
    """Whether the family lays documents out as repositories: StarCoder2's."""
    return "file_sep" in special_ids


def source_of(row: Row) -> str:
    """What StarCoder's mixture weighs (its `data_sources.csv`): a file by its language, other texts by their kind.

    Names of languages have no underscore and those of kinds are no language's, so the two never meet.
    """
    return row.language or _NO_LANGUAGE if row.kind == _FILE else row.kind


def row_document(row: Row, config: TokenizeCorpusConfig, special_ids: Mapping[str, int]) -> Document:
    """The document of one row that stands by itself.

    ParamsError if it holds a mark whose token the family lacks, as a commit does for StarCoder2.
    """
    if row.kind in STRUCTURED_KINDS:
        return _structured_document(row, special_ids)
    if not has_repositories(special_ids):
        prefix = metadata_prefix(row, config.prefix_probabilities, config.seed, special_ids)
        return Document(row.split, source_of(row), [*prefix, row.content], _origin([row]))
    if row.kind == _SCRIPT:
        return Document(row.split, source_of(row), [special_ids["jupyter_script"], row.content], _origin([row]))
    named = draw(config.seed, "named", row.split, row.file_id) < config.repository_documents.named_probability
    return repository_document([row], source_of(row), named=named, special_ids=special_ids)


def stands_alone(kind: str) -> bool:
    """Whether rows of `kind` are documents of their own also where the files of a repository share one."""
    return kind in STRUCTURED_KINDS or kind == _SCRIPT


def repository_document(rows: Sequence[Row], source: str, *, named: bool, special_ids: Mapping[str, int]) -> Document:
    """The files of one repository in the given order: `<repo_name>`name`<file_sep>`path newline code ...

    Without names it is `<file_sep>`code`<file_sep>`code ... Files of several languages are one source.
    """
    parts: list[Part] = [special_ids["repo_name"], rows[0].repository] if named else []
    for row in rows:
        parts.append(special_ids["file_sep"])
        parts += [f"{row.path}\n", row.content] if named else [row.content]
    return Document(rows[0].split, source, parts, _origin(rows))


def _origin(rows: Sequence[Row]) -> Origin:
    """Of a document of these rows, which are of one repository."""
    return Origin(rows[0].repository, rows[0].path, len(rows))


def metadata_prefix(
    row: Row, probabilities: PrefixProbabilities, seed: int, special_ids: Mapping[str, int]
) -> list[Part]:
    """`<reponame>`repository`<filename>`path`<gh_stars>`bucket and a newline, each part if drawn, else nothing.

    A pure function of seed and file: the first three words of one hash are the three draws.
    """
    digest = hashlib.sha256(f"{seed}:{row.file_id}".encode()).digest()
    parts: list[Part] = []
    for number, (probability, name, said) in enumerate(
        (
            (probabilities.repository, "reponame", row.repository),
            (probabilities.path, "filename", row.path),
            (probabilities.stars, "gh_stars", star_bucket(row.stars)),
        )
    ):
        if int.from_bytes(digest[8 * number : 8 * number + 8]) / 2**64 < probability:
            parts += [special_ids[name], said]
    return [*parts, "\n"] if parts else []


def star_bucket(stars: int | None) -> str:
    """How a number of stars is told to the model; none known is 0."""
    return next((bucket for most, bucket in _STAR_BUCKETS if (stars or 0) <= most), _MANY_STARS)


def draw(seed: int, *what: str) -> float:
    """A number in [0, 1) that depends on `seed` and on what it is drawn for."""
    digest = hashlib.sha256("\0".join((str(seed), *what)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _structured_document(row: Row, special_ids: Mapping[str, int]) -> Document:
    parts: list[Part] = []
    for piece in split_marks(bytes(row.content).decode()):
        if isinstance(piece, str):
            parts.append(as_text(piece))
        elif piece.name in special_ids:
            parts.append(special_ids[piece.name])
        else:
            raise ParamsError(_unknown_mark(row, piece))
    return Document(row.split, source_of(row), parts, _origin([row]))


def _unknown_mark(row: Row, piece: Mark) -> str:
    return (
        f"{row.kind} {row.repository} {row.path!r} is laid out with <{piece.name}>, which the tokenizer does not have; "
        "train it with the other family of train_tokenizer.special_tokens, or leave this kind out of the corpus"
    )
