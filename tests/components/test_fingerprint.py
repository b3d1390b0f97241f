import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.catalog import step_named
from components.fingerprint import canonical_json, digest_of, fingerprint_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=6))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(backwards)


@given(values)
def test_canonical_json_reads_back_as_the_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@pytest.mark.parametrize("value", [math.nan, {"a": math.inf}, [{"b": -math.inf}], {1: "x"}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"canonical form|not a string"):
        canonical_json(value)


def test_every_part_of_the_recipe_changes_the_fingerprint() -> None:
    step = step_named("deduplicate")
    base = fingerprint_of(step, {"deduplicate": {"recipe": 1}}, {"redacted_files": "a"}, {})
    others = [
        fingerprint_of(step_named("redact_secrets"), {"deduplicate": {"recipe": 1}}, {"redacted_files": "a"}, {}),
        fingerprint_of(step, {"deduplicate": {"recipe": 2}}, {"redacted_files": "a"}, {}),
        fingerprint_of(step, {"deduplicate": {"recipe": 1}}, {"redacted_files": "b"}, {}),
        fingerprint_of(step, {"deduplicate": {"recipe": 1}}, {"redacted_files": "a"}, {"source": "c"}),
    ]
    assert len({base, *others}) == 5


def test_a_digest_is_that_of_the_canonical_bytes() -> None:
    assert digest_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
