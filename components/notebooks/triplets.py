"""A notebook as a document of text, code and output in turn, as StarCoder's structured Jupyter data.

Consecutive cells of one kind are one (arXiv 2402.19173, sections 2.4 and 5.4; bigcode-dataset,
preprocessing/jupyter-structured). A beginning of code without text and an end of text without code are left out, so
that each triplet is a text, the code that follows it, and what the last cell of that code put out. Raw cells and
blank cells are not there: neither do they part what they stand between.

The reference takes the `text` of the first output alone and loses results and errors. Here all outputs count in their
order, as a person sees them in the notebook: without terminal colours, and of a line that was written over with
carriage returns (a progress bar) only the last state.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from components.markup import mark, plain
from components.notebooks.read_notebook import Cell, Notebook, Output, OutputKind

Markdown = Literal["kept", "stripped"]

TRUNCATED = "[...]"
STREAMS = ("stdout", "stderr")

_TAG_OR_COMMENT = re.compile(r"</?[A-Za-z][^<>]*>|<!--[^<>]*-->")
_TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_WRITTEN_OVER = re.compile(r"^.*\r(?=[^\r\n])", re.MULTILINE)


@dataclass(frozen=True)
class Triplet:
    """One text, the code after it and its output; `output` is "" where there is none."""

    text: str
    code: str
    output: str


@dataclass(frozen=True)
class _Group:
    """Consecutive cells of one kind."""

    kind: str
    cells: tuple[Cell, ...]


def triplets_of(
    notebook: Notebook, markdown: Markdown, output_kinds: Sequence[OutputKind], max_output_chars: int
) -> tuple[Triplet, ...]:
    """The triplets in their order, none for a notebook that has no text before code.

    `markdown` "stripped" is StarCoder's way: HTML tags, `#` and line ends go, cells are joined with a space. "kept" is
    StarCoder2's; cells are joined with an empty line. An output above `max_output_chars` characters is cut there and
    ends with "[...]".
    """
    groups = _groups(notebook, markdown)
    groups = groups[1:] if groups and groups[0].kind == "code" else groups
    pairs = zip(groups[::2], groups[1::2], strict=False)
    joint = "\n\n" if markdown == "kept" else " "
    return tuple(
        Triplet(
            text=joint.join(cell.source for cell in text.cells),
            code="\n".join(cell.source for cell in code.cells),
            output=_shortened(shown_output(code.cells[-1].outputs, output_kinds), max_output_chars),
        )
        for text, code in pairs
    )


def document_of(triplets: Sequence[Triplet]) -> str:
    """The document with its special tokens as marks (`components/markup.py`)."""
    pieces = [mark("jupyter_start")]
    for triplet in triplets:
        output = plain(triplet.output) or mark("empty_output")
        pieces += [mark("jupyter_text"), plain(triplet.text), mark("jupyter_code"), plain(triplet.code)]
        pieces += [mark("jupyter_output"), output]
    return "".join(pieces)


def shown_output(outputs: Sequence[Output], kinds: Sequence[OutputKind]) -> str:
    """The text of the outputs of these kinds as it is seen, each beginning on a line of its own; "" if it is blank.

    Pieces of one stream that follow one another are put together before: a flush is no end of a line.
    """
    wanted = [output for output in outputs if output.kind in kinds]
    texts = ["".join(output.text for output in run) for run in _runs(wanted)]
    told = "\n".join(_seen(text) for text in texts)
    return told if told.strip() else ""


def _runs(outputs: Sequence[Output]) -> list[list[Output]]:
    """Outputs of one stream that follow one another together, every other output alone."""
    keyed = ((output.kind if output.kind in STREAMS else index, output) for index, output in enumerate(outputs))
    return [[output for _, output in run] for _, run in groupby(keyed, key=lambda pair: pair[0])]


def _seen(text: str) -> str:
    text = _TERMINAL_CODE.sub("", text).replace("\r\n", "\n")
    return _WRITTEN_OVER.sub("", text).replace("\r", "").strip("\n")


def _shortened(output: str, max_chars: int) -> str:
    return output if len(output) <= max_chars else output[:max_chars] + TRUNCATED


def _groups(notebook: Notebook, markdown: Markdown) -> list[_Group]:
    """Text is stripped before blank cells are left out: a cell of nothing but an image's tag is blank then."""
    cells = [
        Cell("markdown", _stripped(cell.source)) if cell.kind == "markdown" and markdown == "stripped" else cell
        for cell in notebook.cells
        if cell.kind != "raw"
    ]
    told = (cell for cell in cells if cell.source.strip())
    return [_Group(kind, tuple(run)) for kind, run in groupby(told, key=lambda cell: cell.kind)]


def _stripped(source: str) -> str:
    return " ".join(_TAG_OR_COMMENT.sub("", source).replace("#", "").split())
