"""Exact and near deduplication on tables: what is kept, and why the rest is not. About 5 s."""

import random
import re
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.corpus import deduplicate
from components.corpus.config import DeduplicateConfig
from components.corpus.minhash import band_keys, permutations, sign_texts
from components.tables import read_dropped, read_files, text_buffers
from model.reporting import ListSink, reporting_to


@pytest.fixture
def config() -> DeduplicateConfig:
    return DeduplicateConfig(
        recipe=1,
        kinds=("file", "notebook_script", "notebook", "issue"),
        lowercase=False,
        empty_tokens=False,
        num_permutations=256,
        ngram_tokens=5,
        jaccard_threshold=0.7,
        num_bands=25,
        rows_per_band=10,
        overrides={},
        seed=42,
    )


@pytest.fixture
def deduplicated(tmp_path, table_of, config):
    """Call it with rows: it returns the kept rows, the dropped rows and the summary."""

    def run(rows, config=config, shard_bytes=1 << 20, **changes):
        number = len(list(tmp_path.iterdir()))
        out, work_dir = tmp_path / f"out-{number}", tmp_path / f"work-{number}"
        out.mkdir()
        config = DeduplicateConfig.model_validate(config.model_dump() | changes)
        summary = deduplicate.run(config, redacted_files=table_of(rows, shard_bytes), out=out, work_dir=work_dir)
        kept = [row for batch in read_files(out) for row in batch.to_pylist()]
        dropped = [row for batch in read_dropped(out) for row in batch.to_pylist()]
        return kept, dropped, summary

    return run


def _text(words):
    return " ".join(words)


def _numbered(count, word="word"):
    return [f"{word}{number}" for number in range(count)]


def _changed(words, number=1):
    """The same words but for some in the middle."""
    middle = len(words) // 2
    return [*words[:middle], *_numbered(number, "other"), *words[middle + number :]]


def _shingles(text, size=5):
    tokens = re.findall(r"[A-Za-z0-9_]+", text, re.ASCII)
    return {tuple(tokens[first : first + size]) for first in range(len(tokens) - size + 1)}


def _jaccard(left, right):
    left, right = _shingles(left), _shingles(right)
    return len(left & right) / len(left | right) if left | right else 0.0


def test_of_equal_files_one_is_kept_and_named(deduplicated):
    rows = [{"path": path, "content": _text(_numbered(40))} for path in ("b/x.py", "a.py", "c.py")]
    kept, dropped, summary = deduplicated(rows)
    assert [row["path"] for row in kept] == ["a.py"]
    assert [row["rule"] for row in dropped] == ["exact_duplicate", "exact_duplicate"]
    assert all(kept[0]["file_id"] in row["detail"] for row in dropped)
    assert summary.distinct_contents == 1
    assert summary.files.dropped_by_rule == {"exact_duplicate": 2}


def test_a_nearly_equal_file_is_dropped_with_its_similarity(deduplicated):
    original = _numbered(200)
    changed = _changed(original)
    kept, dropped, summary = deduplicated(
        [{"path": "b.py", "content": _text(changed)}, {"path": "a.py", "content": _text(original)}]
    )
    assert [row["path"] for row in kept] == ["a.py"]
    (reason,) = dropped
    jaccard = _jaccard(_text(original), _text(changed))
    assert (reason["rule"], reason["value"], reason["threshold"]) == ("near_duplicate", f"{jaccard:.4f}", "0.7")
    assert reason["detail"] == f"kept {kept[0]['file_id']}, Jaccard {jaccard:.4f}"
    assert summary.compared_pairs == 1


def test_short_files_do_not_collapse_into_one(deduplicated):
    """BigCode's first version gives every file of fewer than five tokens the same signature and keeps one of them."""
    contents = ["", "x", "import os", "a b c d", "d c b a", "# ?"]
    kept, dropped, summary = deduplicated([{"content": content} for content in contents])
    assert [row["content"] for row in kept] == contents
    assert dropped == []
    assert summary.short_contents == 6
    assert summary.compared_pairs == 0


