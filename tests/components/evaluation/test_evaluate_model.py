import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from components.errors import CorruptArtifactError, EmptyArtifactError, ParamsError
from components.evaluation.byte_model import ByteModel
from components.evaluation.config import EvaluateModelConfig
from components.evaluation.evaluate_model import EvaluateModelSummary, run
from components.evaluation.problem_table import Problem, ProblemRow, write_problems
from components.file_sample import rows_of
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe

CorpusOf = Callable[[Sequence[tuple[str, str, str]]], Path]
Program = Callable[[int], str]


def _config(**changes: Any) -> EvaluateModelConfig:
    return EvaluateModelConfig.model_validate(
        {
            "recipe": 1,
            "split": "test",
            "max_held_out_bytes": 100_000,
            "baseline_order": 3,
            "batch_size": 8,
            "num_fill_in_middle_cases": 4,
            "max_new_tokens": 12,
            "seed": 5,
        }
        | changes
    )


@pytest.fixture
def corpus(corpus_of: CorpusOf, program: Program) -> Path:
    files = [("test" if number % 5 == 0 else "train", f"m{number}.py", program(number)) for number in range(30)]
    prose = "# Notes\n\nThe area of a circle of radius two is about twelve and a half.\n" * 3
    return corpus_of([*files, ("test", "notes.md", prose), ("test", "empty.py", ""), ("train", "n.md", prose[::-1])])


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    rows = [
        Problem(
            task_id=f"made-up/{number}",
            benchmark="made-up",
            language="python",
            prompt=f"def add_{number}(x):\n",
            canonical_solution=f"    return x + {number}\n",
            test="",
            entry_point=f"add_{number}",
        )
        for number in range(3)
    ]
    place = tmp_path / "problems"
    place.mkdir()
    searched_only = ProblemRow("made-up/3", "made-up", (), None)
    write_problems([*(ProblemRow(row.task_id, row.benchmark, (), row) for row in rows), searched_only], place)
    return place


@pytest.fixture
def evaluate(bundle: Path, corpus: Path, problems: Path, tmp_path: Path):
    def call(name: str = "out", **changes: Any) -> tuple[EvaluateModelSummary, dict[str, Any]]:
        out = tmp_path / name
        out.mkdir()
        summary = run(_config(**changes), bundle=bundle, corpus_splits=corpus, eval_problems=problems, out=out)
        return summary, json.loads((out / "report.json").read_bytes())

    return call


def test_the_report_measures_whole_held_out_files_by_language(evaluate: Any, corpus: Path, bundle: Path) -> None:
    summary, report = evaluate()
    texts = [row["content"] for row in rows_of(corpus, "test", ["content"]) if row["content"]]
    tokenizer = load_text_tokenizer(bundle)
    tokens = sum(len(encode_text(tokenizer, text)) for text in texts)
    num_bytes = sum(len(text.encode()) for text in texts)
    assert report["held_out"] == {"files": 7, "bytes": num_bytes, "tokens": tokens}
    assert [row["language"] for row in report["per_language"]] == ["markdown", "python"]
    for field in ("files", "bytes"):
        assert sum(row[field] for row in report["per_language"]) == report["held_out"][field]
    for field, whole in (("bits_per_byte", report), ("baseline_bits_per_byte", report["baseline"])):
        bits = sum(row[field] * row["bytes"] for row in report["per_language"])
        assert bits / num_bytes == pytest.approx(whole["bits_per_byte"], abs=1e-5)
    nats_per_token = report["bits_per_byte"] * math.log(2) * num_bytes / tokens
    assert report["perplexity_per_token"] == pytest.approx(math.exp(nats_per_token), rel=1e-4)
    assert summary.bits_per_byte == report["bits_per_byte"]
    assert summary.baseline_bits_per_byte == report["baseline"]["bits_per_byte"]


def test_the_baseline_counts_the_whole_train_split_and_codes_the_same_files(evaluate: Any, corpus: Path) -> None:
    _, report = evaluate(baseline_order=2)
    model = ByteModel((row["content"].encode() for row in rows_of(corpus, "train", ["content"])), 2)
    texts = [row["content"].encode() for row in rows_of(corpus, "test", ["content"])]
    bits = sum(model.code_length_bits(text) for text in texts) / sum(len(text) for text in texts)
    assert report["baseline"] == {"name": "order-2 byte model", "order": 2, "bits_per_byte": round(bits, 6)}
    assert report["baseline"]["bits_per_byte"] < report["bits_per_byte"], "a random network cannot be better"


def test_two_runs_write_the_same_bytes(evaluate: Any, tmp_path: Path) -> None:
    assert evaluate("first") == evaluate("second")
    assert (tmp_path / "first" / "report.json").read_bytes() == (tmp_path / "second" / "report.json").read_bytes()
    assert [file.name for file in (tmp_path / "first").iterdir()] == ["report.json"]


def test_no_more_bytes_than_asked_are_scored_and_they_are_chosen_by_seed(evaluate: Any) -> None:
    _, report = evaluate(max_held_out_bytes=1024)
    assert 0 < report["held_out"]["bytes"] <= 1024
    others = [evaluate(f"out-{seed}", max_held_out_bytes=1024, seed=seed)[1]["held_out"] for seed in range(4)]
    assert any(other != report["held_out"] for other in others)


def test_problems_and_lines_are_counted(evaluate: Any) -> None:
    _, report = evaluate(num_fill_in_middle_cases=0)
    assert report["fill_in_middle"] == {"cases": 0, "exact_match_fraction": 0.0}
    assert report["problems"]["count"] == 3
    assert report["problems"]["solution_bits_per_byte"] > 0
    _, report = evaluate("again")
    assert report["fill_in_middle"]["cases"] == 4


def test_a_split_without_files_is_refused(evaluate: Any) -> None:
    with pytest.raises(EmptyArtifactError, match=r"no file of the validation split .* hold out a larger fraction"):
        evaluate(split="validation")


def test_answers_that_leave_no_room_for_prompts_are_refused(evaluate: Any) -> None:
    with pytest.raises(ParamsError, match=r"max_new_tokens 60 leaves no room .* lower it to 59"):
        evaluate(max_new_tokens=60)
    evaluate("allowed", max_new_tokens=59)


def test_a_bundle_with_another_tokenizer_is_refused(evaluate: Any, bundle: Path) -> None:
    save_tokenizer(train_bpe(["a b c"], 275, 2), bundle)
    with pytest.raises(CorruptArtifactError, match="a tokenizer of 275 entries and a model of 320"):
        evaluate()


def test_damaged_weights_are_refused(evaluate: Any, bundle: Path) -> None:
    (bundle / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(CorruptArtifactError, match=r"model\.safetensors cannot be read .* export the model again"):
        evaluate()
