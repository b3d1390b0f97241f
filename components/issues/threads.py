"""Threads from their events: deduplicated, in order of time, with a beginning, and free of who asked to be left out."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.issues.participants import NameMask
from components.issues.read_events import GHOST
from components.sources.opt_outs import OptOuts
from components.sources.source_files import Refusal

Row = Mapping[str, Any]
"""A row of a run (event_runs.RUN) or of ISSUE_THREADS."""

REMOVED_USER = "removed-user"
"""Stands in the texts of others for the login of a participant who asked to be left out."""

MIN_BARE_CHARS = 3
"""A login of one or two characters is taken out of those texts only where it is mentioned with its @."""


def assemble_thread(rows: Sequence[Row]) -> dict[str, Any]:
    """A thread from all of its rows of a run in their order; what a row of ISSUE_THREADS has but source and licence.

    An event that comes twice counts once. Where no event opens the thread, or what opens it has no text, the beginning
    is taken from the first event that tells it. Title, state and the rest are what the last event says that says it.
    """
    events = _with_opening(rows, [_entry(row) for row in _distinct(rows)])
    repository, number = rows[0]["repository"], rows[0]["number"]
    is_pull_request = any(row["is_pull_request"] for row in rows)
    path = f"{'pull' if is_pull_request else 'issues'}/{number}"
    return {
        "repository": repository,
        "number": number,
        "path": path,
        "commit": None,
        "license": _last(rows, "license"),
        "stars": _last(rows, "stars"),
        "forks": _last(rows, "forks"),
        "updated_at": max(row["created_at"] for row in rows),
        "title": _last(rows, "title"),
        "state": _last(rows, "state"),
        "is_pull_request": is_pull_request,
        "events": events,
    }


def identified(thread: dict[str, Any]) -> dict[str, Any]:
    """The thread with its file_id and size_bytes."""
    title, events = thread["title"], thread["events"]
    told = json.dumps([title, events], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    content_digest = hashlib.sha256(told.encode()).hexdigest()
    identity = "\0".join((thread["repository"], thread["path"], "", content_digest))
    size_bytes = len((title or "").encode()) + sum(len(event["text"].encode()) for event in events)
    return thread | {"file_id": hashlib.sha256(identity.encode()).hexdigest()[:32], "size_bytes": size_bytes}


def honour_opt_outs(thread: dict[str, Any], opt_outs: OptOuts) -> dict[str, Any] | Refusal:
    """The thread without what users wrote who asked to be left out, and without their names in what others wrote.

    Refused as a whole if the repository is left out, or if such a user began it.
    """
    if opt_outs.repository(thread["repository"]):
        return Refusal("opted_out_repository", thread["repository"], "not on the list of opt-outs")
    opener = next((event["author"] for event in thread["events"] if event["kind"] == "opened"), None)
    if opener is not None and opt_outs.user(opener):
        return Refusal("opted_out_user", "opened the thread", "not on the list of opt-outs")
    removed = {event["author"] for event in thread["events"] if opt_outs.user(event["author"])}
    if not removed:
        return thread
    mask = NameMask(dict.fromkeys(sorted(removed), REMOVED_USER), MIN_BARE_CHARS)
    kept = [
        event | {"text": mask.apply(event["text"])[0]} for event in thread["events"] if event["author"] not in removed
    ]
    if not kept:
        return Refusal("opted_out_user", f"wrote all {len(thread['events'])} events", "not on the list of opt-outs")
    return thread | {"events": kept, "title": thread["title"] and mask.apply(thread["title"])[0]}


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """The rows without those whose event came before."""
    seen: set[int] = set()
    distinct: list[Row] = []
    for row in rows:
        if row["event_id"] not in seen:
            seen.add(row["event_id"])
            distinct.append(row)
    return distinct


def _entry(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("author", "kind", "text", "created_at")}


def _with_opening(rows: Sequence[Row], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    opening_text = _first(rows, "opening_text") or ""
    opened = next((event for event in events if event["kind"] == "opened"), None)
    if opened is not None:
        # Pull requests are opened without their text since October 2025.
        opened["text"] = opened["text"] or opening_text
        return events
    author = _first(rows, "opening_author")
    if author is None and not opening_text:
        return events
    created_at = _first(rows, "opened_at")
    opening = {
        "author": author or GHOST,
        "kind": "opened",
        "text": opening_text,
        "created_at": rows[0]["created_at"] if created_at is None else created_at,
    }
    return [opening, *events]


def _first(rows: Sequence[Row], name: str) -> Any:
    return _told(rows, name, lambda told: told[0])


def _last(rows: Sequence[Row], name: str) -> Any:
    return _told(rows, name, lambda told: told[-1])


def _told(rows: Sequence[Row], name: str, choose: Callable[[list[Any]], Any]) -> Any:
    told = [row[name] for row in rows if row[name] is not None]
    return choose(told) if told else None