def test_short_files_that_are_equal_are_duplicates(deduplicated):
    kept, dropped, summary = deduplicated([{"content": "import os"}, {"content": "import os"}])
    assert len(kept) == 1
    assert [row["rule"] for row in dropped] == ["exact_duplicate"]
    assert summary.short_contents == 1


def test_a_chain_of_look_alikes_keeps_both_ends(deduplicated):
    """The ends resemble the middle and not each other: connected components would keep only one of the three."""
    words = _numbered(130)
    left, middle, right = words[:100], words[12:112], words[24:124]
    assert _jaccard(_text(left), _text(middle)) >= 0.7
    assert _jaccard(_text(left), _text(right)) < 0.7
    kept, dropped, _ = deduplicated(
        [
            {"path": "a.py", "content": _text(left)},
            {"path": "b.py", "content": _text(middle)},
            {"path": "c.py", "content": _text(right)},
        ]
    )
    assert [row["path"] for row in kept] == ["a.py", "c.py"]
    assert [row["path"] for row in dropped] == ["b.py"]


def test_raw_lsh_and_connected_components_without_verification_is_not_what_is_done(deduplicated):
    """The reference keeps one file of each component of the pairs that share a band: a third of what goes is unlike it.

    Here each version of a file moved on by 16 of 200 words: neighbours are alike, the first and the last share nothing.
    """
    words = _numbered(200 + 16 * 14)
    versions = [_text(words[16 * number : 16 * number + 200]) for number in range(15)]
    texts = pa.record_batch([pa.array(versions, pa.large_string())], names=["content"])
    minima, _ = sign_texts(*text_buffers(texts), permutations(256, 42), ngram_tokens=5)
    keys = band_keys(minima, num_bands=25, rows_per_band=10)
    components = list(range(len(versions)))
    for number, other in combinations(range(len(versions)), 2):
        if (keys[number] == keys[other]).any():
            joined, into = components[other], components[number]
            components = [into if component == joined else component for component in components]
    lost = [
        number for number, component in enumerate(components) if _jaccard(versions[number], versions[component]) < 0.7
    ]
    assert len(lost) >= 5

    kept, dropped, _ = deduplicated([{"path": f"{n:02d}.py", "content": text} for n, text in enumerate(versions)])
    assert dropped
    content_of = {row["file_id"]: row["content"] for row in kept}
    for row in dropped:
        stands_for_it = content_of[row["detail"].split()[1].rstrip(",")]
        assert _jaccard(versions[int(row["path"][:2])], stands_for_it) >= 0.7


def test_an_exact_copy_of_a_dropped_file_names_the_file_that_is_kept(deduplicated):
    original = _numbered(200)
    changed = _text(_changed(original))
    for shard_bytes in (1 << 20, 1):  # copies in one shard, and each in a shard of its own
        kept, dropped, _ = deduplicated(
            [
                {"path": "a.py", "content": _text(original)},
                {"path": "b.py", "content": changed},
                {"path": "c.py", "content": changed},
            ],
            shard_bytes=shard_bytes,
        )
        assert [row["rule"] for row in dropped] == ["near_duplicate", "near_duplicate"]
        assert all(row["detail"].startswith(f"kept {kept[0]['file_id']}") for row in dropped)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"path": "z/deep/x.py", "stars": 5}, {"path": "a.py", "stars": 4, "forks": 9, "updated_at": 2}),
        ({"path": "a.py", "stars": 1}, {"path": "a.py", "stars": None, "repository": "aa/aa"}),
        ({"path": "z/z.py", "forks": 1}, {"path": "a.py", "forks": None, "updated_at": 9}),
        ({"path": "z/z.py", "stars": None, "forks": 1}, {"path": "a.py", "stars": 0, "forks": 0}),
        ({"path": "z/z.py", "updated_at": 1_700_000_000}, {"path": "a.py", "updated_at": 1_600_000_000}),
        ({"path": "z/z.py", "updated_at": -1}, {"path": "a.py", "updated_at": None}),
        ({"path": "z.py"}, {"path": "a/a.py"}),
        ({"path": "a.py"}, {"path": "b.py"}),
        ({"path": "a.py", "repository": "a/a"}, {"path": "a.py", "repository": "b/b"}),
        ({"path": "a.py", "source": "a"}, {"path": "a.py", "source": "b"}),
    ],
)
def test_more_stars_then_forks_then_the_later_then_the_shallower_then_the_earlier_name_is_kept(
    deduplicated, better, worse
):
    words, others = _numbered(200), _numbered(200, "name")
    equal = [row | {"content": _text(words)} for row in (better, worse)]
    near = [better | {"content": _text(others)}, worse | {"content": _text(_changed(others))}]
    for rows, shard_bytes in ((equal + near, 1 << 20), ((equal + near)[::-1], 1)):
        kept, _, _ = deduplicated(rows, shard_bytes=shard_bytes)
        assert len(kept) == 2
        assert all(better.items() <= row.items() for row in kept)


