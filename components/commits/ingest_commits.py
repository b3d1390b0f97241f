"""The step that collects commits: every file that a commit of a history changes, before and after, with the message.

What a repository holds is hostile until shown otherwise: only its objects are read, and what cannot be read is
dropped with a rule, commit by commit. Only a repository that is not there stops the run.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.commits.commit_objects import Commit, list_history
from components.commits.config import HistorySource, IngestCommitsConfig
from components.commits.read_history import ChangedFile, CommitChanges, HistoryReader, Texts
from components.section import Summary
from components.sources.git_objects import objects_only, shallow_commits
from components.sources.ingest_sources import file_id_of
from components.sources.languages import extension_of, language_of
from components.sources.licenses import LicenseMap, header_license
from components.sources.opt_outs import OptOuts, read_opt_outs
from components.sources.read_git import GitRevision, resolve_revision
from components.sources.source_files import Refusal, path_filter, path_refusal
from components.tables import ROW_GROUP_BYTES, ROW_GROUP_ROWS, FilesCounts, FilesWriter, TableFormat
from data_contracts.columns import COMMIT_CHANGES, DROPPED_FILES
from model.reporting import track

CHANGES = TableFormat("changes", COMMIT_CHANGES)

_HEAD_BYTES = 4096
_AGAIN = Refusal("duplicate_commit", "the same commit again", "once")
_SAME_PATH = Refusal("duplicate_file", "a path that is written like another's", "one")


class HistoryCounts(Summary):
    """What one history gave."""

    name: str
    commit: str
    """Whose history it is."""
    num_commits: int
    """Commits that were looked at."""
    files: FilesCounts
    """Of the kept rows, each a file of a commit; a commit that is dropped as a whole counts as one."""


class IngestCommitsSummary(Summary):
    """What all histories gave."""

    files: FilesCounts
    histories: tuple[HistoryCounts, ...]


def resolve_sources(config: IngestCommitsConfig, workspace: Path) -> dict[str, str]:
    """For each history what fixes everything that `run` would read now: its newest commit, and where it is cut off.

    SourceError for a repository that is not there or has no such revision.
    """
    return {history.name: _revision(history, workspace).digest(history=True) for history in config.histories}


def run(config: IngestCommitsConfig, *, opt_outs: Path, workspace: Path, out: Path) -> IngestCommitsSummary:
    """Write the changes of all histories, in the order of the config and each commit after its parents, as one table.

    A dropped row whose path is empty is a whole commit; one without a commit is a whole history. Raises SourceError
    as `resolve_sources`, CorruptArtifactError as `read_opt_outs`.
    """
    left_out = read_opt_outs(opt_outs)
    with FilesWriter(out, config.shard_bytes, CHANGES) as writer:
        rows = _Rows(writer)
        histories = tuple(_collect(history, config, workspace, left_out, rows, out) for history in config.histories)
    return IngestCommitsSummary(files=writer.counts, histories=histories)


def _revision(history: HistorySource, workspace: Path) -> GitRevision:
    return resolve_revision(history.name, Path(os.path.realpath(workspace / history.path)), history.revision)


def _collect(
    history: HistorySource, config: IngestCommitsConfig, workspace: Path, opt_outs: OptOuts, rows: "_Rows", out: Path
) -> HistoryCounts:
    revision = _revision(history, workspace)
    if opt_outs.repository(history.repository):
        rows.drop(history, None, "", 0, Refusal("opted_out_repository", history.repository, "not in opt_outs"))
        return HistoryCounts(name=history.name, commit=revision.commit, num_commits=0, files=rows.end_history())
    boundaries = shallow_commits(revision.root)
    with objects_only(revision.root, out) as git:
        reader = HistoryReader(git, boundaries, opt_outs, config.max_files_per_commit, config.max_file_bytes)
        try:
            licenses = reader.licenses(revision.commit, history.license)
            commits = list_history(reader.objects, revision.commit, boundaries)
            opened = _Opened(history, reader, licenses, path_filter(history.exclude))
            for commit_id in track(commits, len(commits), f"commits of {history.name}"):
                rows.add(opened, commit_id)
        finally:
            reader.close()
    return HistoryCounts(name=history.name, commit=revision.commit, num_commits=len(commits), files=rows.end_history())


@dataclass(frozen=True)
class _Opened:
    """A history while it is read."""

    history: HistorySource
    reader: HistoryReader
    licenses: LicenseMap
    is_excluded: Callable[[str], bool]


class _Rows:
    """Gathers rows until they make a batch for the writer, and counts per history."""

    def __init__(self, writer: FilesWriter) -> None:
        self._writer = writer
        self._kept: list[dict[str, Any]] = []
        self._kept_bytes = 0
        self._dropped: list[dict[str, Any]] = []
        self._before = writer.counts
        self._seen: set[tuple[str, bytes]] = set()

    def add(self, opened: _Opened, commit_id: str) -> None:
        """Keep what the commit changes, or drop it with the reason."""
        history = opened.history
        key = (history.repository, bytes.fromhex(commit_id))
        found = _AGAIN if key in self._seen else opened.reader.read(commit_id)
        self._seen.add(key)
        if isinstance(found, Refusal):
            self.drop(history, commit_id, "", 0, found)
            return
        paths: set[str] = set()
        for file in found.files:
            if opened.is_excluded(file.path):
                continue
            outcome = _SAME_PATH if file.path in paths else path_refusal(file.path) or file.outcome
            paths.add(file.path)
            if isinstance(outcome, Refusal):
                self.drop(history, commit_id, file.path, file.size_bytes, outcome)
            else:
                self._keep(opened, commit_id, found, file, outcome)

    def drop(self, history: HistorySource, commit_id: str | None, path: str, size_bytes: int, why: Refusal) -> None:
        """Drop a file of a commit, a whole commit (no path) or a whole history (no commit either)."""
        origin = _origin(history, commit_id, path, "")
        reason = {"rule": why.rule, "value": why.value, "threshold": why.threshold, "detail": why.detail}
        self._dropped.append(origin | reason | {"size_bytes": size_bytes})
        self._flush_if_full()

    def end_history(self) -> FilesCounts:
        """What came since the last history ended."""
        self._flush()
        before, now = self._before, self._writer.counts
        self._before = now
        return now.since(before)

    def _keep(self, opened: _Opened, commit_id: str, changes: CommitChanges, file: ChangedFile, texts: Texts) -> None:
        content_sha256 = hashlib.sha256(texts.before + b"\0" + texts.after).hexdigest()
        head = (texts.after or texts.before)[:_HEAD_BYTES]
        size_bytes = len(texts.before) + len(texts.after)
        described = {
            "size_bytes": size_bytes,
            "license": header_license(head.decode("utf-8", "replace")) or opened.licenses.covering(file.path),
            "language": language_of(file.path, head),
            "extension": extension_of(file.path),
            "before": texts.before.decode(),
            "after": texts.after.decode(),
            "old_path": file.old_path,
            "num_files_in_commit": len(changes.files),
        }
        origin = _origin(opened.history, commit_id, file.path, content_sha256)
        self._kept.append(origin | _told_of(changes.commit) | described)
        self._kept_bytes += size_bytes
        self._flush_if_full()

    def _flush_if_full(self) -> None:
        if self._kept_bytes >= ROW_GROUP_BYTES or len(self._kept) + len(self._dropped) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.keep(pa.RecordBatch.from_pylist(self._kept, COMMIT_CHANGES))
        self._writer.drop(pa.RecordBatch.from_pylist(self._dropped, DROPPED_FILES))
        self._kept, self._kept_bytes, self._dropped = [], 0, []


def _origin(history: HistorySource, commit_id: str | None, path: str, content_sha256: str) -> dict[str, Any]:
    return {
        "file_id": file_id_of(history.repository, path, commit_id or "", content_sha256),
        "source": history.name,
        "repository": history.repository,
        "path": path,
        "commit": commit_id,
    }


def _told_of(commit: Commit) -> dict[str, Any]:
    return {
        "stars": None,
        "forks": None,
        "updated_at": commit.made_at,
        "author": commit.author,
        "subject": commit.subject,
        "message": commit.message,
    }
