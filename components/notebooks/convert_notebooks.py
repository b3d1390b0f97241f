"""The step that turns notebooks into text to learn from: scripts, and documents of text, code and output in turn.

Of raw_files only the rows that end in `.ipynb` are looked at; the others are filter_quality's business. A notebook
that can be read gives one row for each of `kinds`, kept or dropped; one that cannot be read, or has hardly any code,
is one dropped row. What is kept joins the files that passed filter_quality, so a script answers for its lines and
letters here.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.corpus.measure_text import TextMeasures, measure_text
from components.errors import ParamsError
from components.notebooks.config import ConvertNotebooksConfig
from components.notebooks.guarded_json import JsonLimits
from components.notebooks.notebook_language import SCRIPT_EXTENSIONS, guess_language
from components.notebooks.read_notebook import Notebook, read_notebook
from components.notebooks.scripts import script_of
from components.notebooks.triplets import document_of, triplets_of
from components.section import Summary
from components.shard_map import Mapped, map_shards
from components.sources.source_files import Refusal
from components.tables import FilesCounts, dropped_rows, text_buffers
from data_contracts.columns import CODE_FILES

NOTEBOOK_EXTENSION = ".ipynb"


class ConvertNotebooksSummary(Summary):
    """What the notebooks gave."""

    files: FilesCounts
    """Scripts and documents; a notebook that gives neither of them counts as two when it could be read."""
    notebooks: int
    """Rows that were looked at."""
    scripts_by_language: dict[str, int]
    guessed_scripts: int
    """Scripts whose language is told by their code alone."""
    documents: int
    triplets: int
    """In all documents together."""
    replaced_chars: int
    """Lone surrogates, NULs and noncharacters of the notebooks that could be read, each now U+FFFD."""
    skipped_cells: int
    """Cells of an unknown type or without a readable source, in notebooks that could be read."""


@dataclass(frozen=True)
class Converted:
    """One text that a notebook became."""

    kind: str
    content: str
    language: str
    extension: str


@dataclass(frozen=True)
class Conversion:
    """What became of one notebook: a text or the reason against it for each kind, or one reason against all."""

    outcomes: tuple[Converted | Refusal, ...]
    counts: Counter[str]


def run(config: ConvertNotebooksConfig, *, raw_files: Path, out: Path, work_dir: Path) -> ConvertNotebooksSummary:
    """Write scripts and documents, in the order of the notebooks; sources without a notebook give an empty table.

    Raises ParamsError for a document language that no notebook can declare.
    """
    for name in config.document_languages:
        if name not in SCRIPT_EXTENSIONS:
            raise ParamsError(
                f"convert_notebooks.document_languages names {name!r}, which no notebook is known to be in; write one "
                f"of {', '.join(SCRIPT_EXTENSIONS)}"
            )
    outcome = map_shards(partial(convert_batch, config=config), [raw_files], out, work_dir)
    counts = Counter(outcome.counts)
    scripts = {name: counts[f"scripts.{name}"] for name in SCRIPT_EXTENSIONS if counts[f"scripts.{name}"]}
    told = ("notebooks", "guessed_scripts", "documents", "triplets", "replaced_chars", "skipped_cells")
    return ConvertNotebooksSummary(
        files=outcome.files, scripts_by_language=scripts, **{name: counts[name] for name in told}
    )


def convert_batch(batch: pa.RecordBatch, config: ConvertNotebooksConfig) -> Mapped:
    """The texts of the batch's notebooks, with origin, licence and path of theirs and an id of their own."""
    texts, starts = text_buffers(batch)
    kept: list[tuple[int, Converted]] = []
    dropped: list[tuple[int, Refusal]] = []
    counts: Counter[str] = Counter()
    for row, extension in enumerate(batch.column("extension").to_pylist()):
        if extension != NOTEBOOK_EXTENSION:
            continue
        conversion = convert_notebook(texts[starts[row] : starts[row + 1]].tobytes(), config)
        counts.update(conversion.counts, notebooks=1)
        for outcome in conversion.outcomes:
            if isinstance(outcome, Refusal):
                dropped.append((row, outcome))
            else:
                kept.append((row, outcome))
    reasons = [refusal for _, refusal in dropped]
    refused = dropped_rows(
        batch,
        [row for row, _ in dropped],
        rules=[refusal.rule for refusal in reasons],
        values=[refusal.value for refusal in reasons],
        thresholds=[refusal.threshold for refusal in reasons],
        details=[refusal.detail for refusal in reasons],
    )
    return Mapped(_kept_rows(batch, kept), refused, counts)


def convert_notebook(data: bytes, config: ConvertNotebooksConfig) -> Conversion:
    """What one notebook gives; the `detail` of a reason names the kind that it stands against, "" for all."""
    notebook = read_notebook(data, JsonLimits(config.max_json_depth, config.max_json_values))
    if isinstance(notebook, Refusal):
        return Conversion((notebook,), Counter())
    counts = Counter(replaced_chars=notebook.replaced_chars, skipped_cells=notebook.skipped_cells)
    code_chars = sum(len(cell.source.strip()) for cell in notebook.cells if cell.kind == "code")
    if code_chars < config.min_code_chars:
        refusal = Refusal("code_chars", str(code_chars), str(config.min_code_chars))
        return Conversion((refusal,), counts)
    outcomes = {kind: _MAKERS[kind](notebook, config, counts) for kind in config.kinds}
    named = (replace(made, detail=kind) if isinstance(made, Refusal) else made for kind, made in outcomes.items())
    return Conversion(tuple(named), counts)


