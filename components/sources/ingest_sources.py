"""The step that collects: every source becomes rows of source files with repository, path, commit and licence.

The only step that reads from outside the artifacts. What it reads is hostile until shown otherwise: a file that
is not text is dropped with a rule, and only a source that cannot be read at all stops the run.
"""

import codecs
import hashlib
import os
import posixpath
import sysconfig
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.errors import EmptyArtifactError
from components.section import Summary
from components.sources.config import (
    ArchiveSource,
    DirectorySource,
    GitSource,
    HubSource,
    IngestSourcesConfig,
    ParquetSource,
    Source,
)
from components.sources.languages import extension_of, language_of
from components.sources.licenses import LicenseMap, header_license, is_license_file
from components.sources.opt_outs import OptOuts, read_opt_outs
from components.sources.read_archive import digest_archive, open_archive
from components.sources.read_directory import digest_directory, open_directory
from components.sources.read_git import open_git, resolve_revision
from components.sources.read_parquet import digest_tables, list_tables, read_tables
from components.sources.source_files import (
    ContentDigest,
    Entry,
    FoundFile,
    Origin,
    Refusal,
    outcome_of,
    path_filter,
    path_refusal,
)
from components.tables import ROW_GROUP_BYTES, ROW_GROUP_ROWS, FilesCounts, FilesWriter
from data_contracts.columns import CODE_FILES, DROPPED_FILES
from model.reporting import track

UTF8_MARK = b"\xef\xbb\xbf"
_HEAD_BYTES = 4096
_PIECE_BYTES = 2**20
_MAX_LICENSE_BYTES = 2**20


class SourceCounts(Summary):
    """What one source gave."""

    name: str
    content_digest: str
    """sha256 over paths and contents as they were read; of a directory it is what `resolve_sources` gives."""
    files: FilesCounts


class IngestSummary(Summary):
    """What all sources gave."""

    files: FilesCounts
    sources: tuple[SourceCounts, ...]
    licenses: dict[str, int]
    """Kept files per SPDX expression, in alphabetical order; "unknown" where there is none."""


def resolve_sources(config: IngestSourcesConfig, workspace: Path) -> dict[str, str]:
    """For each source a digest of what `run` would read now; it depends on no absolute path, time or file order.

    A commit for a Git repository, a sha256 for a directory or an archive. SourceError for a source that is not
    there or not what its kind says.
    """
    return {source.name: _digest(source, workspace, config.max_file_bytes) for source in config.sources}


def run(config: IngestSourcesConfig, *, opt_outs: Path, workspace: Path, out: Path) -> IngestSummary:
    """Write the files of all sources, source by source in the order of the config, as one table.

    Relative paths of sources start at `workspace`. What belongs to someone who opted out is dropped. Raises
    SourceError as `resolve_sources`, and EmptyArtifactError if no file was kept.
    """
    with FilesWriter(out, config.shard_bytes) as writer:
        rows = _Rows(writer, read_opt_outs(opt_outs))
        sources = tuple(_collect(source, workspace, config.max_file_bytes, rows) for source in config.sources)
        if writer.counts.kept_files == 0:
            raise EmptyArtifactError(_nothing_kept(sources))
    return IngestSummary(files=writer.counts, sources=sources, licenses=dict(sorted(rows.licenses.items())))


def readable_text(data: bytes) -> bytes | Refusal:
    """The UTF-8 text of a file without its byte order mark, or why it is none."""
    nul = data.find(b"\0")
    if nul >= 0:
        return Refusal("binary", f"NUL at byte {nul}", "no NUL byte")
    text = data.removeprefix(UTF8_MARK)
    if not text:
        return Refusal("empty", "0", "1")
    return _utf8_refusal(text) or text


