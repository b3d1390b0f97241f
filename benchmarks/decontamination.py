"""3,000 texts looked for in real files, against a substring loop and an automaton.

The texts are docstrings and bodies of functions of Python's library; they are looked for in Python files of the
packages.

    ours                everything: every occurrence in any layout, runs of 13 tokens too, all with spans; or whole
                        texts alone, with spans
    substring loop      BigCode's: the file in lower case, one `in` after the other, done at the first that is found
    pyahocorasick       the file in lower case through one automaton of all texts, done at the first that is found

A file that a peer finds must be among ours, or nothing is printed.
"""

import ast
import hashlib
from collections.abc import Callable, Sequence

import pyarrow as pa

from benchmarks.comparison import Comparison, peer_module, take_turns
from benchmarks.source_files import LIBRARY, PACKAGES, SourceFile, as_batch, megabytes, source_files
from components.corpus.benchmark_search import BenchmarkSearch
from components.corpus.config import DecontaminateConfig
from components.corpus.folded_text import fold
from components.corpus.string_search import StringSearch
from components.evaluation.problem_table import ProblemRow, ProblemText
from components.tables import text_buffers

NUM_TEXTS = 3_000
SEARCHED_BYTES = 4_000_000
REPETITIONS = 3
CONFIG = DecontaminateConfig(recipe=1, min_match_chars=40, blanks="one_space", ngram_tokens=13, min_ngram_words=5)
_MAX_FILE_BYTES = 200_000
_MAX_TEXT_CHARS = 2_000
_LIBRARY_BYTES = 10_000_000


def compare() -> list[Comparison]:
    """A row for both scopes and each peer; AssertionError if a peer finds a file that ours does not."""
    texts, files = library_texts(NUM_TEXTS), searched_files(SEARCHED_BYTES)
    batch = as_batch(files)
    works = {
        "everything": everything_work(texts, batch),
        "whole": whole_texts_work(texts, batch),
        "substring loop": substring_work(texts, files),
        "pyahocorasick": automaton_work(texts, files),
    }
    measured = dict(zip(works, take_turns(list(works.values()), REPETITIONS), strict=True))
    found = {name: each.result for name, each in measured.items()}
    assert found["substring loop"] == found["pyahocorasick"] <= found["whole"] <= found["everything"]
    scopes = {"everything": f"{len(texts):,} texts and their 13-grams", "whole": f"{len(texts):,} texts whole"}
    return [
        Comparison(
            f"decontamination, {told}, {len(files)} files, spans",
            "MB/s",
            megabytes(files),
            peer,
            measured[ours].seconds,
            measured[peer].seconds,
        )
        for ours, told in scopes.items()
        for peer in ("substring loop", "pyahocorasick")
    ]


def everything_work(texts: Sequence[str], batch: pa.RecordBatch) -> Callable[[], set[int]]:
    """The rows that share a whole text or a run of tokens, as the step finds them."""
    search = BenchmarkSearch(problems(texts), CONFIG)
    return lambda: set(search.overlaps(batch).rows.tolist())


def problems(texts: Sequence[str]) -> list[ProblemRow]:
    return [
        ProblemRow(str(number), "library", (ProblemText("docstring", text),), None) for number, text in enumerate(texts)
    ]


def whole_texts_work(texts: Sequence[str], batch: pa.RecordBatch) -> Callable[[], set[int]]:
    """The rows that hold a text whole."""
    search = StringSearch(*fold(*text_buffers(pa.record_batch([pa.array(texts, pa.large_string())], ["content"]))))
    return lambda: set(search.occurrences(*fold(*text_buffers(batch))).rows.tolist())


def substring_work(texts: Sequence[str], files: Sequence[SourceFile]) -> Callable[[], set[int]]:
    lowered, contents = [text.lower() for text in texts], [file.content.decode() for file in files]
    return lambda: {
        row for row, content in enumerate(map(str.lower, contents)) if any(text in content for text in lowered)
    }


def automaton_work(texts: Sequence[str], files: Sequence[SourceFile]) -> Callable[[], set[int]]:
    automaton = peer_module("ahocorasick").Automaton()
    for text in texts:
        automaton.add_word(text.lower(), True)
    automaton.make_automaton()
    contents = [file.content.decode() for file in files]
    return lambda: {
        row for row, content in enumerate(contents) if any(found for _, found in automaton.iter(content.lower()))
    }


def searched_files(max_bytes: int) -> list[SourceFile]:
    return source_files(max_bytes, places=(PACKAGES,), suffixes=(".py",), max_file_bytes=_MAX_FILE_BYTES)


def library_texts(num_texts: int) -> list[str]:
    """Different docstrings and bodies of functions, chosen by their hash."""
    files = source_files(_LIBRARY_BYTES, places=(LIBRARY,), suffixes=(".py",), max_file_bytes=_MAX_FILE_BYTES)
    texts = {text for file in files for text in _texts_of(file.content.decode())}
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[:num_texts]


def _texts_of(source: str) -> list[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # the library has files of bad code for its own tests
        return []
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = [text for each in functions for text in (ast.get_docstring(each, clean=False), _body(source, each)) if text]
    return [
        text.strip()
        for text in found
        if CONFIG.min_match_chars < len(" ".join(text.split())) and len(text) < _MAX_TEXT_CHARS
    ]


def _body(source: str, function: ast.FunctionDef) -> str | None:
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not statements:
        return None
    return "\n".join(source.splitlines()[statements[0].lineno - 1 : statements[-1].end_lineno])
