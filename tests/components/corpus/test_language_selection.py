"""Which languages are taken: the rule on The Stack's sizes gives StarCoder's list."""

import pytest

from components.corpus.language_selection import LISTED, OMITTED, STARCODER_MIX, select_languages
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_presets import PRESETS, STARCODER_MAX_BYTES
from components.errors import ParamsError
from components.sources.language_table import LANGUAGES

MB_500 = 500 * 10**6
STACK_BYTES = {name: int(language.stack_gb * 10**9) for name, language in STARCODER_MIX.items()}


def config(languages, **changes):
    raw = {
        "recipe": 1,
        "languages": languages,
        "max_bytes_by_language": STARCODER_MAX_BYTES,
        "keep_fraction_by_language": {},
        "seed": 0,
        "content_model": "none",
        "hidden_characters": "keep",
        "inspection_file": None,
    }
    return FilterQualityConfig.model_validate(raw | PRESETS["starcoder"] | changes)


def kept(sizes, parameters):
    return {name for name, choice in select_languages(sizes, parameters).items() if choice.is_kept}


RULE = {"select": "rule", "min_bytes": MB_500}


def test_the_rule_on_the_stack_gives_the_88_languages_of_the_mix():
    others = dict.fromkeys(OMITTED, 10**10) | {"csv": 266 * 10**9, "svg": 80 * 10**9, "xml": 150 * 10**9, "d": 10**6}

    assert len(STARCODER_MIX) == 88
    assert kept(STACK_BYTES | others, config(RULE)) == set(STARCODER_MIX)
    assert kept({}, config({"select": "starcoder"})) == set(STARCODER_MIX)


def test_the_weights_add_up_to_those_of_the_mix():
    """667.43 GB of code, of 766.95 with issues, commits and notebooks (bigcode-data-mix)."""
    assert sum(language.weight_gb for language in STARCODER_MIX.values()) == pytest.approx(667.43, abs=0.01)
    assert {
        name: language.weight_gb * 10**9 for name, language in STARCODER_MIX.items() if name in STARCODER_MAX_BYTES
    } == {name: float(size) for name, size in STARCODER_MAX_BYTES.items()}


def test_what_is_listed_is_small_and_no_dialect():
    for name, language in STARCODER_MIX.items():
        is_small = language.stack_gb <= 0.5
        assert is_small == (language.basis != "size"), name
        assert language.basis in ("size", LISTED) or language.basis in STARCODER_MIX
    assert {language.name for language in LANGUAGES} >= {*STARCODER_MIX, *OMITTED}


@pytest.mark.parametrize(
    ("name", "sizes", "is_kept", "reason"),
    [
        ("crystal", {"crystal": MB_500}, False, "500000000 bytes are not more than 500000000"),
        ("crystal", {"crystal": MB_500 + 1}, True, "500000001 bytes are more than 500000000"),
        ("stan", {}, True, "top 50"),
        ("tcsh", {"shell": MB_500 + 1}, True, "a dialect of shell"),
        ("tcsh", {"tcsh": 1}, False, "no list has it"),
        ("rmarkdown", {}, True, "a dialect of r"),
        ("json", {"json": 10**12}, True, "bytes are more"),
        ("xml", {"xml": 10**12}, False, "data without an entry in max_bytes_by_language"),
        ("toml", {"toml": 10**12}, False, "configuration without an entry"),
        ("actionscript", {"actionscript": 10**12}, False, "no longer supported"),
    ],
)
def test_each_clause_of_the_rule(name, sizes, is_kept, reason):
    choice = select_languages(sizes, config(RULE))[name]

    assert choice.is_kept == is_kept
    assert reason in choice.reason


def test_a_list_is_what_it_says():
    parameters = config({"select": "list", "names": ["python", "xml"]})

    assert kept({"java": 10**12}, parameters) == {"python", "xml"}
    assert select_languages({}, parameters)["java"].reason == "not in filter_quality.languages.names"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"languages": {"select": "list", "names": ["python9"]}}, "languages.names"),
        ({"max_bytes_by_language": {"python9": 1}}, "max_bytes_by_language"),
        ({"keep_fraction_by_language": {"python9": 1}}, "keep_fraction_by_language"),
        ({"max_lines_by_language": {"python9": 1}}, "max_lines_by_language"),
        ({"long_lines_allowed": ["python9"]}, "long_lines_allowed"),
        ({"digits_count_as_letters": ["python9"]}, "digits_count_as_letters"),
        ({"data_files": PRESETS["starcoder"]["data_files"] | {"languages": ["python9"]}}, "data_files.languages"),
        ({"comments": PRESETS["santacoder"]["comments"] | {"languages": ["python9"]}}, "comments.languages"),
        (
            {"characters_per_token": {"tokenizer_file": "t.json", "minimum": {"python9": 2.5}}},
            "characters_per_token.minimum",
        ),
    ],
)
def test_an_unknown_language_is_told_with_its_key(changes, key):
    parameters = config(**({"languages": RULE} | changes))
    with pytest.raises(ParamsError, match=f"filter_quality.{key} names 'python9'.*write one of .*python"):
        select_languages({}, parameters)
