"""The tagger: off by default and free, trainable in seconds at a toy size, exact to the byte, better than guessing."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import load_config
from components.errors import CorruptArtifactError, EmptyArtifactError
from components.redaction import redact_secrets
from components.redaction.pii_examples import choose_code_files, examples_of
from components.redaction.pii_labels import ENTITIES, LabelledSpan, labels_of, spans_of
from components.redaction.pii_pieces import split_pieces
from components.redaction.pii_tagger import PiiTagger, windows_of
from components.redaction.train_pii_tagger import run
from components.tables import read_files

ROOT = Path(__file__).parents[3]
TOY = {"num_layers": 1, "hidden_size": 48, "num_heads": 2, "feed_forward_size": 96, "context_length_tokens": 128}


def config(**changes):
    section = load_config(ROOT / "params.yaml").train_pii_tagger
    toy = section.encoder.model_copy(update=TOY | {"num_features": 4096, "init_std": 0.1})
    few = {"max_steps": 300, "validate_every_steps": 100, "warmup_steps": 10, "batch_size": 8, "learning_rate": 4e-3}
    training = section.training.model_copy(update=few)
    small = {
        "num_files": 200,
        "excerpt_lines": 12,
        "plants_per_file": 4,
        "overlap_tokens": 32,
        "encoder": toy,
        "training": training,
    }
    return section.model_copy(update=small | changes)


def test_off_by_default_it_costs_nothing_and_says_so(table_of, tmp_path):
    summary = run(load_config(ROOT / "params.yaml").train_pii_tagger, permitted_files=table_of([]), out=tmp_path)
    assert not summary.enabled
    assert PiiTagger.load(tmp_path) is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory, library_files):
    """Two trainings of a toy tagger on the same files; the artifacts and the summary."""
    from components.tables import FilesWriter  # noqa: PLC0415 - the function-scoped fixture cannot serve a module

    outs = [tmp_path_factory.mktemp("tagger") for _ in range(2)]
    table = tmp_path_factory.mktemp("table")
    with FilesWriter(table) as writer:
        writer.keep(batch_of(library_files))
    summaries = [run(config(enabled=True), permitted_files=table, out=out) for out in outs]
    return outs, summaries, table


def batch_of(rows):
    import pyarrow as pa  # noqa: PLC0415

    from data_contracts.columns import CODE_FILES  # noqa: PLC0415

    base = {"kind": "file", "source": "made-up", "repository": "o/p", "extension": ".py", "language": "python"}
    full = [
        base
        | {"file_id": f"{number:032x}", "content_sha256": f"{number:064x}", "size_bytes": len(row["content"].encode())}
        | row
        for number, row in enumerate(rows)
    ]
    return pa.RecordBatch.from_pylist(full, schema=CODE_FILES)


def test_the_same_files_give_the_same_bytes(trained):
    (first, second), (one, other), _ = trained
    assert one == other
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }


def test_held_out_scores_beat_tagging_nothing_and_are_told_per_entity(trained):
    (out, _), (summary, _), _ = trained
    scores = json.loads((out / "scores.json").read_text())
    assert summary.held_out_f1 == scores["all"]["f1"] > 0.1
    assert {"NAME", "EMAIL", "KEY", "IP_ADDRESS", "PASSWORD", "USERNAME", "all"} == set(scores)
    assert scores["all"]["support"] > 50


def test_what_is_said_of_a_text_depends_on_that_text_alone(trained):
    (out, _), _, table = trained
    tagger = PiiTagger.load(out)
    files = choose_code_files(table, 40, 1)
    texts = [example.text for example in examples_of(files, "train", 3, 20, 1)][:8]
    together = tagger.spans(texts)
    assert together == [tagger.spans([text])[0] for text in texts]
    for text, spans in zip(texts, together, strict=True):
        for span in spans:
            assert 0 <= span.start_byte < span.end_byte <= len(text)


def redacted(table, tagger, place):
    """The rows after redaction with all rules and the tagger, if there is one."""
    section = load_config(ROOT / "params.yaml").redact_secrets
    section = section.model_copy(update={"entities": (*section.entities, "username")})
    (place / "out").mkdir(parents=True)
    redact_secrets.run(section, permitted_files=table, pii_tagger=tagger, out=place / "out", work_dir=place / "work")
    return place / "out"


def rows_of(table):
    return [row for batch in read_files(table) for row in batch.to_pylist()]


def test_with_the_tagger_a_second_pass_changes_nothing_and_its_spans_are_told(trained, table_of, tmp_path):
    (tagger, _), _, table = trained
    planted = examples_of(choose_code_files(table, 60, 1), "train", 3, 20, 1)
    files = table_of([{"content": example.text.decode()} for example in planted])
    once = redacted(files, tagger, tmp_path / "once")
    assert rows_of(redacted(once, tagger, tmp_path / "twice")) == rows_of(once)
    found = pq.read_table(once / "redactions-00000.parquet").to_pylist()
    assert len([row for row in found if row["rule"].startswith("tagged_")]) > 20
    before = {row["file_id"]: row["content"].encode() for row in rows_of(files)}
    for row in rows_of(once):
        pieces, end = [], 0
        for span in (span for span in found if span["file_id"] == row["file_id"]):
            pieces.append(re.escape(before[row["file_id"]][end : span["start_byte"]]))
            end = span["end_byte"]
        pattern = rb"[^\n]+?".join([*pieces, re.escape(before[row["file_id"]][end:])])
        assert re.fullmatch(pattern, row["content"].encode())


def test_a_tagger_that_takes_the_place_of_another_is_the_one_that_is_asked(trained, table_of, tmp_path):
    (tagger, _), _, table = trained
    planted = examples_of(choose_code_files(table, 60, 1), "train", 3, 20, 1)
    files = table_of([{"content": example.text.decode()} for example in planted])
    place = tmp_path / "pii_tagger"
    shutil.copytree(tagger, place)
    tagged = rows_of(redacted(files, place, tmp_path / "tagged"))
    shutil.rmtree(place)
    place.mkdir()
    run(load_config(ROOT / "params.yaml").train_pii_tagger, permitted_files=table, out=place)
    by_rules = rows_of(redacted(files, place, tmp_path / "by_rules"))
    assert by_rules == rows_of(redacted(files, place, tmp_path / "again")) != tagged


def test_planting_keeps_the_code_and_knows_every_span(trained):
    _, _, table = trained
    for example in examples_of(choose_code_files(table, 40, 1), "train", 3, 20, 1):
        for span in example.spans:
            assert example.text[span.start_byte : span.end_byte].strip()
        ends = [span.end_byte for span in example.spans]
        assert ends == sorted(ends)


def test_too_few_files_are_told(table_of, tmp_path):
    with pytest.raises(EmptyArtifactError, match="no example for its part"):
        run(config(enabled=True), permitted_files=table_of([{"content": "x = 1\n"}]), out=tmp_path)


def test_a_damaged_tagger_is_told(trained, tmp_path):
    (out, _), _, _ = trained
    (tmp_path / "tagger.json").write_bytes((out / "tagger.json").read_bytes())
    (tmp_path / "weights.safetensors").write_bytes((out / "weights.safetensors").read_bytes()[:-100])
    with pytest.raises(CorruptArtifactError, match="holds no tagger"):
        PiiTagger.load(tmp_path)


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, *ENTITIES])), max_size=12))
def test_labels_and_spans_are_two_forms_of_one_thing(runs):
    spans, place = [], 0
    for length, entity in runs:
        if entity:
            spans.append(LabelledSpan(place, place + length, entity))
        place += length
    starts = np.arange(place, dtype=np.int64)
    assert spans_of(starts, starts + 1, labels_of(starts, starts + 1, spans)) == spans


@given(st.binary(max_size=200))
def test_pieces_lie_in_order_and_leave_out_blanks_only(text):
    pieces = split_pieces(text, 1024)
    assert (pieces.starts < pieces.ends).all()
    assert (pieces.ends[:-1] <= pieces.starts[1:]).all()
    covered = np.zeros(len(text), bool)
    for start, end in zip(pieces.starts, pieces.ends, strict=True):
        covered[start:end] = True
    assert not any(not inside and bytes((byte,)).isalnum() for inside, byte in zip(covered, text, strict=True))


@given(st.integers(0, 3000), st.integers(8, 300), st.integers(0, 7))
def test_windows_keep_each_piece_once(num_tokens, length, overlap):
    kept = [
        place
        for window in windows_of(num_tokens, length, overlap)
        for place in range(window.start, window.end)[window.kept]
    ]
    assert kept == list(range(num_tokens))
