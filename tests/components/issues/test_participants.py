"""Logins in texts: found as whole words, and nothing else is touched."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.issues.participants import EVERYDAY_WORDS, MAX_SOUGHT, NameMask, has_name

LOGINS = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)
SEPARATORS = st.sampled_from(
    [" ", ", ", "\n", ": ", " @", "@", "-", "_", ".", "'s ", "é", "/", "`", "(", "**", "\u0301"]
)


def mask(text, *logins):
    return NameMask({login: f"username_{number}" for number, login in enumerate(logins)}, 3).apply(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thanks @ann-b!", "thanks @username_0!"),
        ("ann-b wrote", "username_0 wrote"),
        ("(ann-b)", "(username_0)"),
        ("ann-b's patch", "username_0's patch"),
        ("https://github.com/ann-b/tool", "https://github.com/username_0/tool"),
        ("@ANN-B and ANN-B", "@username_0 and ANN-B"),
        ("_@ann-b_ and _ann-b_", "_@username_0_ and _ann-b_"),
        ("joann-b ann-bb ann-b-c x-ann-b", "joann-b ann-bb ann-b-c x-ann-b"),
        ("ann_b annb ann b", "ann_b annb ann b"),
        ("éann-b ann-bé", "éann-b ann-bé"),
        ("x@ann-b.org", "x@username_0.org"),
        ("x@Ann-B.org", "x@Ann-B.org"),
        ("@ann-b,@ann-b", "@username_0,@username_0"),
    ],
)
def test_a_login_is_replaced_where_it_is_a_word(text, expected):
    assert mask(text, "ann-b")[0] == expected


def test_usernames_are_not_replaced_by_bare_string_replacement():
    """The defect of the reference: `str.replace` puts `username_0` into every word that holds the login."""
    text = "The man can run the plan, said an old man."
    assert mask(text, "an", "man-7", "ru")[0] == text


def test_logins_of_one_or_two_letters_do_not_shred_the_text():
    text = "I am in: a list of i and e, so to say. @a and @i agree, @e not."
    assert mask(text, "a", "i", "e", "am", "in", "of", "so")[0] == (
        "I am in: a list of i and e, so to say. @username_0 and @username_1 agree, @username_2 not."
    )


def test_everyday_words_are_replaced_only_where_they_are_mentioned():
    assert mask("the test of test-2 by @test", "the", "test", "test-2")[0] == "the test of username_2 by @username_1"
    assert all(word == word.lower() and len(word) > 2 for word in EVERYDAY_WORDS)


def test_an_old_login_may_end_in_a_hyphen():
    assert mask("@ann- and ann-, not annie", "ann-")[0] == "@username_0- and username_0-, not annie"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("please @Build-Bot retest", True), ("build-bot: go", True), ("build-bots", False), ("rebuild-bot", False)],
)
def test_a_name_is_found_as_a_word_in_any_case(text, expected):
    assert has_name(text, "build-bot") is expected


@given(st.lists(LOGINS, max_size=5, unique=True), st.data())
def test_renaming_changes_nothing_outside_the_names(logins, data):
    words = st.sampled_from(logins) | st.text(max_size=6) if logins else st.text(max_size=6)
    text = "".join(data.draw(st.lists(st.one_of(words, SEPARATORS), max_size=20)))
    names = {login: f"\ue000{number}\ue001" for number, login in enumerate(logins)}
    result, count = NameMask(names, 3).apply(text)
    assert len(re.findall("\ue000\\d+\ue001", result)) - len(re.findall("\ue000\\d+\ue001", text)) == count
    spelled = {name: login for login, name in names.items()}
    back = re.sub("\ue000\\d+\ue001", lambda match: spelled.get(match[0], match[0]), result)
    assert back.lower() == text.lower()


@given(st.text(), st.lists(LOGINS, max_size=4, unique=True))
def test_no_participant_is_mentioned_afterwards(text, logins):
    mentions = " ".join(f"@{login}" for login in logins)
    result, count = NameMask(dict.fromkeys(logins, "\ue000"), 3).apply(f"{text} {mentions}")
    assert count >= len(logins)
    assert result.endswith(" " + " ".join(["@\ue000"] * len(logins)))


def test_ten_thousand_participants_are_looked_up_word_by_word():
    names = {f"user-{number}": f"username_{number}" for number in range(10_000)}
    text = " ".join(f"user-{number} said" for number in range(0, 20_000, 2))
    result, count = NameMask(names, 3).apply(text)
    assert count == 5_000
    assert result.startswith("username_0 said username_2 said")
    assert result.endswith("user-19998 said")


@given(st.lists(LOGINS, min_size=1, max_size=4, unique=True), st.text(max_size=20))
def test_the_first_look_at_a_text_misses_no_name(logins, text):
    text = f"{text} {logins[0].upper()} @{logins[-1].upper()} {logins[0]}"
    others = [f"someone-else-{number}" for number in range(MAX_SOUGHT)]
    assert mask(text, *logins) == mask(text, *logins, *others)


def test_a_hostile_text_is_read_in_one_pass():
    for text in ("a-" * 200_000, "@" * 200_000, "_" * 200_000 + "@", "a_" * 200_000 + "!", "-" * 200_000):
        assert mask(f"{text} @Bob", "bob") == (f"{text} @username_0", 1)
