"""The step that lays commits out as documents: the code before, the message, the code after.

Commits that are not worth reading are dropped by rule (`message_rules.py`). Of those that pass one is kept for each
file of a repository, drawn by seed and row over the whole table, so that neither order nor shards choose it.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.commits.change_window import Window, choose_window
from components.commits.config import RenderCommitsConfig
from components.commits.ingest_commits import CHANGES
from components.commits.keyed_draw import draw
from components.commits.message_rules import CommitFacts, Drop, first_drop, rules_of
from components.commits.one_per_file import choose_documents
from components.errors import ParamsError
from components.markup import mark, plain
from components.section import Summary
from components.shard_map import Mapped, map_shards
from components.sources.languages import LANGUAGES
from components.tables import FilesCounts, FilesWriter, dropped_rows, read_dropped, read_files
from data_contracts.columns import CODE_FILES


class RenderCommitsSummary(Summary):
    """What was laid out."""

    files: FilesCounts
    documents_by_language: dict[str, int]
    """In alphabetical order."""
    message_last_documents: int
    """Documents whose message stands last."""


def run(config: RenderCommitsConfig, *, raw_commits: Path, out: Path, work_dir: Path) -> RenderCommitsSummary:
    """Write a document for each commit that passes the rules, and the others with the rule that dropped them.

    Raises ParamsError for a language that `languages.py` does not know.
    """
    _require_known_languages(config)
    rendered, shards = work_dir / "rendered", work_dir / "shards"
    shutil.rmtree(rendered, ignore_errors=True)
    for place in (rendered, shards):
        place.mkdir(parents=True, exist_ok=True)
    map_shards(partial(render_batch, config=config), [raw_commits], rendered, shards, reads=CHANGES)
    choice = choose_documents(rendered, config.seed)
    languages, message_last, first_row = Counter[str](), 0, 0
    with FilesWriter(out) as writer:
        for rows in read_dropped(rendered):
            writer.drop(rows)
        for batch in read_files(rendered):
            kept, dropped = choice.applied(batch, first_row)
            writer.keep(kept)
            writer.drop(dropped)
            first_row += batch.num_rows
            languages.update(kept.column("language").to_pylist())
            message_last += sum(_is_message_last(config, file_id) for file_id in kept.column("file_id").to_pylist())
    shutil.rmtree(rendered)
    return RenderCommitsSummary(
        files=writer.counts,
        documents_by_language=dict(sorted(languages.items())),
        message_last_documents=message_last,
    )


def render_batch(batch: pa.RecordBatch, config: RenderCommitsConfig) -> Mapped:
    """The documents of the rows of COMMIT_CHANGES that pass every rule; the others with the first that they fail."""
    rules = rules_of(config)
    kept: list[dict[str, Any]] = []
    rows: list[int] = []
    drops: list[Drop] = []
    for number, row in enumerate(batch.to_pylist()):
        facts = CommitFacts(row["subject"], row["before"], row["after"], row["language"], row["extension"])
        drop = first_drop(rules, facts, config.seed, row["file_id"])
        if drop is None:
            kept.append(_document(row, config))
        else:
            rows.append(number)
            drops.append(drop)
    dropped = dropped_rows(
        batch,
        rows,
        rules=[drop.rule for drop in drops],
        values=[drop.value for drop in drops],
        thresholds=[drop.threshold for drop in drops],
    )
    return Mapped(kept=pa.RecordBatch.from_pylist(kept, CODE_FILES), dropped=dropped)


def laid_out(window: Window, subject: str, *, is_message_last: bool) -> str:
    """The document: before, message, after; or before, after, message."""
    before = mark("commit_before") + plain(window.before)
    message = mark("commit_msg") + plain(subject)
    after = mark("commit_after") + plain(window.after)
    return before + after + message if is_message_last else before + message + after


def _document(row: dict[str, Any], config: RenderCommitsConfig) -> dict[str, Any]:
    window = choose_window(
        row["before"],
        row["after"],
        whole_file_fraction=config.whole_file_fraction,
        max_context_lines=config.max_context_lines,
        seed=config.seed,
        file_id=row["file_id"],
    )
    content = laid_out(window, row["subject"], is_message_last=_is_message_last(config, row["file_id"]))
    text = content.encode()
    own = {
        "kind": "commit",
        "content": content,
        "content_sha256": hashlib.sha256(text).hexdigest(),
        "size_bytes": len(text),
        "split": None,
    }
    return {name: row[name] for name in CODE_FILES.names if name not in own} | own


def _is_message_last(config: RenderCommitsConfig, file_id: str) -> bool:
    return draw(config.seed, file_id, "message_last") < config.message_last_fraction


def _require_known_languages(config: RenderCommitsConfig) -> None:
    known = {language.name for language in LANGUAGES}
    named: Sequence[tuple[str, Sequence[str]]] = (
        ("languages", config.languages),
        ("language_keep", tuple(config.language_keep)),
    )
    for section, names in named:
        for name in names:
            if name not in known:
                raise ParamsError(
                    f"render_commits.{section} names {name!r}, which components/sources/languages.py does not know; "
                    f"write one of {', '.join(sorted(known))}"
                )
