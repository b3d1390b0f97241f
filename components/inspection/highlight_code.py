"""Which parts of a text are keywords, strings, comments: Pygments' lexers, in processes that can be stopped.

A lexer is a list of patterns that backtrack, so a hostile file can hold one for hours or use up its stack. It therefore
runs in a process of its own, which is ended when it takes too long; the text is then shown without colours.
"""

import json
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self

from pygments.lexer import Lexer
from pygments.lexers import find_lexer_class_by_name
from pygments.token import Comment, Error, Generic, Keyword, Literal, Name, Number, Operator, Token
from pygments.util import ClassNotFound

MAX_SECONDS = 5.0
"""A lexer that takes longer on one text is stopped: at the usual 1 MB/s it could have read one of 5 MB."""

LEXERS = {
    "arduino": "cpp",
    "assembly": "nasm",
    "batchfile": "batch",
    "bluespec": "systemverilog",
    "c-sharp": "csharp",
    "f-sharp": "fsharp",
    "gettext-catalog": "po",
    "graphviz-dot": "dot",
    "java-server-pages": "jsp",
    "jupyter-notebook": "json",
    "literate-coffeescript": "markdown",
    "motorola-68k-assembly": "nasm",
    "objective-cpp": "objective-c++",
    "protocol-buffer": "protobuf",
    "rmarkdown": "markdown",
    "roff": "groff",
    "roff-manpage": "groff",
    "smt": "common-lisp",
    "standard-ml": "sml",
    "stylus": "sass",
    "svelte": "html",
    "svg": "xml",
    "vim-script": "vim",
    "web-ontology-language": "xml",
    "webassembly": "wat",
}
"""Pygments' name for a language where it is not ours, or the nearest it has."""

PLAIN = "_"

_LETTERS: dict[Any, str] = {
    Token: PLAIN,
    Comment: "c",
    Comment.Preproc: "p",
    Comment.PreprocFile: "s",
    Error: "e",
    Generic.Deleted: "d",
    Generic.Heading: "h",
    Generic.Inserted: "s",
    Generic.Subheading: "h",
    Keyword: "k",
    Keyword.Type: "t",
    Literal: "s",
    Name.Attribute: "a",
    Name.Builtin: "b",
    Name.Class: "t",
    Name.Decorator: "p",
    Name.Exception: "t",
    Name.Function: "f",
    Name.Namespace: "t",
    Name.Tag: "k",
    Name.Variable: "v",
    Number: "n",
    Operator.Word: "k",
}
"""One letter for a kind of token and those beneath it."""


class Marked(NamedTuple):
    """How a text is to be coloured."""

    runs: str
    """The text from its beginning as length and letter, for example `3k1_4f`; lengths in UTF-16 code units."""
    num_errors: int
    """Places where the lexer met what its language does not know."""


@dataclass(frozen=True)
class CodeText:
    """A text and the language to read it in."""

    language: str
    text: str


def mark_text(code: CodeText) -> Marked | None:
    """The marks of one text; None where Pygments has no lexer for its language. May take as long as a lexer pleases."""
    lexer = _lexer_of(code.language)
    if lexer is None:
        return None
    is_wide = max(code.text, default="") > "\uffff"
    runs: list[str] = []
    num_errors = read = 0
    for letter, tokens in groupby(lexer.get_tokens_unprocessed(code.text), key=lambda token: _letter_of(token[1])):
        value = "".join(part for _, _, part in tokens)
        num_errors += letter == "e"
        read += len(value)
        units = len(value.encode("utf-16-le")) // 2 if is_wide else len(value)
        runs.append(f"{units}{letter}")
    return Marked("".join(runs), num_errors) if read == len(code.text) else None


class Highlighter:
    """Marks texts, several at a time; a context manager that ends its processes."""

    def __init__(self, num_processes: int, max_seconds: float = MAX_SECONDS) -> None:
        self._num_processes = num_processes
        self._max_seconds = max_seconds
        self._idle: SimpleQueue[_LexerProcess] = SimpleQueue()
        self._processes: list[_LexerProcess] = []

    def __enter__(self) -> Self:
        for _ in range(self._num_processes):
            process = _LexerProcess(self._max_seconds)
            self._processes.append(process)
            self._idle.put(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.end()

    def mark_texts(self, texts: Iterable[CodeText]) -> Iterator[Marked | None]:
        """The marks of each text, in order; None for those that are shown without."""
        with ThreadPoolExecutor(self._num_processes) as threads:
            yield from threads.map(self._mark, texts)

    def _mark(self, code: CodeText) -> Marked | None:
        process = self._idle.get()
        try:
            return process.ask(code)
        finally:
            self._idle.put(process)


class _LexerProcess:
    """One process that marks one text after the other, started when it is needed and again when it was stopped."""

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._process: Any = None
        self._pipe: Connection | None = None

    def ask(self, code: CodeText) -> Marked | None:
        """The marks, or None if the process did not live to give them."""
        pipe = self._pipe or self._start()
        try:
            pipe.send_bytes(json.dumps([code.language, code.text]).encode())
            if pipe.poll(self._max_seconds):
                answer = json.loads(pipe.recv_bytes())
                return None if answer is None else Marked(*answer)
        except (EOFError, OSError):
            pass  # it died of the text
        self.end()
        return None

    def end(self) -> None:
        """Stop the process, whatever it does."""
        if self._pipe is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
            self._pipe = None

    def _start(self) -> Connection:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(_START_SECONDS):
            raise TimeoutError(f"a process to highlight code did not start in {_START_SECONDS} seconds")
        self._pipe.recv_bytes()
        return self._pipe


_START_SECONDS = 60.0


def _answer(pipe: Connection) -> None:
    """The life of a lexer's process: it says that it is there, then answers until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    with suppress(EOFError, OSError):  # until the other end is closed
        pipe.send_bytes(b"ready")
        while True:
            pipe.send_bytes(json.dumps(_marked(*json.loads(pipe.recv_bytes()))).encode())


def _marked(language: str, text: str) -> Marked | None:
    try:
        return mark_text(CodeText(language, text))
    except Exception:  # noqa: BLE001 - a lexer that trips over a text may raise anything; the text stays plain
        return None


@cache
def _lexer_of(language: str) -> Lexer | None:
    try:
        return find_lexer_class_by_name(LEXERS.get(language, language))()
    except ClassNotFound:
        return None


@cache
def _letter_of(kind: Any) -> str:
    """The letter of the nearest kind above that has one."""
    while kind not in _LETTERS:
        kind = kind.parent
    return _LETTERS[kind]
