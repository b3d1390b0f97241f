"""Bring the benchmark problems together: starloom's own, and further files in HumanEval's layout.

A file is JSON Lines, plain or gzipped, one problem a line, with the strings task_id, prompt, canonical_solution,
test and entry_point; `language` may be given and is python otherwise; other keys are left alone. The file's name
without endings is the benchmark's name. The problems are only stored: nothing here runs them.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from components.errors import SourceError
from components.evaluation.config import CollectProblemsConfig
from components.evaluation.problem_table import Problem, write_problems
from components.section import Summary

OWN_BENCHMARK = "starloom"
_REQUIRED = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
_MAX_LINE_BYTES = 2**24
"""16 MiB: no problem is that long, and a gzip file of a few kilobytes can hold a line that fills the memory."""


class CollectProblemsSummary(Summary):
    """What was collected."""

    problems: int
    problems_by_benchmark: dict[str, int]
    """In the order of collection."""


def resolve_sources(config: CollectProblemsConfig, workspace: Path) -> dict[str, str]:
    """sha256 of each file's bytes: our own under "starloom", the others under their configured path.

    SourceError for a file that cannot be read.
    """
    digests = {OWN_BENCHMARK: hashlib.sha256(_own_file()).hexdigest()}
    for name in config.problem_files:
        digests[name] = hashlib.sha256(_read(name, workspace)).hexdigest()
    return digests


def run(config: CollectProblemsConfig, *, workspace: Path, out: Path) -> CollectProblemsSummary:
    """Write eval_problems: our own problems, then those of each configured file in their order.

    SourceError names the file, the line and the mend.
    """
    problems = list(_parse(_own_file(), "problems.jsonl", OWN_BENCHMARK))
    benchmarks = {OWN_BENCHMARK}
    for name in config.problem_files:
        benchmark = Path(name).name.split(".")[0]
        if benchmark in benchmarks:
            raise SourceError(f"two problem files are called {benchmark!r}, the second is {name}; rename one")
        benchmarks.add(benchmark)
        problems.extend(_parse(_read(name, workspace), name, benchmark))
    write_problems(problems, out)
    counts = Counter(problem.benchmark for problem in problems)
    return CollectProblemsSummary(problems=len(problems), problems_by_benchmark=dict(counts))


def _own_file() -> bytes:
    return resources.files("components.evaluation").joinpath("problems.jsonl").read_bytes()


def _read(name: str, workspace: Path) -> bytes:
    path = workspace / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"there is no problem file {path}; correct collect_problems.problem_files") from None
    except OSError as error:
        raise SourceError(f"problem file {path} cannot be read: {error.strerror}; make it readable") from None


def _parse(data: bytes, name: str, benchmark: str) -> Iterator[Problem]:
    """The problems of one file; `name` is for errors."""
    line_of_task: dict[str, int] = {}
    for number, line in _numbered_lines(data, name):
        where = f"{name}, line {number}"
        problem = _problem(line, where, benchmark)
        if problem.task_id in line_of_task:
            first = line_of_task[problem.task_id]
            raise SourceError(f"{where}: task_id {problem.task_id!r} was used in line {first}; give each its own")
        line_of_task[problem.task_id] = number
        yield problem
    if not line_of_task:
        raise SourceError(f"{name} holds no problem; add one or take it out of collect_problems.problem_files")


def _numbered_lines(data: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, numbered from 1, unpacked if they are gzipped."""
    number = 0
    try:
        with gzip.open(io.BytesIO(data)) if data.startswith(b"\x1f\x8b") else io.BytesIO(data) as lines:
            while line := lines.readline(_MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > _MAX_LINE_BYTES:
                    raise SourceError(f"{name}, line {number} is longer than {_MAX_LINE_BYTES} bytes; split it")
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{name} is damaged after line {number} ({error}); fetch or pack it again") from None


def _problem(line: bytes, where: str, benchmark: str) -> Problem:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} is not JSON ({error}); write one JSON object a line") from None
    if not isinstance(row, dict):
        raise SourceError(f"{where} is not a JSON object; write one JSON object a line")
    values: dict[str, Any] = {"language": "python"} | row
    for key in (*_REQUIRED, "language"):
        if not isinstance(values.get(key), str):
            raise SourceError(f"{where}: {key!r} is {_told(values.get(key))}; HumanEval's layout has a string there")
        if not _is_unicode(values[key]):
            raise SourceError(f"{where}: {key!r} holds half a surrogate pair; escape the character whole")
    return Problem(benchmark=benchmark, language=values["language"], **{key: values[key] for key in _REQUIRED})


def _told(value: Any) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