def derived_id(file_id: str, kind: str) -> str:
    """The `file_id` of what a file became: of that file's id and the kind, so that it stays when the rules change."""
    return hashlib.sha256(f"{file_id}\0{kind}".encode()).hexdigest()[:32]


def _script(notebook: Notebook, config: ConvertNotebooksConfig, counts: Counter[str]) -> Converted | Refusal:
    language = notebook.language or _guessed(notebook, config.min_guess_probability)
    if isinstance(language, Refusal):
        return language
    if language not in SCRIPT_EXTENSIONS:
        return Refusal("script_language", language, "a language that jupytext writes")
    told = [cell.source for cell in notebook.cells if cell.kind != "raw"]
    longest = int(_measured(told).max_line_chars.max())
    # Asked before jupytext: in languages with `//` its time grows with the square of a line's length.
    if longest > config.max_line_length_chars:
        return Refusal("max_line_length", str(longest), str(config.max_line_length_chars))
    script = script_of(notebook, language)
    refusal = _unlike_code(script, config)
    if refusal is not None:
        return refusal
    counts[f"scripts.{language}"] += 1
    counts["guessed_scripts"] += notebook.language is None
    return Converted("notebook_script", script, language, SCRIPT_EXTENSIONS[language])


def _guessed(notebook: Notebook, min_probability: float) -> str | Refusal:
    guess = guess_language("\n".join(cell.source for cell in notebook.cells if cell.kind == "code"))
    if guess.language is not None and guess.probability >= min_probability:
        return guess.language
    told = f"{guess.label} with {guess.probability:.2f}"
    return Refusal("guessed_language", told, f"a script language with {min_probability}")


def _document(notebook: Notebook, config: ConvertNotebooksConfig, counts: Counter[str]) -> Converted | Refusal:
    language = notebook.language or "unknown"
    if language not in config.document_languages:
        return Refusal("document_language", language, ", ".join(config.document_languages))
    triplets = triplets_of(notebook, config.markdown, config.output_kinds, config.max_output_chars)
    if not triplets:
        return Refusal("triplets", "no text followed by code", "1")
    counts.update(documents=1, triplets=len(triplets))
    return Converted("notebook", document_of(triplets), language, NOTEBOOK_EXTENSION)


_Maker = Callable[[Notebook, ConvertNotebooksConfig, "Counter[str]"], Converted | Refusal]
_MAKERS: dict[str, _Maker] = {"notebook_script": _script, "notebook": _document}


def _unlike_code(script: str, config: ConvertNotebooksConfig) -> Refusal | None:
    """The first of filter_quality's rules that the script fails, as that step would put it."""
    measures = _measured([script])
    longest, mean = int(measures.max_line_chars[0]), float(measures.mean_line_chars[0])
    letters = float(measures.alphanumeric_fraction[0])
    rules = (
        ("max_line_length", longest > config.max_line_length_chars, str(longest), config.max_line_length_chars),
        (
            "mean_line_length",
            mean > config.max_mean_line_length_chars,
            f"{mean:.4f}",
            config.max_mean_line_length_chars,
        ),
        (
            "alphanumeric_fraction",
            letters < config.min_alphanumeric_fraction,
            f"{letters:.4f}",
            config.min_alphanumeric_fraction,
        ),
    )
    return next((Refusal(name, value, str(limit)) for name, fails, value, limit in rules if fails), None)


def _measured(texts: Sequence[str]) -> TextMeasures:
    column: Any = pa.array(texts, pa.large_string())
    return measure_text(pa.RecordBatch.from_arrays([column], ["content"]))


def _kept_rows(batch: pa.RecordBatch, kept: Sequence[tuple[int, Converted]]) -> pa.RecordBatch:
    """Rows like the notebooks' own but for what is the text's."""
    contents = [converted.content.encode("utf-8") for _, converted in kept]
    rows = pa.array([row for row, _ in kept], pa.int64())
    file_ids: list[str] = batch.column("file_id").take(rows).to_pylist()
    changed: dict[str, list[Any]] = {
        "file_id": [derived_id(file_id, made.kind) for file_id, (_, made) in zip(file_ids, kept, strict=True)],
        "kind": [converted.kind for _, converted in kept],
        "content": [converted.content for _, converted in kept],
        "content_sha256": [hashlib.sha256(content).hexdigest() for content in contents],
        "size_bytes": [len(content) for content in contents],
        "language": [converted.language for _, converted in kept],
        "extension": [converted.extension for _, converted in kept],
    }
    columns = [
        pa.array(changed[field.name], field.type) if field.name in changed else batch.column(field.name).take(rows)
        for field in CODE_FILES
    ]
    return pa.RecordBatch.from_arrays(columns, schema=CODE_FILES)
