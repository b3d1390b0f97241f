"""What one line of a GitHub event file says about an issue or a pull request, or why it cannot be taken.

Events come as GH Archive keeps them since 2015. Since October 2025 GitHub leaves title, text and author out of the
pull requests that it puts into events; they are then known only from comments, which carry the whole issue. So each
event is read for two things: what happened, and what it tells of the thread's beginning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import orjson

from components.sources.source_files import Refusal

Kind = Literal["opened", "comment", "review", "review_comment", "closed", "reopened"]
KINDS: tuple[str, ...] = get_args(Kind)
MESSAGE_KINDS: frozenset[str] = frozenset(("opened", "comment", "review", "review_comment"))
"""Kinds of events in which somebody says something; the others only change the state."""

MAX_NAME_CHARS = 256
"""GitHub allows 39 characters for a login and 100 for a repository; a longer name is no name."""

GHOST = "ghost"
"""GitHub's own name for whoever has no account any more."""

_STATES: Mapping[str, str] = {"opened": "open", "reopened": "open", "closed": "closed"}
_UNLICENSED = frozenset(("", "NOASSERTION", "NONE"))


@dataclass(frozen=True)
class ThreadEvent:
    """Something that happened in a thread, and what the event tells of the thread as a whole."""

    repository: str
    number: int
    created_at: int
    """Seconds since 1970 in UTC."""
    event_id: int
    kind: str
    author: str
    text: str
    is_pull_request: bool
    title: str | None
    state: str | None
    opening_author: str | None
    opening_text: str | None
    opened_at: int | None
    license: str | None
    stars: int | None
    forks: int | None


@dataclass(frozen=True)
class Ignored:
    """A line that adds nothing to a thread; `what` says why, in one of a fixed set of phrases."""

    what: str


@dataclass(frozen=True)
class _Shape:
    """Where a type of event keeps what is read."""

    subject: str
    """Key of the issue or pull request in the payload."""
    message: str
    """Key of what has author and text in the payload; the subject itself where nothing was added to it."""
    kinds: Mapping[str, Kind]
    """Action to kind."""


SHAPES: Mapping[str, _Shape] = {
    "IssuesEvent": _Shape("issue", "issue", {"opened": "opened", "closed": "closed", "reopened": "reopened"}),
    "IssueCommentEvent": _Shape("issue", "comment", {"created": "comment"}),
    "PullRequestEvent": _Shape(
        "pull_request",
        "pull_request",
        {"opened": "opened", "closed": "closed", "merged": "closed", "reopened": "reopened"},
    ),
    "PullRequestReviewEvent": _Shape("pull_request", "review", {"created": "review", "submitted": "review"}),
    "PullRequestReviewCommentEvent": _Shape("pull_request", "comment", {"created": "review_comment"}),
}
"""The types of events that are read."""

OTHER_TYPES = frozenset(
    f"{name}Event"
    for name in (
        *("CommitComment", "Create", "Delete", "Discussion", "DiscussionComment", "Fork", "Gollum", "Member", "Public"),
        *("PullRequestReviewThread", "Push", "Release", "Sponsorship", "Watch"),
    )
)
"""The types of events that say nothing of issues (GitHub REST API, "GitHub event types")."""


class _Unfit(Exception):
    """What makes a line unfit, thrown from its depths to `read_event`."""

    def __init__(self, rule: str, value: str, threshold: str) -> None:
        super().__init__(rule)
        self.refusal = Refusal(rule, value, threshold)


