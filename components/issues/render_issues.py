"""The step that writes conversations down: each thread worth reading becomes one document in StarCoder's layout.

    <issue_start>Title: TITLE
    username_0: TEXT<issue_comment>username_1: TEXT<issue_closed><issue_comment>username_0: TEXT

(StarCoder2, arXiv 2402.19173, section 5.3; unchanged from StarCoder.) The tokens are marks (components/markup.py), so
no text of a user can forge one. Participants are numbered as they first appear; their logins are replaced in all texts
of the thread, those of bots and of people who took no part are not.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.issues.config import RenderIssuesConfig
from components.issues.english import language_of_prose, prose_of
from components.issues.ingest_issues import THREADS
from components.issues.message_rules import (
    SizeLimits,
    Turn,
    is_bot,
    size_refusal,
    without_bots,
    without_mail,
    without_middle,
)
from components.issues.participants import NameMask
from components.markup import mark, plain
from components.section import Summary
from components.shard_map import Mapped, map_shards
from components.sources.source_files import Refusal
from components.tables import FilesCounts, dropped_rows
from data_contracts.columns import CODE_FILES

LANGUAGE = "github-issue"
"""The `language` of these documents: an issue is in none, and later steps refuse a file without one."""


class RenderIssuesSummary(Summary):
    """What was written down."""

    files: FilesCounts
    counts: dict[str, int]
    """Of all threads, kept or not: messages, and how many of them went (bot, bot_call, empty) or became shorter (mail,
    truncated); in the kept ones, names replaced. In alphabetical order, without what is zero."""


@dataclass(frozen=True)
class Rendered:
    """A document, or why there is none; and what was done on the way."""

    outcome: str | Refusal
    counts: Counter[str]


def run(config: RenderIssuesConfig, *, raw_issues: Path, out: Path, work_dir: Path) -> RenderIssuesSummary:
    """Write issue_files: a table of CODE_FILES in the order of raw_issues, without a row if there is no issue."""
    outcome = map_shards(partial(render_batch, config=config), [raw_issues], out, work_dir, reads=THREADS)
    return RenderIssuesSummary(files=outcome.files, counts=outcome.counts)


def render_batch(batch: pa.RecordBatch, config: RenderIssuesConfig) -> Mapped:
    """The documents of a batch of ISSUE_THREADS, and the threads that gave none."""
    threads = batch.to_pylist()
    rendered = [render_thread(thread["title"], _turns(thread), config) for thread in threads]
    kept = [
        _document(thread, each.outcome)
        for thread, each in zip(threads, rendered, strict=True)
        if isinstance(each.outcome, str)
    ]
    refused = [(row, each.outcome) for row, each in enumerate(rendered) if isinstance(each.outcome, Refusal)]
    return Mapped(
        kept=pa.RecordBatch.from_pylist(kept, CODE_FILES),
        dropped=dropped_rows(
            batch,
            [row for row, _ in refused],
            rules=[refusal.rule for _, refusal in refused],
            values=[refusal.value for _, refusal in refused],
            thresholds=[refusal.threshold for _, refusal in refused],
            details=[refusal.detail for _, refusal in refused],
        ),
        counts=sum((each.counts for each in rendered), Counter[str]()),
    )


def render_thread(title: str | None, turns: Sequence[Turn], config: RenderIssuesConfig) -> Rendered:
    """The document of one thread in its order; pure."""
    cleaned, counts = _cleaned(turns, config)
    kept, removed = without_bots(cleaned)
    counts.update(removed)
    spoken = [turn for turn in kept if turn.text or turn.kind == "opened" or not turn.is_message]
    counts["empty"] += len(kept) - len(spoken)
    shown = " ".join((title or "").split())
    refusal = _refusal(shown, spoken, counts, config)
    if refusal is not None:
        return Rendered(refusal, counts)
    content, counts["names"] = _laid_out(shown, spoken, turns, config.min_bare_username_chars)
    return Rendered(content, counts)


def _turns(thread: dict[str, Any]) -> list[Turn]:
    return [Turn(event["author"], event["kind"], event["text"]) for event in thread["events"]]


def _cleaned(turns: Sequence[Turn], config: RenderIssuesConfig) -> tuple[list[Turn], Counter[str]]:
    """The turns with each message in its final length."""
    counts = Counter[str]()
    cleaned: list[Turn] = []
    for turn in turns:
        if not turn.is_message:
            cleaned.append(turn)
            continue
        written = plain(turn.text).replace("\r\n", "\n").replace("\r", "\n").strip()
        said = without_mail(written)
        text = without_middle(said, config.max_message_lines, config.last_message_lines)
        counts.update(messages=1, mail=said != written, truncated=text != said)
        cleaned.append(Turn(turn.author, turn.kind, text))
    return cleaned, counts


def _refusal(title: str, turns: Sequence[Turn], counts: Counter[str], config: RenderIssuesConfig) -> Refusal | None:
    if not title:
        return Refusal("no_title", "0 characters", "1 character")
    if not any(turn.is_message for turn in turns):
        went = ", ".join(f"{name} {counts[name]}" for name in ("bot", "bot_call", "empty"))
        return Refusal("no_messages", f"0 of {counts['messages']}", "1", f"went: {went}")
    limits = SizeLimits(
        min_text_chars=config.min_text_chars,
        min_users=config.min_users,
        max_monologue_chars=config.max_monologue_chars,
        max_monologue_events=config.max_monologue_events,
    )
    return size_refusal(turns, limits) or _language_refusal(title, turns, config)


def _language_refusal(title: str, turns: Sequence[Turn], config: RenderIssuesConfig) -> Refusal | None:
    if config.min_english_probability == 0:
        return None
    prose = prose_of("\n\n".join((title, *(turn.text for turn in turns))))
    if len(prose.encode()) < config.min_prose_bytes:
        return None
    language, probability = language_of_prose(prose)
    if probability >= config.min_english_probability:
        return None
    return Refusal("not_english", f"{probability:.2f}", str(config.min_english_probability), f"likeliest: {language}")


def _laid_out(title: str, turns: Sequence[Turn], everybody: Sequence[Turn], min_bare_chars: int) -> tuple[str, int]:
    """The document of the `turns` that are left, and how many names were replaced; `everybody` took part."""
    pseudonyms = _pseudonyms((*turns, *everybody))
    mask = NameMask(pseudonyms, min_bare_chars)
    shown, replaced = mask.apply(plain(title))
    pieces = [mark("issue_start"), f"Title: {shown}"]
    separator = "\n"
    for turn in turns:
        if turn.is_message:
            text, count = mask.apply(turn.text)
            replaced += count
            pieces.append(f"{separator}{pseudonyms[turn.author]}: {text}")
            separator = mark("issue_comment")
        elif turn.kind == "closed":
            pieces.append(mark("issue_closed"))
    return "".join(pieces), replaced


def _pseudonyms(turns: Sequence[Turn]) -> dict[str, str]:
    """Authors of messages first, in the order of appearance, then whoever else took part and is no bot."""
    numbers: dict[str, int] = {}
    spelled: dict[str, str] = {}
    for turn in sorted(turns, key=lambda turn: not turn.is_message):
        if is_bot(turn.author):
            continue
        number = numbers.setdefault(turn.author.lower(), len(numbers))
        spelled[turn.author] = f"username_{number}"
    return spelled


def _document(thread: dict[str, Any], content: str) -> dict[str, Any]:
    data = content.encode()
    carried = ("file_id", "source", "repository", "path", "commit", "license", "stars", "forks", "updated_at")
    return {name: thread[name] for name in carried} | {
        "kind": "issue",
        "content": content,
        "content_sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "language": LANGUAGE,
        "extension": "",
        "split": None,
    }