def test_of_the_versions_of_one_path_the_newest_is_kept(deduplicated):
    words = _numbered(200)
    versions = [_text([*words, *_numbered(number, "added")]) for number in range(4)]
    rows = [
        {"path": "a.py", "commit": f"{number}" * 40, "updated_at": 1_600_000_000 + number, "content": text}
        for number, text in enumerate(versions)
    ]
    kept, dropped, _ = deduplicated(random.Random(5).sample(rows, 4))
    assert [row["commit"] for row in kept] == ["3" * 40]
    assert len(dropped) == 3


def test_files_of_different_kinds_are_never_duplicates(deduplicated):
    words = _numbered(200)
    rows = [{"kind": kind, "content": _text(words)} for kind in ("file", "issue", "commit", "notebook")]
    kept, dropped, summary = deduplicated(rows)
    assert len(kept) == 4
    assert dropped == []
    assert summary.distinct_contents == 4


def test_of_commits_only_equal_ones_are_dropped(deduplicated):
    words = _numbered(200)
    contents = [_text(words), _text(_changed(words)), _text(words)]
    kept, dropped, summary = deduplicated([{"kind": "commit", "content": content} for content in contents])
    assert [row["content"] for row in kept] == contents[:2]
    assert [row["rule"] for row in dropped] == ["exact_duplicate"]
    assert summary.compared_pairs == 0


def test_letter_case_counts_only_if_it_is_to_count(deduplicated):
    words = _numbered(200)
    rows = [{"content": _text(words)}, {"content": _text(words).upper()}]
    assert len(deduplicated(rows)[0]) == 2
    kept, dropped, _ = deduplicated(rows, lowercase=True)
    assert len(kept) == 1
    assert [row["value"] for row in dropped] == ["1.0000"]


def test_layout_counts_only_if_empty_tokens_do(deduplicated):
    words = _numbered(200)
    rows = [{"content": _text(words)}, {"content": "\n    ".join(words)}]
    assert len(deduplicated(rows)[0]) == 1
    assert len(deduplicated(rows, empty_tokens=True)[0]) == 2


def test_an_override_holds_for_its_extension(deduplicated):
    """BigCode: 3-grams for .nb, threshold 0.6 for .sas."""
    bands = {"num_bands": 64, "rows_per_band": 4}  # they find these pairs with near certainty
    overrides = {".nb": {"ngram_tokens": 3, **bands}, ".sas": {"jaccard_threshold": 0.6, **bands}}
    words = _numbered(100)
    similar = [f"other{number}" if number % 25 == 12 else word for number, word in enumerate(words)]
    assert 0.6 < _jaccard(_text(words), _text(similar)) < 0.7
    rows = []
    for extension in (".sas", ".py", ".nb"):
        rows += [
            {"path": f"a{extension}", "extension": extension, "content": f"{extension} {_text(words)}"},
            {"path": f"b{extension}", "extension": extension, "content": f"{extension} {_text(similar)}"},
        ]
    kept, dropped, _ = deduplicated(rows, overrides=overrides)
    reasons = {row["path"]: (row["threshold"], row["value"]) for row in dropped}
    assert set(reasons) == {"b.sas", "b.nb"}
    assert reasons["b.sas"][0] == "0.6"
    assert reasons["b.nb"][0] == "0.7"
    assert len(kept) == 4


