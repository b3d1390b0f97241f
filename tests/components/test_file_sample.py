from collections.abc import Callable, Sequence
from pathlib import Path

from components.file_sample import choose_files, rows_of

CorpusOf = Callable[[Sequence[tuple[str, str, str]]], Path]


def _files(count: int) -> list[tuple[str, str, str]]:
    return [("train" if number % 3 else "test", f"{number}.py", f"{number:03d}" * 10) for number in range(count)]


def test_a_sample_fills_its_budget_with_whole_files_of_one_split(corpus_of: CorpusOf) -> None:
    corpus = corpus_of(_files(30))
    of_split = {row["file_id"] for row in rows_of(corpus, "train", ["file_id"])}
    chosen = choose_files(corpus, "train", 100, seed=1)
    assert len(chosen) == 3
    assert chosen < of_split
    assert choose_files(corpus, "train", 10**6, seed=1) == of_split


def test_a_sample_depends_on_its_seed_alone_and_not_on_the_order_of_files(corpus_of: CorpusOf) -> None:
    one, other = corpus_of(_files(30)), corpus_of(_files(30)[::-1])
    assert choose_files(one, "train", 200, seed=1) == choose_files(other, "train", 200, seed=1)
    assert choose_files(one, "train", 200, seed=1) != choose_files(one, "train", 200, seed=2)


def test_a_file_that_does_not_fit_leaves_room_for_smaller_ones(corpus_of: CorpusOf) -> None:
    corpus = corpus_of([("train", "large.py", "x" * 1000), ("train", "small.py", "x" * 10)])
    assert len(choose_files(corpus, "train", 500, seed=3)) == 1
    assert choose_files(corpus, "train", 5, seed=3) == frozenset()
