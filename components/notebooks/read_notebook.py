"""A notebook of any version as its cells, or the reason why it has none; nothing that a file says is an error.

Read by shape rather than by schema: nbformat 2 and 3 keep cells in worksheets and code in `input`, nbformat 4 in
`cells` and `source`, and files that mix them exist. Identifiers, counters and widgets are not read, so that neither
duplicate ids nor metadata that no schema allows cost a notebook. Of outputs only what is text is read, and images
pasted into markdown are left out.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, cast

from components.notebooks.guarded_json import JsonLimits, parse_json
from components.notebooks.notebook_language import LanguageHints, declared_language
from components.sources.source_files import Refusal

CellKind = Literal["code", "markdown", "raw"]
OutputKind = Literal["stdout", "stderr", "result", "error"]

READABLE_FORMATS = (2, 3, 4)
REPLACEMENT = "\ufffd"

_CELL_KINDS: dict[str, CellKind] = {
    "code": "code",
    "markdown": "markdown",
    "heading": "markdown",
    "html": "markdown",
    "text": "markdown",
    "raw": "raw",
    "plaintext": "raw",
    "rst": "raw",
}
_OUTPUT_KINDS: dict[str, OutputKind] = {
    "stream": "stdout",
    "execute_result": "result",
    "display_data": "result",
    "pyout": "result",
    "error": "error",
    "pyerr": "error",
}
_WANTED = frozenset(
    (
        *("nbformat", "metadata", "worksheets", "cells", "cell_type", "input", "source", "level", "language"),
        *("language_info", "file_extension", "kernelspec", "name", "display_name"),
        *("outputs", "output_type", "stream", "text", "data", "text/plain", "ename", "evalue", "traceback"),
    )
)
# What UTF-8 cannot spell, what no text file holds, and what Unicode reserves for a program's internal use.
_NOT_TEXT = re.compile("[\x00\ud800-\udfff\ufdd0-\ufdef]")
_PASTED_IMAGE = re.compile(r"data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=]+")
_MAX_HEADING_LEVEL = 6


@dataclass(frozen=True)
class Output:
    """One output of a code cell as text: what a stream said, the plain form of a result or display, or a traceback."""

    kind: OutputKind
    text: str


@dataclass(frozen=True)
class Cell:
    """One cell; its lines end with `\\n`. `outputs` are in the order of the notebook, those without text left out."""

    kind: CellKind
    source: str
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True)
class Notebook:
    """What is read of a notebook."""

    cells: tuple[Cell, ...]
    language: str | None
    """What its metadata declares; see `notebook_language.declared_language`."""
    replaced_chars: int = 0
    """Lone surrogates, NULs and noncharacters, each read as U+FFFD."""
    skipped_cells: int = 0
    """Cells of an unknown type or without a readable source."""


def read_notebook(data: bytes, limits: JsonLimits) -> Notebook | Refusal:
    """Read a notebook; never raises for what is in the file. Takes a few times the file's size in memory."""
    tree = parse_json(data, limits, _WANTED)
    if isinstance(tree, Refusal):
        return tree
    if not isinstance(tree, dict):
        return Refusal("not_notebook", f"a JSON {_kind_of(tree)}", "a JSON object")
    root = cast("dict[str, Any]", tree)
    version = root.get("nbformat", "missing")
    if type(version) is not int or version not in READABLE_FORMATS:
        return Refusal("notebook_format", json.dumps(version)[:40].strip('"'), "nbformat 2, 3 or 4")
    sheets = [root, *_objects(root.get("worksheets"))]
    lists = [sheet["cells"] for sheet in sheets if isinstance(sheet.get("cells"), list)]
    if not lists:
        return Refusal("not_notebook", "no list of cells", "a list of cells")
    return _Reader(version).notebook(root, [cell for cells in lists for cell in cells])


class _Reader:
    """Makes text of what may be anything, and counts what it could not."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._replaced_chars = 0

    def notebook(self, root: dict[str, Any], raw_cells: list[Any]) -> Notebook:
        cells = [self._cell(raw) for raw in raw_cells]
        read = tuple(cell for cell in cells if cell is not None)
        language = declared_language(self._hints(root, raw_cells))
        return Notebook(read, language, self._replaced_chars, len(cells) - len(read))

    def _cell(self, raw: Any) -> Cell | None:
        cell = _object(raw)
        kind = _CELL_KINDS.get(self._text(cell.get("cell_type")) or "")
        source = self._text(cell.get("source", cell.get("input", "")))
        if kind is None or source is None:
            return None
        source = source.replace("\r\n", "\n").replace("\r", "\n")
        if kind == "code":
            outputs = [self._output(output) for output in _objects(cell.get("outputs"))]
            return Cell(kind, source, tuple(output for output in outputs if output is not None))
        if cell["cell_type"] == "heading":
            source = f"{'#' * _heading_level(cell.get('level'))} {' '.join(source.split())}"
        return Cell(kind, _PASTED_IMAGE.sub("", source) if kind == "markdown" else source)

    def _output(self, raw: dict[str, Any]) -> Output | None:
        kind = _OUTPUT_KINDS.get(self._text(raw.get("output_type")) or "")
        if kind is None:
            return None
        if kind == "stdout" and "stderr" in (raw.get("name"), raw.get("stream")):
            kind = "stderr"
        if kind == "error":
            text = self._traceback(raw)
        else:
            text = self._text(_object(raw.get("data")).get("text/plain", raw.get("text")))
        return Output(kind, text) if text else None

    def _traceback(self, raw: dict[str, Any]) -> str:
        frames = raw.get("traceback")
        texts = [self._text(frame) or "" for frame in cast("list[Any]", frames)] if isinstance(frames, list) else []
        told = "\n".join(texts)
        return told if told.strip() else ": ".join(filter(None, (self._text(raw.get(n)) for n in ("ename", "evalue"))))

    def _text(self, value: Any) -> str | None:
        """A string, or a list of strings put together; None for anything else."""
        if value is None:
            return ""
        pieces = [value] if isinstance(value, str) else value
        if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in cast("list[Any]", pieces)):
            return None
        text = self._joined(cast("list[str]", pieces))
        if text.isascii() and "\0" not in text:
            return text
        text, replaced = _NOT_TEXT.subn(REPLACEMENT, text)
        self._replaced_chars += replaced
        return text

    def _joined(self, pieces: list[str]) -> str:
        """Before nbformat 4 lines were often stored without their ends."""
        has_ends = self._version >= 4 or (pieces and pieces[0].endswith(("\n", "\r")))
        return ("" if has_ends else "\n").join(pieces)

    def _hints(self, root: dict[str, Any], raw_cells: list[Any]) -> LanguageHints:
        metadata = _object(root.get("metadata"))
        info, kernel = _object(metadata.get("language_info")), _object(metadata.get("kernelspec"))
        of_cells = (_object(cell).get("language") for cell in raw_cells)
        languages = (info.get("name"), kernel.get("language"), next(filter(None, of_cells), None))
        kernels = (kernel.get("name"), kernel.get("display_name"))
        return LanguageHints(
            self._text(info.get("file_extension")) or "",
            tuple(self._text(name) or "" for name in languages),
            tuple(self._text(name) or "" for name in kernels),
        )


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [_object(item) for item in cast("list[Any]", value)] if isinstance(value, list) else []


def _heading_level(value: Any) -> int:
    return min(max(value, 1), _MAX_HEADING_LEVEL) if isinstance(value, int) else 1


def _kind_of(value: Any) -> str:
    kinds = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")