def read_event(line: bytes) -> ThreadEvent | Ignored | Refusal:
    """The event of one line; a Refusal names the field that is not what GitHub writes there, never its content."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Refusal("not_json", str(error), "one JSON object a line")
    try:
        return _event(_Node(event, ""))
    except _Unfit as unfit:
        return unfit.refusal


def _event(event: "_Node") -> ThreadEvent | Ignored:
    kind = event.required_text("type")
    shape = SHAPES.get(kind)
    if shape is None:
        return Ignored(kind if kind in OTHER_TYPES else "unknown type")
    payload = event.required("payload")
    action = payload.required_text("action")
    if action not in shape.kinds:
        return Ignored(f"{kind} of another action")
    return _thread_event(event, payload, shape, shape.kinds[action])


def _thread_event(event: "_Node", payload: "_Node", shape: _Shape, kind: Kind) -> ThreadEvent:
    subject = payload.required(shape.subject)
    message = payload.required(shape.message)
    actor = event.optional("actor").name("login")
    # Who changes a state need not be who wrote the issue, whose author stands in the subject.
    author = actor if kind in ("closed", "reopened") else message.optional("user").name("login") or actor
    repository = subject.optional("base").optional("repo")
    state = subject.text("state")
    return ThreadEvent(
        repository=event.required("repo").required_text("name", MAX_NAME_CHARS),
        number=subject.required_number("number"),
        created_at=event.required_time("created_at"),
        event_id=event.required_number("id"),
        kind=kind,
        author=author or GHOST,
        text=(message.text("body") or "") if kind in MESSAGE_KINDS else "",
        is_pull_request=shape.subject == "pull_request" or subject.value("pull_request") is not None,
        title=subject.text("title"),
        state=_STATES.get(kind, state if state in _STATES.values() else None),
        opening_author=subject.optional("user").name("login"),
        opening_text=subject.text("body"),
        opened_at=subject.time("created_at"),
        license=_spdx(repository.optional("license").text("spdx_id")),
        stars=repository.count("stargazers_count"),
        forks=repository.count("forks_count"),
    )


def _spdx(identifier: str | None) -> str | None:
    return None if identifier is None or identifier.upper() in _UNLICENSED else identifier


class _Node:
    """An object of a line with its place in it; what is not of the expected type makes the line unfit.

    A field that may be missing may also be null: GitHub's own payloads have both.
    """

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise _Unfit("wrong_type", f"{place or 'the line'} is {_type_name(value)}", "object")
        self._fields: dict[str, Any] = value
        self._place = place

    def value(self, key: str) -> Any:
        return self._fields.get(key)

    def optional(self, key: str) -> "_Node":
        """An object; one without fields where there is none."""
        value = self._fields.get(key)
        return _Node({} if value is None else value, self._at(key))

    def required(self, key: str) -> "_Node":
        return _Node(self._present(key), self._at(key))

    def text(self, key: str) -> str | None:
        value = self._fields.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise _Unfit("wrong_type", f"{self._at(key)} is {_type_name(value)}", "string")
        if "\0" in value:
            raise _Unfit("nul_character", f"{self._at(key)} at character {value.index(chr(0))}", "no NUL")
        return value

    def name(self, key: str) -> str | None:
        """A text that is not empty and no longer than a name can be."""
        value = self.text(key)
        if value is not None and len(value) > MAX_NAME_CHARS:
            raise _Unfit("wrong_value", f"{self._at(key)} has {len(value)} characters", str(MAX_NAME_CHARS))
        return value or None

    def required_text(self, key: str, max_chars: int | None = None) -> str:
        self._present(key)
        value = self.text(key) if max_chars is None else self.name(key)
        if not value:
            raise _Unfit("wrong_value", f"{self._at(key)} is empty", "at least one character")
        return value

    def required_number(self, key: str) -> int:
        """A positive number of 63 bits, as one or as its digits."""
        value = self._present(key)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _Unfit("wrong_type", f"{self._at(key)} is {_type_name(value)}", "number")
        if not 0 < value < 2**63:
            raise _Unfit("wrong_value", f"{self._at(key)} is {value}", "from 1 to 2^63 - 1")
        return value

    def count(self, key: str) -> int | None:
        """A number that is not negative; None for what is none, since nothing depends on it."""
        value = self._fields.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None

    def time(self, key: str) -> int | None:
        value = self.text(key)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            raise _Unfit("wrong_value", f"{self._at(key)} is no time", "ISO 8601") from None

    def required_time(self, key: str) -> int:
        self._present(key)
        value = self.time(key)
        assert value is not None  # noqa: S101 - it is present
        return value

    def _present(self, key: str) -> Any:
        value = self._fields.get(key)
        if value is None:
            raise _Unfit("missing_field", self._at(key), "present")
        return value

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key


def _type_name(value: Any) -> str:
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a fraction",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")
