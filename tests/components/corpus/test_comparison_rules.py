"""Which files are compared with which."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from components.corpus.comparison_rules import max_bands, rows_by_rule, rule_of
from components.corpus.config import DeduplicateConfig

SETTINGS = {
    "recipe": 1,
    "kinds": ("file", "issue"),
    "lowercase": False,
    "empty_tokens": False,
    "num_permutations": 256,
    "ngram_tokens": 5,
    "jaccard_threshold": 0.7,
    "num_bands": 25,
    "rows_per_band": 10,
    "overrides": {".nb": {"ngram_tokens": 3}, ".sas": {"jaccard_threshold": 0.6, "num_bands": 42, "rows_per_band": 6}},
    "seed": 42,
}


def test_an_override_changes_what_it_names_and_nothing_else():
    config = DeduplicateConfig.model_validate(SETTINGS)
    plain, of_nb, of_sas = (rule_of(config, "file", extension) for extension in (".py", ".nb", ".sas"))
    assert (plain.ngram_tokens, plain.jaccard_threshold, plain.num_bands, plain.rows_per_band) == (5, 0.7, 25, 10)
    assert (of_nb.ngram_tokens, of_nb.jaccard_threshold, of_nb.num_bands, of_nb.rows_per_band) == (3, 0.7, 25, 10)
    assert (of_sas.ngram_tokens, of_sas.jaccard_threshold, of_sas.num_bands, of_sas.rows_per_band) == (5, 0.6, 42, 6)
    assert max_bands(config) == 42


def test_rules_of_different_kinds_and_parameters_have_different_salts():
    config = DeduplicateConfig.model_validate(SETTINGS)
    rules = [rule_of(config, kind, extension) for kind in ("file", "issue") for extension in (".py", ".nb", ".sas")]
    assert len({rule.salt for rule in rules}) == 6
    assert rule_of(config, "file", ".py") == rule_of(config, "file", ".c")
    assert rule_of(config, "commit", ".py") is None


def test_rows_are_told_by_their_rule():
    config = DeduplicateConfig.model_validate(SETTINGS)
    places = [("file", ".py"), ("commit", ".py"), ("file", ".nb"), ("file", ".c"), ("issue", "")]
    kinds, extensions = zip(*places, strict=True)
    batch = pa.record_batch({"kind": kinds, "extension": extensions})
    found = {(rule.kind, rule.ngram_tokens): rows.tolist() for rule, rows in rows_by_rule(config, batch)}
    assert found == {("file", 5): [0, 3], ("file", 3): [2], ("issue", 5): [4]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_bands": 26}, "num_bands x rows_per_band = 260 exceeds num_permutations = 256"),
        ({"overrides": {".sas": {"rows_per_band": 11}}}, "= 275 for .sas exceeds"),
        ({"overrides": {"sas": {"ngram_tokens": 3}}}, "pattern"),
        ({"overrides": {".sas": {"threshold": 0.6}}}, "threshold"),
        ({"kinds": ("files",)}, "'file'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        DeduplicateConfig.model_validate(SETTINGS | change)
