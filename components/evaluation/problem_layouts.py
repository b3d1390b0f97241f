"""The layouts in which benchmarks are published, and what each problem's texts are that a corpus must not hold.

A layout is known by the fields of a row; the searched texts are those of BigCode's decontamination
(`decontamination/benchmark_data.py`): docstrings and solutions of HumanEval and MBPP, questions of APPS and GSM8K,
prompts of DS-1000 up to the place of the answer. We add the whole program, for its n-grams: lines that import are
left out of it, since the same dozen of `#include` lines stands in thousands of innocent files.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components.evaluation.problem_table import Problem, ProblemRow, ProblemText

MBPP_TEST_IDS = range(11, 511)
"""The test split of MBPP (arXiv 2108.07732, section 2.1: task_ids 11 to 510); others are for training or prompts."""

_DOCSTRING = re.compile(
    r'"""(?P<double>.*?)"""'
    r"|'''(?P<single>.*?)'''"
    r"|/\*+(?P<block>.*?)\*/"
    r"|(?P<lines>(?:^[ \t]*//[^\n]*(?:\n|\Z))+)",
    re.DOTALL | re.MULTILINE,
)
_IMPORT = re.compile(
    r"^[ \t]*(?:#[ \t]*include\b|using namespace\b|use |import\b|from [\w.]+ import\b|package )[^\n]*\n?", re.MULTILINE
)
_ANSWER_MARKERS = ("SOLUTION START", "BEGIN SOLUTION")
"""What stands before the place of the answer in DS-1000's prompts (BigCode, `decontamination/benchmark_data.py`)."""


class LayoutError(ValueError):
    """A row is not what its layout has; the message follows the place of the row."""


@dataclass(frozen=True)
class SourceRow:
    """A row of a benchmark file, and what it is called if it does not name itself."""

    values: Mapping[str, Any]
    benchmark: str
    number: int
    """Of its line, from 1."""

    def text(self, key: str) -> str:
        """The string under `key`; LayoutError for anything else."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise LayoutError(f"{key!r} is {'missing' if value is None else f'a {type(value).__name__}'}, not a string")
        return _sound(key, value)

    def texts(self, key: str) -> list[str]:
        """The string or the strings under `key`."""
        value = self.values.get(key)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return [_sound(key, each) for each in value]
        return [self.text(key)]

    def task_id(self, key: str = "task_id") -> str:
        """The string or number under `key`, else the line's number."""
        value = self.values.get(key)
        if isinstance(value, int):
            return str(value)
        return str(self.number) if value is None else self.text(key)

    def searched(self, *texts: ProblemText, task_id: str | None = None) -> ProblemRow:
        """A problem that is searched for only."""
        return ProblemRow(task_id or self.task_id(), self.benchmark, texts, None)


Reader = Callable[[SourceRow], ProblemRow | None]
"""Makes a problem of a row; None for a row that is no part of the test split."""


@dataclass(frozen=True)
class Layout:
    """How a benchmark's rows are told and read."""

    fields: frozenset[str]
    """A row with all of these may have this layout."""
    read: Reader


def _human_eval(row: SourceRow) -> ProblemRow:
    language = row.text("language") if "language" in row.values else "python"
    keys = ("prompt", "canonical_solution", "test", "entry_point")
    problem = Problem(row.text("task_id"), row.benchmark, language, *(row.text(key) for key in keys))
    texts = _program_texts(problem.prompt, problem.canonical_solution)
    return ProblemRow(problem.task_id, row.benchmark, texts, problem)


def _human_eval_x(row: SourceRow) -> ProblemRow:
    prompt, declaration = row.text("prompt"), row.text("declaration")
    signature = declaration.rstrip().rpartition("\n")[2]
    if signature not in prompt:  # in Rust's file the prompt is the comment alone
        prompt += declaration
    return row.searched(*_program_texts(prompt, row.text("canonical_solution")))


def _infilling(row: SourceRow) -> ProblemRow:
    prompt = row.text("prompt")
    body_start = max((found.end() for found in _DOCSTRING.finditer(prompt)), default=0)
    body = prompt[body_start:] + row.text("canonical_solution") + row.text("suffix")
    return row.searched(*_program_texts(prompt[:body_start], body))


