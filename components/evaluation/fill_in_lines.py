"""Fill-in-the-middle on held-out lines: the model sees what stands before and after one line, and has to write it.

The protocol of SantaCoder's single-line task (bigcode-evaluation-harness, `santacoder_fim`): prefix-suffix-middle
prompt, greedy, exact match of the stripped line. The answer ends at end-of-text or at its first newline.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from components.evaluation.torch_threads import map_pieces
from components.tokens.tokenizer_files import encode_text, special_ids
from model.generate import generate
from model.special_tokens import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX
from model.transformer import CodeModel

SENTINELS = 3


@dataclass(frozen=True)
class LineCase:
    """A line and its file around it; `prefix` + `line` + `suffix` is the file."""

    prefix: str
    line: str
    suffix: str


def choose_lines(files: Iterable[tuple[str, str]], count: int, seed: int) -> list[LineCase]:
    """`count` lines of the files (id and text), or all if there are fewer, that hold a letter or a digit.

    Lines are taken by the order of their seeded hash, which depends on seed, file and place alone.
    """
    chosen = heapq.nsmallest(count, _ranked_lines(files, seed), key=lambda ranked: ranked[0])
    return [LineCase(text[:start], text[start:end], text[end:]) for _, text, start, end in chosen]


def exact_match_fraction(
    model: CodeModel, tokenizer: Tokenizer, cases: Sequence[LineCase], max_new_tokens: int
) -> float:
    """Share of the lines that the model writes exactly, but for space around them; 0.0 without cases."""
    newlines = _newline_ids(tokenizer)
    room = model.config.context_length_tokens - max_new_tokens - SENTINELS

    def is_exact(case: LineCase) -> bool:
        prompt = prompt_ids(encode_text(tokenizer, case.prefix), encode_text(tokenizer, case.suffix), room)
        answer = generate(model, prompt, max_new_tokens, stop_ids=newlines)
        return tokenizer.decode(answer).strip() == case.line.strip()

    return sum(map_pieces(is_exact, cases, "lines filled in")) / max(len(cases), 1)


def prompt_ids(prefix: Sequence[int], suffix: Sequence[int], room: int) -> list[int]:
    """The prompt, sentinels around at most `room` ids: those nearest to the gap, at most half of them behind it
    unless there are few before it.
    """
    num_prefix = min(len(prefix), max(room - len(suffix), room - room // 2))
    num_suffix = min(len(suffix), room - num_prefix)
    nearest = prefix[len(prefix) - num_prefix :]
    return [FIM_PREFIX, *nearest, FIM_SUFFIX, *suffix[:num_suffix], FIM_MIDDLE]


def _ranked_lines(files: Iterable[tuple[str, str]], seed: int) -> Iterator[tuple[bytes, str, int, int]]:
    for file_id, text in files:
        start = 0
        for line in text.split("\n"):
            end = start + len(line)
            if any(character.isalnum() for character in line):
                yield hashlib.sha256(f"{seed}:{file_id}:{start}".encode()).digest(), text, start, end
            start = end + 1


def _newline_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Where an answer ends: special tokens, and tokens with a newline, which hold only space by GPT-2's pattern."""
    special = frozenset(special_ids(tokenizer).values())
    rest = range(len(special), tokenizer.get_vocab_size())
    return special | {number for number in rest if "\n" in tokenizer.decode([number])}
