"""A notebook as a script in jupytext's percent format: its code as it stands, its markdown as comments, no metadata.

Jupytext reads nbformat 4 only, so it is given cells built anew from what `read_notebook` read of any version. It is
called cell by cell: over a whole notebook its time grows with the square of the number of cells. Its percent format
comments out what Python cannot run (`%matplotlib inline`, `!ls`, cells of another language), and reads that back.

Raw cells are left out, they are neither code nor text for a reader; so are blank cells.
"""

import jupytext
from nbformat.notebooknode import NotebookNode

from components.notebooks.notebook_language import SCRIPT_EXTENSIONS
from components.notebooks.read_notebook import Cell, Notebook

# Jupytext takes a text apart with `str.splitlines`, which ends a line at more than `\n`, and joins it with `\n`: a
# U+2028 in a string would break the string. They travel as noncharacters, which `read_notebook` lets none through.
_SEPARATORS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_HIDDEN = {ord(separator): 0xFDD2 + index for index, separator in enumerate(_SEPARATORS)}
_SHOWN = {hidden: separator for separator, hidden in _HIDDEN.items()}

_NO_METADATA = {"format_name": "percent", "notebook_metadata_filter": "-all", "cell_metadata_filter": "-all"}
_ENCODING_LINE_END = "-*- coding: utf-8 -*-"


def script_of(notebook: Notebook, language: str) -> str:
    """The script, cells apart by a blank line, ending with a line's end; "" for a notebook without text or code.

    `language` is one of NOTEBOOK_LANGUAGES. Blank lines around a cell's source go, all other lines of code stay, those
    that are magics with a comment mark.
    """
    extension = SCRIPT_EXTENSIONS[language]
    cells = [cell for cell in notebook.cells if cell.kind != "raw" and cell.source.strip()]
    return "\n".join(_script_of_cell(cell, extension) for cell in cells)


def _script_of_cell(cell: Cell, extension: str) -> str:
    source = _without_blank_edges(cell.source).translate(_HIDDEN)
    of_kind = {"outputs": [], "execution_count": None} if cell.kind == "code" else {}
    node = NotebookNode(cell_type=cell.kind, source=source, metadata=NotebookNode(), **of_kind)
    whole = NotebookNode(nbformat=4, nbformat_minor=4, metadata=NotebookNode(), cells=[node])
    script = jupytext.writes(whole, _NO_METADATA | {"extension": extension})
    first, _, rest = script.partition("\n")
    # Put before cells of other languages than Python that are not ASCII; UTF-8 is what all files here are.
    return (rest if first.endswith(_ENCODING_LINE_END) else script).translate(_SHOWN)


def _without_blank_edges(source: str) -> str:
    lines = source.rstrip().split("\n")
    first = next(number for number, line in enumerate(lines) if line.strip())
    return "\n".join(lines[first:])
