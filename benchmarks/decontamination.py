"""python -m benchmarks.decontamination: 3,000 texts looked for in real files, against a loop and an automaton.

The texts are docstrings and bodies of functions of Python's library; they are looked for in the packages of this
environment. The loop is BigCode's (`decontamination/find_substrings.py`): the file in lower case, one `in` after the
other, done at the first that is found. Ours finds every occurrence, in any layout, n-grams too, and tells the spans.
CPU-seconds of one thread, medians over repetitions in turn.
"""

import ast
import hashlib
import statistics
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ahocorasick
import pyarrow as pa

from benchmarks.comparison import Comparison
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


def compare() -> list[Comparison]:
    """Ours against each peer on the same files; AssertionError if a peer finds a file that ours does not."""
    texts = _functions_of_the_library()
    files = _files_of_the_environment()
    batch = pa.record_batch([pa.array(files, pa.large_string())], names=["content"])
    ways: dict[str, Callable[[], set[int]]] = {
        "everything": _everything(texts, batch),
        "whole texts": _whole_texts(texts, batch),
        "substring loop": _substring_loop(texts, files),
        "pyahocorasick": _automaton(texts, files),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + REPETITIONS):
        found: dict[str, set[int]] = {}
        for name, search in ways.items():
            started = time.process_time()
            found[name] = search()
            seconds[name].append(time.process_time() - started)
        assert found["substring loop"] == found["pyahocorasick"] <= found["whole texts"] <= found["everything"]
    taken = {name: statistics.median(each[1:]) for name, each in seconds.items()}  # the first turn warms up
    amount = sum(len(file.encode()) for file in files)
    scopes = {"everything": f"{len(texts):,} texts and their 13-grams", "whole texts": f"{len(texts):,} texts whole"}
    return [
        Comparison(f"decontamination, {what}, with spans", "bytes/s", amount, peer, taken[ours], taken[peer])
        for ours, what in scopes.items()
        for peer in ("substring loop", "pyahocorasick")
    ]


def _everything(texts: list[str], batch: pa.RecordBatch) -> Callable[[], set[int]]:
    rows = [
        ProblemRow(str(number), "library", (ProblemText("docstring", text),), None) for number, text in enumerate(texts)
    ]
    search = BenchmarkSearch(rows, CONFIG)
    return lambda: set(search.overlaps(batch).rows.tolist())


def _whole_texts(texts: list[str], batch: pa.RecordBatch) -> Callable[[], set[int]]:
    search = StringSearch(*fold(*text_buffers(pa.record_batch([pa.array(texts, pa.large_string())], ["content"]))))
    return lambda: set(search.occurrences(*fold(*text_buffers(batch))).rows.tolist())


def _substring_loop(texts: list[str], files: list[str]) -> Callable[[], set[int]]:
    lowered = [text.lower() for text in texts]

    def search() -> set[int]:
        return {row for row, file in enumerate(map(str.lower, files)) if any(text in file for text in lowered)}

    return search


def _automaton(texts: list[str], files: list[str]) -> Callable[[], set[int]]:
    automaton = ahocorasick.Automaton()
    for text in texts:
        automaton.add_word(text.lower(), True)
    automaton.make_automaton()

    def search() -> set[int]:
        return {row for row, file in enumerate(files) if any(found for _, found in automaton.iter(file.lower()))}

    return search


def _functions_of_the_library() -> list[str]:
    """Different docstrings and bodies, chosen by their hash."""
    texts = {
        text.strip()
        for source in _sources(Path(sysconfig.get_path("stdlib")), limit_bytes=10_000_000)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        for text in (ast.get_docstring(node, clean=False), _body(source, node))
        if text is not None and CONFIG.min_match_chars < len(" ".join(text.split())) and len(text) < _MAX_TEXT_CHARS
    }
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[:NUM_TEXTS]


def _body(source: str, function: ast.FunctionDef) -> str | None:
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not statements:
        return None
    return "\n".join(source.splitlines()[statements[0].lineno - 1 : statements[-1].end_lineno])


def _files_of_the_environment() -> list[str]:
    return list(_sources(Path(sysconfig.get_path("purelib")), SEARCHED_BYTES))


def _sources(root: Path, limit_bytes: int) -> Iterator[str]:
    """Python files that parse, in the order of their paths' hashes."""
    paths = (path for path in root.rglob("*.py") if "site-packages" not in path.relative_to(root).parts)
    done = 0
    for path in sorted(paths, key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest()):
        if path.stat().st_size > _MAX_FILE_BYTES:
            continue
        try:
            source = path.read_text(encoding="utf-8")
            ast.parse(source)
        except (UnicodeDecodeError, SyntaxError, ValueError):
            continue
        done += len(source.encode())
        if done > limit_bytes:
            return
        yield source