def test_a_content_under_two_rules_is_judged_by_both(deduplicated):
    """The copies are equal under any rule; the .nb one is near a better .nb file, so all of them go."""
    words = _numbered(200)
    text, better = _text(words), _text(_changed(words))
    rows = [
        {"path": "a.py", "extension": ".py", "content": text},
        {"path": "b.nb", "extension": ".nb", "content": text},
        {"path": "c.nb", "extension": ".nb", "content": better, "stars": 1},
    ]
    for order in (rows, rows[::-1]):
        for shard_bytes in (1 << 20, 1):
            kept, dropped, _ = deduplicated(order, overrides={".nb": {"ngram_tokens": 3}}, shard_bytes=shard_bytes)
            assert [row["path"] for row in kept] == ["c.nb"]
            assert {row["path"]: row["rule"] for row in dropped} == dict.fromkeys(["a.py", "b.nb"], "near_duplicate")


def test_every_drop_of_a_real_file_is_justified_and_no_close_pair_is_left(deduplicated, library_files):
    """Many modules of `encodings` come from one template. 25 bands of 10 find a pair of 0.9 with 99.998 percent."""
    kept, dropped, _ = deduplicated(library_files)
    shingles_of = {row["path"]: _shingles(row["content"]) for row in library_files}
    path_of = {row["file_id"]: row["path"] for row in kept}
    for row in dropped:
        kept_id = re.match(r"kept (\w+), Jaccard", row["detail"])[1]
        left, right = shingles_of[row["path"]], shingles_of[path_of[kept_id]]
        similarity = len(left & right) / len(left | right)
        assert row["value"] == f"{similarity:.4f}"
        assert similarity >= 0.7
    assert len(dropped) >= 3
    by_size = sorted((shingles_of[row["path"]] for row in kept), key=len)
    for number, right in enumerate(by_size):
        close_in_size = (left for left in by_size[:number] if len(left) >= 0.9 * len(right))
        assert all(len(left & right) / len(left | right) < 0.9 for left in close_in_size if left)


some_documents = st.lists(
    st.lists(st.sampled_from([*"abcdefg"]), max_size=9).map(lambda words: _text(words * 2)), max_size=8
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(contents=some_documents, shard_bytes=st.sampled_from([1, 30, 1 << 20]))
def test_nothing_is_dropped_that_is_not_near_a_kept_file(deduplicated, contents, shard_bytes):
    rows = [{"content": content} for content in contents]
    wide = {"num_bands": 64, "rows_per_band": 2, "ngram_tokens": 2}
    kept, dropped, summary = deduplicated(rows, shard_bytes=shard_bytes, **wide)
    text_of_path = {f"src/file_{number:04d}.py": content for number, content in enumerate(contents)}
    content_of = {row["file_id"]: row["content"] for row in kept}
    assert sorted([row["path"] for row in kept] + [row["path"] for row in dropped]) == sorted(text_of_path)
    for row in dropped:
        like = content_of[row["detail"].split()[1].rstrip(",")]
        text = text_of_path[row["path"]]
        left, right = _shingles(text, 2), _shingles(like, 2)
        assert text == like or len(left & right) / len(left | right) >= 0.7
    assert summary.files.kept_files + summary.files.dropped_files == len(contents)
    assert summary.distinct_contents == len(set(contents))
    assert summary.short_contents == len({content for content in contents if not _shingles(content, 2)})


def test_an_empty_table_gives_an_empty_table(deduplicated):
    kept, dropped, summary = deduplicated([])
    assert (kept, dropped, summary.distinct_contents) == ([], [], 0)


def test_progress_counts_files(tmp_path, table_of, config):
    sink = ListSink()
    out = tmp_path / "out"
    out.mkdir()
    files = table_of([{"content": "a b c d e f"}])
    with reporting_to(sink):
        deduplicate.run(config, redacted_files=files, out=out, work_dir=tmp_path / "work")
    assert (1, 1, "files") in sink.progresses
