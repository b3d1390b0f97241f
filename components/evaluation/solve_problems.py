"""Programming problems for models too small to solve them: how likely is the solution, does the answer parse.

Nothing that a model wrote is ever run; it is parsed. Prompts are stripped at their end, as StarCoder's harness
does (bigcode-evaluation-harness, `humaneval.py`): a token must not straddle the cut, so the newline and the
indentation belong to the answer.
"""

import ast
import math
import warnings
from collections.abc import Sequence

from tokenizers import Tokenizer

from components.evaluation.bits_per_byte import Passage, nats_of_passages
from components.evaluation.eval_report import ProblemScore
from components.evaluation.problem_table import Problem
from components.evaluation.torch_threads import map_pieces
from components.tokens.tokenizer_files import encode_text, special_ids
from model.generate import generate
from model.special_tokens import END_OF_TEXT
from model.transformer import CodeModel

STOP_STRINGS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```", "<file_sep>")
"""Where an answer ends (bigcode-evaluation-harness, `humaneval.py`): something new begins at a line's start."""


def score_problems(
    model: CodeModel, tokenizer: Tokenizer, problems: Sequence[Problem], batch_size: int, max_new_tokens: int
) -> ProblemScore:
    """Read the solutions and continue the prompts of the Python problems greedily."""
    tasks = [strip_prompt(problem) for problem in problems]
    passages = [
        Passage.of_text(encode_text(tokenizer, solution), given=encode_text(tokenizer, prompt))
        for prompt, solution in tasks
    ]
    nats = math.fsum(nats_of_passages(model, passages, batch_size))
    num_bytes = sum(len(solution.encode()) for _, solution in tasks)
    stop_ids = frozenset(special_ids(tokenizer).values())

    def answer(prompt: str) -> str:
        new_ids = generate(model, [END_OF_TEXT, *encode_text(tokenizer, prompt)], max_new_tokens, stop_ids=stop_ids)
        return cut_answer(tokenizer.decode(new_ids), complete=len(new_ids) < max_new_tokens)

    prompts = [prompt for problem, (prompt, _) in zip(problems, tasks, strict=True) if problem.language == "python"]
    answers = map_pieces(answer, prompts, "problems continued")
    valid = [bool(text.strip()) and parses(prompt + text) for prompt, text in zip(prompts, answers, strict=True)]
    return ProblemScore(
        count=len(problems),
        solution_bits_per_byte=nats / math.log(2) / max(num_bytes, 1),
        syntax_valid_fraction=sum(valid) / max(len(valid), 1),
    )


def strip_prompt(problem: Problem) -> tuple[str, str]:
    """The prompt without space at its end, and the canonical rest of the program."""
    prompt = problem.prompt.rstrip()
    return prompt, problem.prompt[len(prompt) :] + problem.canonical_solution


def cut_answer(text: str, *, complete: bool) -> str:
    """`text` up to its first stop string; without one, an answer that ran out of tokens loses its unfinished line."""
    ends = [place for place in map(text.find, STOP_STRINGS) if place >= 0]
    if ends:
        return text[: min(ends)]
    return text if complete else text[: max(text.rfind("\n"), 0)]


def parses(source: str) -> bool:
    """Whether Python's parser accepts `source`; it is not compiled and not run."""
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