def _mbpp(row: SourceRow) -> ProblemRow | None:
    task = row.values.get("task_id")
    if not isinstance(task, int):
        raise LayoutError(f"'task_id' is {'missing' if task is None else repr(task)}, not a whole number")
    if task not in MBPP_TEST_IDS:
        return None
    description = row.text("text" if "text" in row.values else "prompt")
    return row.searched(ProblemText("description", description), ProblemText("canonical_solution", row.text("code")))


def _apps(row: SourceRow) -> ProblemRow:
    key = "problem_id" if "problem_id" in row.values else "id"
    return row.searched(ProblemText("question", row.text("question")), task_id=row.task_id(key))


def _gsm8k(row: SourceRow) -> ProblemRow:
    return row.searched(ProblemText("question", row.text("question")))


def _ds_1000(row: SourceRow) -> ProblemRow:
    prompt = row.text("prompt")
    for marker in _ANSWER_MARKERS:
        prompt = prompt.partition(marker)[0]
    metadata = row.values.get("metadata")
    task = metadata.get("problem_id") if isinstance(metadata, dict) else None
    return row.searched(ProblemText("prompt", prompt), task_id=row.task_id() if task is None else str(task))


LAYOUTS: dict[str, Layout] = {
    "infilling": Layout(frozenset({"task_id", "prompt", "suffix", "canonical_solution"}), _infilling),
    "human_eval": Layout(frozenset({"task_id", "prompt", "canonical_solution", "test", "entry_point"}), _human_eval),
    "human_eval_x": Layout(frozenset({"task_id", "prompt", "declaration", "canonical_solution"}), _human_eval_x),
    "mbpp": Layout(frozenset({"task_id", "code", "test_list"}), _mbpp),
    "apps": Layout(frozenset({"question", "solutions"}), _apps),
    "gsm8k": Layout(frozenset({"question", "answer"}), _gsm8k),
    "ds_1000": Layout(frozenset({"prompt", "reference_code"}), _ds_1000),
}
"""By name; a row has the first layout whose fields it all has."""


def layout_of(values: Mapping[str, Any]) -> Layout:
    """The layout that a file has whose first row this is; LayoutError if none fits."""
    for layout in LAYOUTS.values():
        if layout.fields <= values.keys():
            return layout
    raise LayoutError(
        f"the fields {', '.join(sorted(values)) or '(none)'} are of no layout that is known ({', '.join(LAYOUTS)}); "
        "state what the file has as `fields`"
    )


def mapped_layout(fields: Mapping[str, str]) -> Layout:
    """The layout of a file that calls its texts otherwise: our kind of text to the file's field.

    The kinds are free, such as {"description": "question", "solution": "answer"}; `task_id` names the problem.
    """
    kinds = {kind: field for kind, field in fields.items() if kind != "task_id"}

    def read(row: SourceRow) -> ProblemRow:
        texts = [ProblemText(kind, text) for kind, field in kinds.items() for text in row.texts(field)]
        task = row.task_id(fields["task_id"]) if "task_id" in fields else str(row.number)
        return row.searched(*texts, task_id=task)

    return Layout(frozenset(kinds.values()), read)


def _program_texts(prompt: str, solution: str) -> tuple[ProblemText, ...]:
    """Docstrings, solution and program of a problem whose program is the one after the other."""
    docstrings = [next(filter(None, found.groups()), "") for found in _DOCSTRING.finditer(prompt)]
    return (
        *(ProblemText("docstring", text) for text in docstrings),
        ProblemText("canonical_solution", solution),
        ProblemText("program", _IMPORT.sub("", f"{prompt}{solution}")),
    )


def _sound(key: str, text: str) -> str:
    """`text`, if it is what can be searched for."""
    if "\0" in text:
        raise LayoutError(f"{key!r} holds a NUL character; take it out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LayoutError(f"{key!r} holds half a surrogate pair; escape the character whole") from None
    return text
