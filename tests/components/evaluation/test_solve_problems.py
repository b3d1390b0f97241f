import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from components.evaluation.problem_table import Problem
from components.evaluation.solve_problems import cut_answer, parses, score_problems, strip_prompt
from components.tokens.tokenizer_files import encode_text
from model.transformer import CodeModel


def _problem(prompt: str, solution: str, language: str = "python") -> Problem:
    return Problem("made-up/0", "made-up", language, prompt, solution, test="", entry_point="f")


def test_space_at_the_prompts_end_moves_to_the_solution() -> None:
    assert strip_prompt(_problem("def f(x):\n    ", "return x\n")) == ("def f(x):", "\n    return x\n")
    assert strip_prompt(_problem("int f()", " { return 1; }", "c")) == ("int f()", " { return 1; }")


@pytest.mark.parametrize(
    ("text", "complete", "kept"),
    [
        ("\n    return 1\n\ndef g():\n    pass", True, "\n    return 1\n"),
        ("\n    return 1\nif x:\n    y\nclass A", True, "\n    return 1"),
        ("\n    return 1\n# next", False, "\n    return 1"),
        ("\n    if x:\n        return", True, "\n    if x:\n        return"),
        ("\n    if x:\n        retu", False, "\n    if x:"),
        ("\n    x = 1\n```\n", True, "\n    x = 1"),
        (" unfinished", False, ""),
        ("", True, ""),
    ],
)
def test_an_answer_ends_where_something_new_begins(text: str, complete: bool, kept: str) -> None:
    assert cut_answer(text, complete=complete) == kept


@pytest.mark.parametrize(
    ("source", "accepted"),
    [
        ("def f():\n    return 1", True),
        ("def f():\n    return (1", False),
        ("def f():\nreturn 1", False),
        ("x = '\x00'", False),
        ("x = \ufffd", False),
        ("(" * 100_000, False),
        ("-" * 100_000 + "1", False),
        ("x = '\\d'", True),
    ],
)
def test_only_python_parses_and_no_text_breaks_the_parser(source: str, accepted: bool) -> None:
    with warnings.catch_warnings(action="error"):
        assert parses(source) is accepted


def test_what_is_parsed_is_not_run(tmp_path: Path) -> None:
    assert parses(f"import pathlib\npathlib.Path({str(tmp_path / 'written')!r}).touch()")
    assert list(tmp_path.iterdir()) == []


def test_a_uniform_model_needs_the_same_bits_for_each_token_of_a_solution(
    uniform_model: CodeModel, tokenizer: Tokenizer
) -> None:
    problems = [_problem("def f(x):\n", "    return x\n"), _problem("int g()", " { return 'caf\u00e9'; }", "c")]
    score = score_problems(uniform_model, tokenizer, problems, batch_size=2, max_new_tokens=8)
    solutions = [strip_prompt(problem)[1] for problem in problems]
    tokens = sum(len(encode_text(tokenizer, solution)) for solution in solutions)
    num_bytes = sum(len(solution.encode()) for solution in solutions)
    assert score.count == 2
    assert score.solution_bits_per_byte == pytest.approx(tokens * math.log2(320) / num_bytes, abs=1e-5)


def test_answers_of_python_problems_are_valid_if_they_parse_and_say_something(
    tokenizer: Tokenizer, model_that_learned: Callable[[Sequence[Sequence[int]]], CodeModel]
) -> None:
    answers = {
        "def a():": "\n    return 1\n\ndef g(",
        "def b():": "\n    return (1\n\nclass",
        "def c():\n    '''Doc.'''": "\n",
        "int d()": " { }",
    }
    problems = [_problem(prompt, "", "c" if prompt.startswith("int") else "python") for prompt in answers]
    learned = [
        [0, *encode_text(tokenizer, prompt), *encode_text(tokenizer, answer), 0] for prompt, answer in answers.items()
    ]
    score = score_problems(model_that_learned(learned), tokenizer, problems, batch_size=4, max_new_tokens=20)
    assert score.count == 4
    assert score.syntax_valid_fraction == pytest.approx(1 / 3, abs=1e-6)


def test_no_problems_give_zeros(uniform_model: CodeModel, tokenizer: Tokenizer) -> None:
    score = score_problems(uniform_model, tokenizer, [], batch_size=4, max_new_tokens=8)
    assert (score.count, score.solution_bits_per_byte, score.syntax_valid_fraction) == (0, 0.0, 0.0)
