"""No text is lost, the choices are a pure function, and their shares are those asked for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import FillInMiddleConfig
from model.fill_in_middle import Turn, choose_turn, turn_segment, turn_window
from model.special_tokens import END_OF_TEXT, FIM_MIDDLE, FIM_PAD, FIM_PREFIX, FIM_SUFFIX
from model.text_codec import ByteLevelCodec

VOCAB_SIZE = 320
ALWAYS = FillInMiddleConfig(rate=1.0, spm_rate=0.5)
NEVER = FillInMiddleConfig(rate=0.0, spm_rate=0.5)
HALF = FillInMiddleConfig(rate=0.5, spm_rate=0.5)
segments = st.lists(st.integers(5, VOCAB_SIZE - 1), min_size=1, max_size=40)
words = st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def codec(tokenizer):
    return ByteLevelCodec(tokenizer)


def split_at(ids, *marks):
    """The runs of ids between `marks`, which must stand there in this order, once each."""
    assert [number for number in ids if number in marks] == list(marks)
    parts = [[]]
    for number in ids:
        if number in marks:
            parts.append([])
        else:
            parts[-1].append(number)
    return parts


def text_of_turned(ids, codec):
    """The text in its original order, of either order of parts."""
    if ids[:2] == [FIM_PREFIX, FIM_SUFFIX]:
        _, _, suffix, prefix_and_middle = split_at(ids, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE)
        return codec.decode(prefix_and_middle) + codec.decode(suffix)
    _, prefix, suffix, middle = split_at(ids, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE)
    return codec.decode(prefix) + codec.decode(middle) + codec.decode(suffix)


@given(segment=segments, suffix_first=st.booleans(), cuts=st.tuples(words, words))
@settings(max_examples=400, deadline=None)
def test_prefix_middle_and_suffix_make_the_segments_text(codec, segment, suffix_first, cuts):
    turned = turn_segment(segment, codec, Turn(suffix_first, (min(cuts), max(cuts))))
    assert text_of_turned(turned, codec) == codec.decode(segment)


@given(text=st.text(min_size=1, max_size=30), cuts=st.tuples(words, words))
@settings(max_examples=100, deadline=None)
def test_cuts_fall_where_the_words_say(codec, text, cuts):
    text = text.encode("utf-8", "replace").decode()
    low, high = sorted(cuts)
    turned = turn_segment(codec.encode(text), codec, Turn(suffix_first=False, cuts=(low, high)))
    _, prefix, suffix, middle = split_at(turned, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE)
    start, end = (math.floor((len(text) + 1) * cut / 2**64) for cut in (low, high))
    assert len(codec.decode(prefix)) == pytest.approx(start, abs=1)
    assert len(codec.decode(middle)) == pytest.approx(end - start, abs=2)
    assert codec.decode(prefix) + codec.decode(middle) + codec.decode(suffix) == text


def test_the_outermost_cuts_leave_parts_empty(codec):
    segment = codec.encode("return first")
    for cuts, expected in {
        (0, 0): [FIM_PREFIX, FIM_SUFFIX, *segment, FIM_MIDDLE],
        (0, 2**64 - 1): [FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE, *segment],
        (2**64 - 1, 2**64 - 1): [FIM_PREFIX, *segment, FIM_SUFFIX, FIM_MIDDLE],
    }.items():
        assert turn_segment(segment, codec, Turn(suffix_first=False, cuts=cuts)) == expected


def test_suffix_first_puts_prefix_and_middle_after_the_middle_sentinel(codec):
    turned = turn_segment(codec.encode("abcd"), codec, Turn(suffix_first=True, cuts=(2**62, 2**63)))
    assert turned == [FIM_PREFIX, FIM_SUFFIX, *codec.encode("cd"), FIM_MIDDLE, *codec.encode("a"), *codec.encode("b")]


@given(
    window=st.lists(st.sampled_from([END_OF_TEXT, *range(5, 60)]), min_size=1, max_size=60),
    seed=st.integers(0, 2**63 - 1),
    sample=st.integers(0, 2**63 - 1),
)
@settings(max_examples=200, deadline=None)
def test_a_window_keeps_its_length_and_is_a_pure_function(codec, window, seed, sample):
    array = np.array(window, np.int64)
    turned = turn_window(array, codec, HALF, seed, sample)
    assert turned.dtype == np.int64
    assert len(turned) == len(window)
    assert turned.tolist() == turn_window(array, codec, HALF, seed, sample).tolist()
    assert array.tolist() == window
    assert turn_window(array, codec, NEVER, seed, sample).tolist() == window


def test_each_document_of_a_window_is_turned_alone(codec):
    documents = [codec.encode(text) for text in ("def add(first):", "return 12", "second + 34")]
    window = [id_ for document in documents for id_ in [*document, END_OF_TEXT]] + [END_OF_TEXT] * 30
    turned = turn_window(np.array(window), codec, ALWAYS, seed=1, sample=2).tolist()
    ended = [0] + [place + 1 for place, id_ in enumerate(turned) if id_ == END_OF_TEXT]
    for number, document in enumerate(documents):
        part = turned[ended[number] : ended[number + 1] - 1]
        assert FIM_MIDDLE in part
        assert text_of_turned(part, codec) == codec.decode(document)
    assert set(turned[ended[3] :]) == {END_OF_TEXT}, "an empty segment gets no sentinels"


def test_a_window_made_longer_is_cut_and_one_made_shorter_is_padded(codec):
    merged = codec.encode("return first, second")
    assert len(turn_window(np.array(merged), codec, ALWAYS, 0, 0)) == len(merged)
    # Byte by byte the text takes more ids than its merges, so the turned window ends early.
    single = [codec.encode(letter)[0] for letter in "return first, second return first, second"]
    turned = turn_window(np.array(single), codec, ALWAYS, 0, 0).tolist()
    assert turned[-1] == FIM_PAD
    assert text_of_turned(turned[: turned.index(FIM_PAD)], codec) == codec.decode(single)


def test_a_window_that_cuts_a_character_loses_no_byte(codec):
    halved = codec.encode("f\u00fcr \U0001f600 jede")[:-6]
    for cut in range(len(halved)):
        for sample in range(20):
            turn = choose_turn(ALWAYS, 0, sample, 0)
            assert text_of_turned(turn_segment(halved[cut:], codec, turn), codec) == codec.decode(halved[cut:])


@pytest.mark.parametrize(("rate", "spm_rate"), [(0.5, 0.5), (0.1, 0.9), (0.9, 0.25)])
def test_shares_are_within_their_confidence_interval(rate, spm_rate):
    config = FillInMiddleConfig(rate=rate, spm_rate=spm_rate)
    turns = [choose_turn(config, 11, sample, segment) for sample in range(2000) for segment in range(3)]
    turned = [turn for turn in turns if turn]
    spm = [turn for turn in turned if turn.suffix_first]
    assert_share(len(turned), len(turns), rate)
    assert_share(len(spm), len(turned), spm_rate)


@given(
    pieces=st.lists(st.one_of(st.sampled_from(sorted(range(5, 19))), st.text(max_size=12)), min_size=1, max_size=12),
    suffix_first=st.booleans(),
    cuts=st.tuples(words, words),
)
@settings(max_examples=200, deadline=None)
def test_a_structured_segment_loses_no_token(codec, pieces, suffix_first, cuts):
    segment = [id_ for piece in pieces for id_ in ([piece] if isinstance(piece, int) else codec.encode(piece))]
    turned = turn_segment(segment, codec, Turn(suffix_first, (min(cuts), max(cuts))))
    told = text_of_turned(turned, codec)
    assert told == codec.decode(segment)
    structure = [id_ for id_ in turned if 5 <= id_ < 19]
    assert sorted(structure) == sorted(piece for piece in pieces if isinstance(piece, int))


@pytest.fixture(scope="module")
def codec2(starcoder2_tokenizer):
    return ByteLevelCodec(starcoder2_tokenizer)


def files_of(ids, separator):
    """The runs of ids between separators, of which there are len(files) - 1."""
    files = [[]]
    for number in ids:
        if number == separator:
            files.append([])
        else:
            files[-1].append(number)
    return files


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), min_size=2, max_size=6),
    sample=st.integers(0, 2**63 - 1),
)
@settings(max_examples=200, deadline=None)
def test_the_files_of_a_repository_are_turned_each_by_itself(codec2, texts, sample):
    separator = codec2.special_ids["file_sep"]
    files = [codec2.encode(text) for text in texts]
    window = [id_ for file in files for id_ in [*file, separator]][:-1] + [END_OF_TEXT] * 120
    turned = turn_window(np.array(window), codec2, ALWAYS, seed=3, sample=sample).tolist()
    document = turned[: turned.index(END_OF_TEXT)]
    assert len(turned) == len(window)
    for file, found in zip(files, files_of(document, separator), strict=True):
        assert (text_of_turned(found, codec2) if file else codec2.decode(found)) == codec2.decode(file)


def test_a_repositorys_name_is_never_turned_and_a_quarter_of_its_files_is(codec2):
    separator, name = codec2.special_ids["file_sep"], codec2.special_ids["repo_name"]
    opening = [name, *codec2.encode("owner/project")]
    file = codec2.encode("m.py\nreturn first")
    window = np.array([*opening, *([separator, *file] * 4), *([END_OF_TEXT] * 60)])
    turned_files = candidates = 0
    for sample in range(1500):
        document = turn_window(window, codec2, HALF, 9, sample).tolist()
        first, *rest = files_of(document[: document.index(END_OF_TEXT)], separator)
        assert first == opening
        turned = [FIM_MIDDLE in found for found in rest]
        turned_files += sum(turned)
        candidates += any(turned)
    assert_share(candidates, 1500, 0.5 * (1 - 0.5**4))
    # Files of a repository share its draw, so their number spreads four times as far as if each were drawn alone.
    assert abs(turned_files / 6000 - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 1500)


def test_a_document_without_separators_is_turned_as_a_whole_in_both_families(codec, codec2):
    for each in (codec, codec2):
        window = np.array([*each.encode("return first, second"), *([END_OF_TEXT] * 60)])
        turned = [FIM_MIDDLE in turn_window(window, each, HALF, 5, sample) for sample in range(1000)]
        assert_share(sum(turned), 1000, 0.5)


def assert_share(count, total, expected):
    """Within four standard deviations: a fair generator fails once in 15,000 seeds, and this seed is fixed."""
    assert abs(count / total - expected) < 4 * math.sqrt(expected * (1 - expected) / total)


def test_cuts_are_even_over_a_segment():
    cuts = [choose_turn(ALWAYS, 5, sample, 0).cuts for sample in range(4000)]
    every = np.array(cuts, np.float64).flatten() / 2**64
    counts, _ = np.histogram(every, bins=10, range=(0, 1))
    assert counts.min() > 800 - 4 * math.sqrt(800)
    assert counts.max() < 800 + 4 * math.sqrt(800)


def test_seed_sample_and_segment_all_matter():
    turns = {
        choose_turn(ALWAYS, seed, sample, segment)
        for seed in range(10)
        for sample in range(10)
        for segment in range(10)
    }
    assert len(turns) == 1000


def test_the_choice_is_the_same_on_every_machine():
    expected = Turn(suffix_first=False, cuts=(5120089422708784769, 9887756989062491383))
    assert choose_turn(ALWAYS, seed=1, sample=2, segment=3) == expected
