"""The benchmarks can be run: the list is whole, and what is ours in each works on a few files. No time is asserted."""

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import (
    decontamination,
    dedup_quality,
    deduplication,
    encode_text,
    quality_filters,
    redaction,
    whole_pipeline,
)
from benchmarks.__main__ import MODULES, main
from benchmarks.comparison import Comparison, Finding, take_turns
from benchmarks.source_files import SourceFile, as_batch, at_most, megabytes, source_files, write_table

ROOT = Path(__file__).parents[2]
SHARED = {
    "__main__",
    "comparison",
    "source_files",
    "peak_memory",
    "gpu_training",
    "orchestration",
}  # the last two are run by themselves: where there is a GPU, and where a run has left its data
PEERS = ("polars", "detect-secrets", "rensa", "daft", "datatrove", "tiktoken", "fastokens")
FUNCTION = '''def slowest(lengths, speed):
    """Hours and the rest that the longest of all takes at this speed, which must not be nothing."""
    longest = max(lengths)
    hours, rest = divmod(longest, speed)
    return hours + (1 if rest else 0)
'''


@pytest.fixture(scope="module")
def files():
    return source_files(300_000, suffixes=(".py", ".c", ".h", ".js"), max_file_bytes=40_000)


def _changed(file, old, new):
    return SourceFile(f"changed/{file.path}", file.content.replace(old, new))


def _pins(path):
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_every_module_is_on_the_list():
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert modules - SHARED == set(MODULES)
    for name in MODULES:
        assert callable(import_module(f"benchmarks.{name}").compare)


def test_a_name_that_is_not_on_the_list_ends_with_a_sentence():
    with pytest.raises(SystemExit, match="there is no benchmark 'speed'; there are deduplication"):
        main(["speed"])


def test_the_peers_change_nothing_that_the_runtime_pins_and_are_no_part_of_it():
    pins, peers = _pins(ROOT / "requirements.lock"), _pins(ROOT / "benchmarks" / "requirements.lock")
    assert {name: version for name, version in peers.items() if pins.get(name, version) != version} == {}
    assert set(PEERS) <= set(peers)
    assert set(PEERS).isdisjoint(pins)


def test_works_take_turns_and_the_first_turn_does_not_count():
    calls = []
    one, other = take_turns([lambda: calls.append("one") or 1, lambda: calls.append("other") or 2], 2)
    assert calls == ["one", "other"] * 3
    assert (one.result, other.result) == (1, 2)


def test_rates_are_compared_where_the_peer_is_given_less():
    assert Comparison("it", "MB/s", 8, "peer", 2, 3, 1.5).cells == ("it", "4.0 MB/s", "0.50 MB/s", "8.0x", "peer")
    assert Finding("it", "1", "2", "peer").cells == ("it", "1", "2", "", "peer")


def test_source_files_are_distinct_texts_in_one_order(files):
    assert 200_000 < sum(len(file.content) for file in files) <= 300_000
    assert len({file.content for file in files}) == len(files)
    assert source_files(300_000, suffixes=(".py", ".c", ".h", ".js"), max_file_bytes=40_000) == files
    few = at_most(50_000, files)
    assert few == files[: len(few)]
    assert 0 < megabytes(few) <= 0.05
    assert as_batch(files).column("content").to_pylist() == [file.content.decode() for file in files]


def test_deduplication_finds_a_planted_look_alike(files, tmp_path):
    longest = max(files, key=lambda file: len(file.content))
    planted = [*files, _changed(longest, longest.content[-40:], b" and another end of it all")]
    found = deduplication.our_work(write_table(planted, tmp_path / "table"), tmp_path)()
    stays = dedup_quality.stays_by(found, len(planted))
    bands = dedup_quality.band_keys(found, tmp_path / "ours-0")
    truth = dedup_quality.exact_pairs(planted)
    pair = sorted((planted.index(longest), len(planted) - 1))
    assert pair in truth.pairs.tolist()
    assert stays[pair].sum() == 1
    assert dedup_quality.over_deleted(truth, stays).startswith("0.0000 (0 of ")
    assert dedup_quality.resolved(truth, stays).startswith("1.0000")
    assert dedup_quality.stays_by_components(bands)[pair].tolist() == [True, False]


