"""Which losses stand out, and whose they are. Some seconds."""

import re
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.document_index import UNKNOWN, Document, DocumentIndex, IndexWriter, Origin
from model.loss_guard import LEAST_RISE_NATS, LEAST_STEPS, WINDOW_STEPS, SpikeGuard, describe_batch
from model.token_shards import ShardWriter, TokenShards


def _told(losses):
    guard = SpikeGuard()
    return [step for step, loss in enumerate(losses) if guard.usual_before(loss) is not None]


def _falling(steps, noise=0.1):
    """As a training's losses do: from 10 down to 2, with noise."""
    return 2 + 8 * np.exp(-np.arange(steps) / 100) + np.random.default_rng(0).normal(0, noise, steps)


def test_a_training_that_goes_well_is_not_told():
    assert _told(_falling(2000)) == []


@pytest.mark.parametrize("rise", [1.5, 20.0])
def test_a_spike_is_told_and_the_next_step_is_not(rise):
    losses = _falling(1000)
    losses[700] += rise
    assert _told(losses) == [700]


def test_the_mean_that_is_told_is_that_of_the_steps_before():
    guard = SpikeGuard()
    for _ in range(LEAST_STEPS):
        assert guard.usual_before(3.0) is None
    assert guard.usual_before(3.0 + LEAST_RISE_NATS) is None
    assert guard.usual_before(9.0) == pytest.approx(3.0, abs=0.01)


def test_without_steps_before_nothing_stands_out():
    assert _told([*[3.0] * (LEAST_STEPS - 1), 100.0]) == []


def test_what_is_long_ago_does_not_count():
    assert _told([*[9.0] * 10, *[1.0] * WINDOW_STEPS, 2.0]) == [10 + WINDOW_STEPS]


@given(losses=st.lists(st.floats(0, 20), max_size=200))
def test_a_loss_below_the_mean_is_never_a_spike(losses):
    guard = SpikeGuard()
    for loss in losses:
        usual = guard.usual_before(loss)
        assert usual is None or loss > usual


class _Batches:
    """Every third sample is an issue; documents are shared by the samples of a source."""

    def __init__(self, *origins, tokens=(100, 60, 20)):
        documents = [Document(number, 500, origin) for number, origin in enumerate(origins)]
        self._told = list(zip(documents, tokens, strict=False))

    def window_of(self, number):
        return ("python" if number % 3 else "issue"), number

    def documents_of(self, number):
        return self._told


A, B = Origin("octo/cat", "src/a.py"), Origin("octo/dog", "issues/12")


def test_a_batch_is_named_by_its_samples_their_sources_and_their_documents():
    assert describe_batch(_Batches(A, B), step=1, batch_size=6) == (
        "samples 0 to 5 (issue 2, python 4), which read octo/cat:src/a.py (400 tokens), octo/dog:issues/12 (240 "
        "tokens), octo/cat:src/a.py (200 tokens) and octo/dog:issues/12 (120 tokens)"
    )
    assert describe_batch(_Batches(B, A), step=3, batch_size=2) == (
        "samples 4 to 5 (python 2), which read octo/dog:issues/12 (200 tokens) and octo/cat:src/a.py (120 tokens)"
    )
    assert describe_batch(_Batches(A), step=2, batch_size=1) == (
        "samples 1 to 1 (python 1), which read octo/cat:src/a.py (100 tokens)"
    )


def test_only_the_largest_documents_are_named_and_the_rest_are_counted():
    origins = [Origin(f"octo/r{number // 3}", f"m{number}.py") for number in range(20)]
    told = describe_batch(_Batches(*origins, tokens=range(20, 0, -1)), step=2, batch_size=1)
    named = ", ".join(f"octo/r{number // 3}:m{number}.py ({20 - number} tokens)" for number in range(8))
    assert told == f"samples 1 to 1 (python 1), which read {named} and 12 more documents of 5 repositories"
    told = describe_batch(_Batches(*origins[:9], tokens=range(20, 0, -1)), step=2, batch_size=1)
    assert told.endswith(" and 1 more document of 1 repository")


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (Origin("octo/cat", "a\x1b[31m\r\n\u202eb\ud800.py"), "octo/cat:a\\x1b[31m\\r\\n\\u202eb\\ud800.py"),
        (Origin("octo/cat", "\u4f60 \u00e9.py"), "octo/cat:\u4f60 \u00e9.py"),
        (Origin("octo/cat", "src/a.py", files=12), "octo/cat:src/a.py and 11 more files"),
        (UNKNOWN, "unknown"),
        (Origin("o/p", "x" * 5000 + "/a.py"), f"o/p:{'x' * 76}...{'x' * 75}/a.py"),
    ],
)
def test_whatever_a_path_holds_the_sentence_stays_a_line_of_a_terminal(origin, told):
    sentence = describe_batch(_Batches(origin), step=2, batch_size=1)
    assert sentence == f"samples 1 to 1 (python 1), which read {told} (100 tokens)"
    assert sentence.isprintable()


def test_an_index_that_cannot_be_read_takes_nothing_from_the_rest_of_the_sentence(tmp_path):
    class Unreadable(_Batches):
        def documents_of(self, number):
            return shards.documents("train", "python", 0, 2)

    writer = ShardWriter(tmp_path, 10, 50)
    writer.add("train", "python", [1], 1, A)
    writer.close()
    (tmp_path / "train-python-documents.parquet").write_bytes(b"no Parquet")
    shards = TokenShards(tmp_path)
    told = describe_batch(Unreadable(), step=1, batch_size=6)
    assert told.startswith("samples 0 to 5 (issue 2, python 4), whose documents cannot be told: ")
    assert told.endswith("; tokenize the corpus again")


def test_a_batch_of_a_large_corpus_is_named_in_seconds(tmp_path):
    """512 samples of 8,192 tokens from all over 200,000 documents: 0.2 s on two cores."""

    class Large(_Batches):
        def window_of(self, number):
            return "python", number * 7919 % 12_000

        def documents_of(self, number):
            start = self.window_of(number)[1] * 8192
            return [(one, one.tokens_within(start, 8193)) for one in index.overlapping(start, 8193)]

    writer = IndexWriter(tmp_path / "train-python-documents.parquet")
    for number in range(200_000):
        writer.append(500, Origin(f"octo/r{number // 20}", f"src/some/where/module_{number}.py"))
    index = DocumentIndex(tmp_path / "train-python-documents.parquet", writer.close())
    started = perf_counter()
    told = describe_batch(Large(), step=1, batch_size=512)
    assert perf_counter() - started < 5
    assert re.search(r" and \d{4} more documents of \d{3,4} repositories$", told)
