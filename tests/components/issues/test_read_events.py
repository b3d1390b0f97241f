"""One line to one event: every type that is read, both generations of payloads, and lines that lie."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.issues.read_events import GHOST, Ignored, ThreadEvent, read_event
from components.sources.source_files import Refusal

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read(event):
    return read_event(json.dumps(event).encode())


def changed(event, place, value):
    """The event with the value at a dotted place replaced; taken away for `...`."""
    event = json.loads(json.dumps(event))
    *parents, last = place.split(".")
    target = event
    for name in parents:
        target = target[name]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return event


def test_an_opened_issue(event_of):
    assert read(event_of("opened", id=41, text="Look:\r\n1")) == ThreadEvent(
        repository="owner/project",
        number=7,
        created_at=1619863200,
        event_id=41,
        kind="opened",
        author="alice",
        text="Look:\r\n1",
        is_pull_request=False,
        title="A title",
        state="open",
        opening_author="alice",
        opening_text="Look:\r\n1",
        opened_at=1619859600,
        license=None,
        stars=None,
        forks=None,
    )


@pytest.mark.parametrize(
    ("kind", "is_pull", "expected"),
    [
        ("opened", False, ("opened", "alice", "Hm.", False, "open")),
        ("comment", False, ("comment", "bob", "Hm.", False, "open")),
        ("closed", False, ("closed", "bob", "", False, "closed")),
        ("reopened", False, ("reopened", "bob", "", False, "open")),
        ("opened", True, ("opened", "alice", "Hm.", True, "open")),
        ("comment", True, ("comment", "bob", "Hm.", True, "open")),
        ("review", True, ("review", "bob", "Hm.", True, "open")),
        ("review_comment", True, ("review_comment", "bob", "Hm.", True, "open")),
        ("closed", True, ("closed", "bob", "", True, "closed")),
        ("merged", True, ("closed", "bob", "", True, "closed")),
    ],
)
def test_each_type_of_event(event_of, kind, is_pull, expected):
    event = read(event_of(kind, is_pull=is_pull, author="bob", text="Hm."))
    assert (event.kind, event.author, event.text, event.is_pull_request, event.state) == expected


def test_a_pull_request_tells_stars_forks_and_licence_of_its_repository(event_of):
    event = event_of("opened", is_pull=True)
    assert (read(event).stars, read(event).forks, read(event).license) == (12, 3, None)
    for told, expected in (({"spdx_id": "MIT"}, "MIT"), ({"spdx_id": "NOASSERTION"}, None), (None, None)):
        assert read(changed(event, "payload.pull_request.base.repo.license", told)).license == expected


@pytest.mark.parametrize("kind", ["opened", "closed", "review", "review_comment"])
def test_the_payloads_of_2025_lack_title_text_and_author_of_the_pull_request(event_of, kind):
    event = read(event_of(kind, is_pull=True, is_trimmed=True, author="bob"))
    assert (event.title, event.opening_text, event.opening_author, event.stars) == (None, None, None, None)
    assert (event.number, event.author) == (7, "alice" if kind == "opened" else "bob")


def test_who_has_no_account_any_more_is_a_ghost(event_of):
    event = changed(changed(event_of("comment"), "payload.comment.user", None), "actor", None)
    assert read(event).author == GHOST


def test_other_events_are_ignored_by_their_type(event_of):
    assert read({"type": "WatchEvent", "payload": 5}) == Ignored("WatchEvent")
    assert read({"type": "NewsEvent"}) == Ignored("unknown type")
    assert read(changed(event_of("opened"), "payload.action", "labeled")) == Ignored("IssuesEvent of another action")


@pytest.mark.parametrize(
    ("place", "value", "rule", "told"),
    [
        ("type", ..., "missing_field", "type"),
        ("type", 5, "wrong_type", "type is a number"),
        ("id", "12a", "wrong_type", "id is a string"),
        ("id", True, "wrong_type", "id is a boolean"),
        ("id", -1, "wrong_value", "id is -1"),
        ("id", 2**63, "wrong_value", "id is 9223372036854775808"),
        ("payload", [], "wrong_type", "payload is a list"),
        ("payload.action", None, "missing_field", "payload.action"),
        ("payload.issue", ..., "missing_field", "payload.issue"),
        ("payload.issue.number", 1.5, "wrong_type", "payload.issue.number is a fraction"),
        ("payload.issue.number", 0, "wrong_value", "payload.issue.number is 0"),
        ("payload.issue.title", {"a": 1}, "wrong_type", "payload.issue.title is an object"),
        ("payload.issue.body", 5, "wrong_type", "payload.issue.body is a number"),
        ("payload.issue.body", "a\0b", "nul_character", "payload.issue.body at character 1"),
        ("payload.issue.user", "alice", "wrong_type", "payload.issue.user is a string"),
        ("payload.issue.created_at", "yesterday", "wrong_value", "payload.issue.created_at is no time"),
        ("repo.name", "", "wrong_value", "repo.name is empty"),
        ("repo.name", "x" * 300, "wrong_value", "repo.name has 300 characters"),
        ("repo", 9, "wrong_type", "repo is a number"),
        ("created_at", ..., "missing_field", "created_at"),
        ("created_at", "2021-13-01T00:00:00Z", "wrong_value", "created_at is no time"),
    ],
)
def test_a_field_that_is_not_as_github_writes_it_is_named(event_of, place, value, rule, told):
    refusal = read(changed(event_of("opened"), place, value))
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.value) == (rule, told)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"not json",
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"type": "\\ud800"}',
        b'{"type": "\xed\xa0\x80"}',
        b'{"type": "a\0"}',
        b'{"id": 1e999}',
        b"NaN",
        b"1" * 100_000,
        b"\xff\xfe{\0}\0",
    ],
)
def test_what_is_no_json_is_refused(line):
    refusal = read_event(line)
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "not_json"


@pytest.mark.parametrize("value", [None, 5, "text", [], True])
def test_json_that_is_no_object_is_refused(value):
    assert read(value).rule in ("wrong_type", "missing_field")


@given(data=st.data())
def test_no_value_in_any_place_is_more_than_a_refusal(event_of, data):
    event = event_of(
        data.draw(st.sampled_from(["opened", "comment", "review", "closed"])), is_pull=data.draw(st.booleans())
    )
    places = sorted(_places(event, ""))
    for place in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3, unique=True)):
        try:
            event = changed(event, place, data.draw(JSON_VALUES))
        except (KeyError, TypeError):  # a place inside of what was replaced before
            continue
    outcome = read(event)
    if isinstance(outcome, ThreadEvent):
        assert outcome.author
        assert outcome.repository
        assert outcome.number > 0
        assert "\0" not in outcome.text


def _places(value, prefix):
    for name, inner in value.items():
        yield f"{prefix}{name}"
        if isinstance(inner, dict):
            yield from _places(inner, f"{prefix}{name}.")
