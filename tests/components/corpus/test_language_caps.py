"""How much of a language is kept: bytes and shares, whatever the order and the batches."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus.language_caps import caps_of, file_rank
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_presets import PRESETS

FILES = st.lists(
    st.tuples(st.uuids().map(lambda uuid: uuid.hex), st.sampled_from(["css", "json", "python"]), st.integers(0, 50)),
    max_size=60,
    unique_by=lambda file: file[0],
)


def config(max_bytes, fractions=None, seed=7):
    raw = {
        "recipe": 1,
        "languages": {"select": "starcoder"},
        "max_bytes_by_language": max_bytes,
        "keep_fraction_by_language": fractions or {},
        "seed": seed,
        "content_model": "none",
        "hidden_characters": "keep",
        "inspection_file": None,
    }
    return FilterQualityConfig.model_validate(raw | PRESETS["starcoder"])


def batches_of(files, size):
    for start in range(0, len(files), size):
        ids, languages, sizes = zip(*files[start : start + size], strict=True)
        yield pa.RecordBatch.from_pydict({"file_id": ids, "language": languages, "size_bytes": sizes})


def kept(files, caps, seed=7):
    threshold = {cap.language: cap.threshold for cap in caps}
    return {file for file in files if file_rank(seed, file[0]) < threshold.get(file[1], 2**64)}


@given(FILES, st.integers(1, 400), st.integers(1, 9), st.randoms())
def test_the_draw_fills_the_cap_and_knows_neither_order_nor_batches(files, limit, size, random):
    parameters = config({"css": limit})
    caps = caps_of(batches_of(files, 50), parameters)
    shuffled = random.sample(files, len(files))

    assert caps_of(batches_of(shuffled, size), parameters) == caps
    left = kept(files, caps)
    css = sorted((file_rank(7, file[0]), file) for file in files if file[1] == "css")
    assert sum(file[2] for file in left if file[1] == "css") <= limit
    assert {file for file in files if file[1] != "css"} <= left
    out = [file for _, file in css if file not in left]
    if out:
        assert sum(file[2] for _, file in css[: css.index((file_rank(7, out[0][0]), out[0])) + 1]) > limit


@given(FILES, FILES, st.integers(1, 200))
def test_a_corpus_that_grows_drops_files_and_swaps_none(files, more, limit):
    grown = files + [file for file in more if file[0] not in {other[0] for other in files}]
    parameters = config({"json": limit})

    before, after = (kept(each, caps_of(batches_of(each, 7), parameters)) for each in (files, grown))
    assert after & set(files) <= before


def test_a_share_of_the_files_is_drawn():
    files = [(f"{number:032x}", "css", 10) for number in range(2000)]
    [cap] = caps_of(batches_of(files, 100), config({}, {"css": 0.25}))

    assert cap.reason == "0.25 of the files of css"
    # Four standard deviations of a binomial draw.
    assert len(kept(files, [cap])) == pytest.approx(500, abs=4 * (2000 * 0.25 * 0.75) ** 0.5)


def test_the_stricter_of_share_and_bytes_holds():
    files = [(f"{number:032x}", "css", 10) for number in range(2000)]
    [by_bytes] = caps_of(batches_of(files, 100), config({"css": 1000}, {"css": 0.5}))
    [by_share] = caps_of(batches_of(files, 100), config({"css": 10**9}, {"css": 0.5}))

    assert (by_bytes.reason, len(kept(files, [by_bytes]))) == ("1000 bytes of css", 100)
    assert by_share.reason == "0.5 of the files of css"


def test_another_seed_draws_others():
    files = [(f"{number:032x}", "css", 10) for number in range(200)]
    draws = [kept(files, caps_of(batches_of(files, 100), config({"css": 500}, seed=seed)), seed) for seed in (1, 2)]

    assert [len(draw) for draw in draws] == [50, 50]
    assert draws[0] != draws[1]


def test_a_cap_that_nothing_exceeds_is_none():
    files = [("a" * 32, "css", 10), ("b" * 32, "css", 10)]

    assert caps_of(batches_of(files, 2), config({"css": 20}, {"json": 0.5})) == ()
