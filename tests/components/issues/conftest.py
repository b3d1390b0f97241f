"""What tests of issues share: events as GitHub writes them, event files, and opt-outs."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from components.issues.config import IngestIssuesConfig, RenderIssuesConfig

Event = dict[str, Any]


@pytest.fixture(scope="session")
def event_of() -> Callable[..., Event]:
    """Call it with a kind of event and what differs from the usual: it gives the event in GitHub's layout."""
    return _event


def _event(
    kind: str,
    *,
    id: int = 1,
    repo: str = "owner/project",
    number: int = 7,
    author: str = "alice",
    text: str | None = "It does not work.",
    at: str = "2021-05-01T10:00:00Z",
    title: str | None = "A title",
    opener: str = "alice",
    opening: str | None = "The first text.",
    is_pull: bool = False,
    is_trimmed: bool = False,
) -> Event:
    issue = {
        "number": number,
        "title": title,
        "state": "closed" if kind == "closed" else "open",
        "user": {"login": opener},
        "body": text if kind == "opened" else opening,
        "created_at": "2021-05-01T09:00:00Z",
    }
    pull = {"number": number} if is_trimmed else issue | {"base": {"repo": {"stargazers_count": 12, "forks_count": 3}}}
    message = {"user": {"login": author}, "body": text}
    if is_pull and kind == "comment":
        issue["pull_request"] = {"url": "https://api.github.com/repos/owner/project/pulls/7"}
    payloads: dict[str, tuple[str, Any]] = {
        "comment": ("IssueCommentEvent", {"action": "created", "issue": issue, "comment": message}),
        "review": ("PullRequestReviewEvent", {"action": "created", "pull_request": pull, "review": message}),
        "review_comment": (
            "PullRequestReviewCommentEvent",
            {"action": "created", "pull_request": pull, "comment": message},
        ),
    }
    subject = (
        ("PullRequestEvent", {"action": kind, "pull_request": pull})
        if is_pull
        else ("IssuesEvent", {"action": kind, "issue": issue})
    )
    name, payload = payloads.get(kind, subject)
    actor = opener if kind == "opened" else author
    return {
        "id": str(id),
        "type": name,
        "actor": {"id": 5, "login": actor},
        "repo": {"id": 9, "name": repo},
        "payload": payload,
        "public": True,
        "created_at": at,
    }


@pytest.fixture(scope="session")
def write_archive() -> Callable[[Path, Sequence[Event | bytes]], Path]:
    """Call it with a path and lines, each an event or bytes: it writes them as GH Archive does."""

    def write(path: Path, lines: Sequence[Event | bytes]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in data), 1, mtime=0))
        return path

    return write


@pytest.fixture
def opt_outs_of(tmp_path: Path) -> Callable[..., Path]:
    """Call it with repositories and users: it writes the artifact opt_outs."""

    def write(repositories: Sequence[str] = (), users: Sequence[str] = ()) -> Path:
        place = tmp_path / f"opt-outs-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        (place / "opt_outs.json").write_text(json.dumps({"repositories": repositories, "users": users}))
        return place

    return write


@pytest.fixture(scope="session")
def ingest_config() -> Callable[..., IngestIssuesConfig]:
    """Call it with the paths of sources and what differs from the usual."""

    def config(*paths: str, **more: Any) -> IngestIssuesConfig:
        sources = [{"name": f"source-{index}", "path": path, "license": None} for index, path in enumerate(paths)]
        usual = {"recipe": 1, "max_line_bytes": 2**20, "max_thread_bytes": 2**20, "shard_bytes": 2**20}
        return IngestIssuesConfig.model_validate({"sources": sources} | usual | more)

    return config


@pytest.fixture(scope="session")
def render_config() -> Callable[..., RenderIssuesConfig]:
    """Call it with what differs from the papers' numbers."""

    def config(**more: Any) -> RenderIssuesConfig:
        usual = {
            "recipe": 1,
            "max_message_lines": 100,
            "last_message_lines": 20,
            "min_text_chars": 200,
            "min_users": 2,
            "max_monologue_chars": 7000,
            "max_monologue_events": 10,
            "min_english_probability": 0.5,
            "min_prose_bytes": 60,
            "min_bare_username_chars": 3,
        }
        return RenderIssuesConfig.model_validate(usual | more)

    return config