def test_exact_pairs_are_those_of_sets_compared_one_by_one(files):
    some = [*files[:12], *(_changed(file, b"e", b"o") for file in files[:4]), *(_changed(files[5], b"self", b"me"),)]
    some += [SourceFile("cut.py", file.content[: len(file.content) * 4 // 5]) for file in files[:12]]
    sets = []
    for file in some:
        tokens = deduplication.TOKEN.findall(file.content.decode(errors="ignore"))
        sets.append({tuple(tokens[first : first + 5]) for first in range(len(tokens) - 4)})
    expected = {}
    for one, left in enumerate(sets):
        for other in range(one + 1, len(sets)):
            jaccard = len(left & sets[other]) / max(1, len(left | sets[other]))
            if jaccard >= 0.7:
                expected[one, other] = jaccard
    truth = dedup_quality.exact_pairs(some)
    found = dict(zip(map(tuple, truth.pairs.tolist()), truth.similarity.tolist(), strict=True))
    assert len(expected) > 5
    assert found == pytest.approx(expected)


def test_over_deletion_and_recall_are_told_of_what_stays():
    truth = dedup_quality.Truth(np.array([[0, 1], [1, 2], [3, 4]]), np.array([0.9, 0.75, 0.8]))
    assert dedup_quality.over_deleted(truth, np.array([1, 0, 0, 1, 1, 0], bool)) == "0.6667 (2 of 3)"
    assert dedup_quality.resolved(truth, np.array([1, 0, 0, 1, 1, 0], bool)) == "0.6667 (2 of 3)"
    assert [(told, len(part.pairs)) for told, part in truth.ranges()] == [("J >= 0.8", 2), ("0.7 <= J < 0.8", 1)]


def test_quality_filters_say_of_every_file_whether_it_stays(files):
    batches = quality_filters.batches_of(files)
    mapped = quality_filters.our_work(batches, quality_filters.starcoder_rules())()
    assert sum(each.kept.num_rows + each.dropped.num_rows for each in mapped) == len(files)


def test_redaction_replaces_a_planted_address(files):
    before = redaction.our_work(files)()
    planted = [SourceFile("mail.py", b"# write to jane@acme.com\n"), *files]
    assert redaction.our_work(planted)() == before + 1
    assert (11, 24) in redaction.regex_work(planted[:1])()


def test_decontamination_finds_what_the_loop_finds(files):
    texts = decontamination.library_texts(30)
    assert len(set(texts)) == 30
    holding = SourceFile("holds.py", b"# copied\n" + texts[7].encode() + b"\n")
    planted = [*files[:10], holding]
    loop = decontamination.substring_work(texts, planted)()
    whole = decontamination.whole_texts_work(texts, as_batch(planted))()
    assert 10 in loop
    assert loop <= whole <= decontamination.everything_work(texts, as_batch(planted))()


def test_encoders_give_the_same_ids(files):
    learned, encoded = encode_text.divided(files)
    assert not set(learned) & set(encoded)
    tokenizer = encode_text.learn([file.content.decode() for file in learned], 600)
    ours, library = (work(tokenizer, encoded)() for work in (encode_text.our_work, encode_text.library_work))
    assert len(encoded) > 1
    assert [ids.tolist() for ids in ours] == list(library)


def test_the_whole_pipeline_goes_from_parquet_to_token_shards(files, tmp_path):
    prepared = whole_pipeline.prepare(tmp_path, files, 600, 20)
    artifact = write_table(files, tmp_path / "raw")
    for stage in whole_pipeline.stages_of(prepared):
        artifact = whole_pipeline.run_anew(stage, artifact, tmp_path)()
    assert sorted(path.name for path in artifact.iterdir())
    assert sum(path.stat().st_size for path in artifact.rglob("*.bin")) > 10_000


def test_files_of_an_artifact_are_what_was_written(files, tmp_path):
    assert whole_pipeline.files_of(write_table(files, tmp_path / "table")) == files
    assert isinstance(as_batch([]), pa.RecordBatch)