def _utf8_refusal(text: bytes) -> Refusal | None:
    """Decoded piece by piece: as a whole, one rare character would make the text four times as large."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(text), _PIECE_BYTES):
        piece = text[start : start + _PIECE_BYTES]
        try:
            decoder.decode(piece, final=start + len(piece) == len(text))
        except UnicodeDecodeError as error:
            # `object` is the piece with what the piece before left open.
            position = start + len(piece) - len(error.object) + error.start
            return Refusal("not_utf8", f"byte {text[position]:#04x} at {position}", "UTF-8")
    return None


def _digest(source: Source, workspace: Path, max_file_bytes: int) -> str:
    path = _location(source, workspace)
    match source:
        case DirectorySource():
            return digest_directory(source.name, path, path_filter(source.exclude), max_file_bytes)
        case GitSource():
            return resolve_revision(source.name, path, source.revision).digest(source.history)
        case ArchiveSource():
            return digest_archive(source.name, path)
        case ParquetSource() | HubSource():
            return digest_tables(list_tables(source, path))


def _opened(
    source: DirectorySource | GitSource | ArchiveSource, workspace: Path
) -> AbstractContextManager[list[Entry]]:
    path, is_excluded = _location(source, workspace), path_filter(source.exclude)
    match source:
        case DirectorySource():
            return open_directory(source.name, path, is_excluded)
        case GitSource():
            revision = resolve_revision(source.name, path, source.revision)
            return open_git(revision, source.history, is_excluded)
        case ArchiveSource():
            return open_archive(source.name, path, is_excluded)


def _location(source: Source, workspace: Path) -> Path:
    named = source.path.replace("{python_stdlib}", sysconfig.get_path("stdlib"))
    return Path(os.path.realpath(workspace / named))


def _collect(source: Source, workspace: Path, max_file_bytes: int, rows: "_Rows") -> SourceCounts:
    digest = ContentDigest()

    def add(entry: Entry, licenses: LicenseMap | None) -> None:
        outcome = outcome_of(entry, max_file_bytes)
        digest.add(entry, outcome)
        rows.add(source, entry, outcome, licenses)

    if isinstance(source, ParquetSource | HubSource):
        tables = list_tables(source, _location(source, workspace))
        for entry in track(read_tables(source, tables), None, f"files of {source.name}"):
            add(entry, None)
    else:
        with _opened(source, workspace) as entries:
            licenses = _license_map(entries, source.license)
            for entry in track(entries, len(entries), f"files of {source.name}"):
                add(entry, licenses)
    return SourceCounts(name=source.name, content_digest=digest.hexdigest(), files=rows.end_source())


def _license_map(entries: list[Entry], declared: str | None) -> LicenseMap:
    """From the newest text of each licence file; in a history also of one that was deleted since."""
    newest = {entry.path: entry for entry in entries if isinstance(entry, FoundFile) and is_license_file(entry.path)}
    texts: dict[str, str] = {}
    for path, entry in newest.items():
        data = outcome_of(entry, _MAX_LICENSE_BYTES)
        texts[path] = "" if isinstance(data, Refusal) else data.decode("utf-8", "replace")
    top = posixpath.commonpath([posixpath.dirname(entry.path) for entry in entries]) if entries else ""
    return LicenseMap(texts, declared, top)


class _Rows:
    """Gathers rows until they make a batch for the writer, and counts per source."""

    def __init__(self, writer: FilesWriter, opt_outs: OptOuts) -> None:
        self._writer = writer
        self._opt_outs = opt_outs
        self._kept: list[dict[str, Any]] = []
        self._texts: list[bytes] = []
        self._kept_bytes = 0
        self._dropped: list[dict[str, Any]] = []
        self._before = writer.counts
        self._file_ids: set[str] = set()
        self.licenses: Counter[str] = Counter()

    def add(self, source: Source, entry: Entry, outcome: bytes | Refusal, licenses: LicenseMap | None) -> None:
        """Keep the entry's text, or drop it with the reason. `licenses`: of the tree; a table tells its own."""
        told = entry.origin or Origin(source.repository, None, None, None, None)
        if self._opt_outs.repository(told.repository):
            outcome = Refusal("opted_out_repository", told.repository, "not on the list of opt-outs")
        else:
            outcome = path_refusal(entry.path) or outcome
        text = readable_text(outcome) if isinstance(outcome, bytes) else outcome
        content_sha256 = hashlib.sha256(text).hexdigest() if isinstance(text, bytes) else ""
        file_id = file_id_of(told.repository, entry.path, entry.commit or "", content_sha256)
        if isinstance(text, bytes) and file_id in self._file_ids:
            text = Refusal("duplicate_file", "the same again", "one", f"kept as {file_id}")
        origin = {
            "file_id": file_id,
            "source": source.name,
            "repository": told.repository,
            "path": entry.path,
            "commit": entry.commit,
        }
        if isinstance(text, Refusal):
            reason = {"rule": text.rule, "value": text.value, "threshold": text.threshold, "detail": text.detail}
            self._dropped.append(origin | reason | {"size_bytes": entry.size_bytes})
        else:
            self._file_ids.add(file_id)
            license_ = licenses.covering(entry.path) if licenses else told.license
            known = {"stars": told.stars, "forks": told.forks, "updated_at": told.updated_at}
            self._keep(origin | known, text, content_sha256, license_)
        if self._kept_bytes >= ROW_GROUP_BYTES or len(self._kept) + len(self._dropped) >= ROW_GROUP_ROWS:
            self._flush()

    def _keep(self, origin: dict[str, Any], text: bytes, content_sha256: str, license_: str | None) -> None:
        path = origin["path"]
        head = text[:_HEAD_BYTES]
        license_ = header_license(head.decode("utf-8", "replace")) or license_
        described = {
            "kind": "file",
            "content": "",
            "content_sha256": content_sha256,
            "size_bytes": len(text),
            "license": license_,
            "language": language_of(path, head),
            "extension": extension_of(path),
        }
        self.licenses[license_ or "unknown"] += 1
        self._kept.append(origin | described)
        self._texts.append(text)
        self._kept_bytes += len(text)

    def end_source(self) -> FilesCounts:
        """What came since the last source ended."""
        self._flush()
        before, now = self._before, self._writer.counts
        self._before = now
        return now.since(before)

    def _flush(self) -> None:
        kept = pa.RecordBatch.from_pylist(self._kept, CODE_FILES)
        index = CODE_FILES.get_field_index("content")
        self._writer.keep(kept.set_column(index, CODE_FILES.field(index), _text_column(self._texts)))
        self._writer.drop(pa.RecordBatch.from_pylist(self._dropped, DROPPED_FILES))
        self._kept, self._texts, self._kept_bytes, self._dropped = [], [], 0, []


def _text_column(texts: list[bytes]) -> pa.Array:
    """UTF-8 texts as they are: building the column value by value would copy a large one three times over."""
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))


def file_id_of(repository: str, path: str, commit: str, content_sha256: str) -> str:
    """The id of a row: first 32 hex digits of sha256 over the four, joined by NUL."""
    return hashlib.sha256("\0".join((repository, path, commit, content_sha256)).encode()).hexdigest()[:32]


def _nothing_kept(sources: tuple[SourceCounts, ...]) -> str:
    told = "; ".join(f"{source.name} (dropped: {source.files.rules_told()})" for source in sources)
    return f"ingest_sources kept no file of {told}; correct its sources' paths and excludes"
