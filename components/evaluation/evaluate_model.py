"""Measure a model on text that it has not seen, beside a model that only counts bytes.

Bits per byte of whole held-out files come first: they compare models of any tokenizer and size, also those that
solve no problem yet. Everything is greedy or a plain sum, and the same on any number of processors.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tokenizers import Tokenizer

from components.errors import CorruptArtifactError, EmptyArtifactError, ParamsError
from components.evaluation.bits_per_byte import Passage, nats_of_passages
from components.evaluation.byte_model import ByteModel
from components.evaluation.config import EvaluateModelConfig
from components.evaluation.eval_report import (
    Baseline,
    EvalReport,
    FillInMiddleScore,
    HeldOut,
    LanguageScore,
    write_report,
)
from components.evaluation.fill_in_lines import SENTINELS, choose_lines, exact_match_fraction
from components.evaluation.problem_table import read_problems
from components.evaluation.solve_problems import score_problems
from components.file_sample import choose_files, rows_of
from components.section import Summary
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer
from model.huggingface_format import BundleError, load_bundle
from model.reporting import track
from model.transformer import CodeModel


class EvaluateModelSummary(Summary):
    """The figures that a promotion looks at."""

    held_out_files: int
    held_out_bytes: int
    bits_per_byte: float
    baseline_bits_per_byte: float
    solution_bits_per_byte: float
    syntax_valid_fraction: float
    fill_in_middle_exact_match_fraction: float
    perplexity_per_token: float


@dataclass(frozen=True)
class _HeldOutFile:
    file_id: str
    language: str
    text: str
    num_bytes: int


@dataclass(frozen=True)
class _FileScore:
    language: str
    num_bytes: int
    tokens: int
    nats: float
    baseline_bits: float


def run(
    config: EvaluateModelConfig, *, bundle: Path, corpus_splits: Path, eval_problems: Path, out: Path
) -> EvaluateModelSummary:
    """Write `report.json`.

    EmptyArtifactError without held-out files, ParamsError if answers leave no room for prompts, and
    CorruptArtifactError for a bundle that cannot be read.
    """
    model, tokenizer = _load(bundle)
    _require_room_for_prompts(config.max_new_tokens, model.config.context_length_tokens)
    files = _held_out_files(config, corpus_splits)
    scores = _score_files(config, model, tokenizer, corpus_splits, files)
    lines = choose_lines(((file.file_id, file.text) for file in files), config.num_fill_in_middle_cases, config.seed)
    problems = read_problems(eval_problems)
    whole = _sum_up("all", scores)
    tokens = sum(score.tokens for score in scores)
    report = EvalReport(
        format=1,
        split=config.split,
        held_out=HeldOut(files=whole.files, bytes=whole.bytes, tokens=tokens),
        bits_per_byte=whole.bits_per_byte,
        perplexity_per_token=math.exp(math.fsum(score.nats for score in scores) / tokens),
        baseline=Baseline(
            name=f"order-{config.baseline_order} byte model",
            order=config.baseline_order,
            bits_per_byte=whole.baseline_bits_per_byte,
        ),
        per_language=tuple(_by_language(scores)),
        problems=score_problems(model, tokenizer, problems, config.batch_size, config.max_new_tokens),
        fill_in_middle=FillInMiddleScore(
            cases=len(lines),
            exact_match_fraction=exact_match_fraction(model, tokenizer, lines, config.max_new_tokens),
        ),
    )
    write_report(report, out)
    return _summary(report)


def _load(bundle: Path) -> tuple[CodeModel, Tokenizer]:
    try:
        model = load_bundle(bundle)
    except BundleError as error:
        raise CorruptArtifactError(str(error)) from error
    tokenizer = load_text_tokenizer(bundle)
    if tokenizer.get_vocab_size() != model.vocab_size:
        raise CorruptArtifactError(
            f"{bundle} has a tokenizer of {tokenizer.get_vocab_size()} entries and a model of {model.vocab_size}; "
            "export the weights again"
        )
    return model, tokenizer


def _require_room_for_prompts(max_new_tokens: int, context_length: int) -> None:
    largest = context_length - SENTINELS - 2
    if max_new_tokens > largest:
        raise ParamsError(
            f"evaluate_model.max_new_tokens {max_new_tokens} leaves no room for a prompt in a context of "
            f"{context_length} tokens; lower it to {largest} or below"
        )


def _held_out_files(config: EvaluateModelConfig, corpus_splits: Path) -> list[_HeldOutFile]:
    """A seeded sample of whole files of the split, in the corpus's order; empty files measure nothing."""
    chosen = choose_files(corpus_splits, config.split, config.max_held_out_bytes, config.seed, plain=True)
    files = [
        _HeldOutFile(row["file_id"], row["language"] or "unknown", row["content"], row["size_bytes"])
        for row in rows_of(corpus_splits, config.split, ["file_id", "language", "content", "size_bytes"], plain=True)
        if row["file_id"] in chosen and row["size_bytes"] > 0
    ]
    if not files:
        raise EmptyArtifactError(
            f"no file of the {config.split} split fits evaluate_model.max_held_out_bytes {config.max_held_out_bytes}; "
            "raise it, hold out a larger fraction in split_corpus, or add sources"
        )
    return files


def _score_files(
    config: EvaluateModelConfig,
    model: CodeModel,
    tokenizer: Tokenizer,
    corpus_splits: Path,
    files: Sequence[_HeldOutFile],
) -> list[_FileScore]:
    passages = [Passage.of_text(encode_text(tokenizer, file.text)) for file in files]
    nats = nats_of_passages(model, passages, config.batch_size)
    train_rows = track(rows_of(corpus_splits, "train", ["content"], plain=True), None, "files counted")
    counting = ByteModel((row["content"].encode() for row in train_rows), config.baseline_order)
    return [
        _FileScore(
            language=file.language,
            num_bytes=file.num_bytes,
            tokens=len(passage.ids) - passage.first_scored,
            nats=file_nats,
            baseline_bits=counting.code_length_bits(file.text.encode()),
        )
        for file, passage, file_nats in zip(files, passages, nats, strict=True)
    ]


def _by_language(scores: Iterable[_FileScore]) -> list[LanguageScore]:
    ordered = sorted(scores, key=lambda score: score.language)
    return [_sum_up(language, list(group)) for language, group in groupby(ordered, key=lambda score: score.language)]


def _sum_up(language: str, scores: Sequence[_FileScore]) -> LanguageScore:
    num_bytes = sum(score.num_bytes for score in scores)
    return LanguageScore(
        language=language,
        files=len(scores),
        bytes=num_bytes,
        bits_per_byte=math.fsum(score.nats for score in scores) / math.log(2) / num_bytes,
        baseline_bits_per_byte=math.fsum(score.baseline_bits for score in scores) / num_bytes,
    )


def _summary(report: EvalReport) -> EvaluateModelSummary:
    return EvaluateModelSummary(
        held_out_files=report.held_out.files,
        held_out_bytes=report.held_out.bytes,
        bits_per_byte=report.bits_per_byte,
        baseline_bits_per_byte=report.baseline.bits_per_byte,
        solution_bits_per_byte=report.problems.solution_bits_per_byte,
        syntax_valid_fraction=report.problems.syntax_valid_fraction,
        fill_in_middle_exact_match_fraction=report.fill_in_middle.exact_match_fraction,
        perplexity_per_token=report.perplexity_per_token,
    )
