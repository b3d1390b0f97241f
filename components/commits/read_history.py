"""What each commit of a history changes: the texts of its files before and after, or why there are none."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from components.commits.commit_objects import Commit, read_commit
from components.commits.compare_trees import Change, RenameFinder, Side, compare_trees
from components.sources.git_objects import LINK_MODE, SUBMODULE_MODE, Git, ObjectReader
from components.sources.ingest_sources import readable_text
from components.sources.licenses import LicenseMap, is_license_file
from components.sources.opt_outs import OptOuts
from components.sources.source_files import Refusal, printable_path, symbolic_link, unreadable

MAX_TREES_PER_COMMIT = 1_000
"""Directories that a commit may touch; one that changes a handful of files touches as many as they lie deep."""

MAX_TREES, MAX_FILES = 1_000_000, 4_000_000
"""Directories and files of a repository in which its licences are looked for; past them it counts as unlicensed."""

_MAX_LICENSE_BYTES = 2**20
_CO_AUTHOR = re.compile(r"^co-authored-by:[ \t]*([^<\n]*)<([^>\n]*)>", re.IGNORECASE | re.MULTILINE)
_GITHUB_ADDRESS = re.compile(r"(?:\d+\+)?([^@+]+)@users\.noreply\.github\.com", re.IGNORECASE)


@dataclass(frozen=True)
class Texts:
    """A file in UTF-8 before and after a commit; empty where there is none."""

    before: bytes
    after: bytes


@dataclass(frozen=True)
class ChangedFile:
    """One file that a commit changes."""

    path: str
    old_path: str | None
    size_bytes: int
    """Of both sides together, as far as they are known."""
    outcome: Texts | Refusal


@dataclass(frozen=True)
class CommitChanges:
    """A commit with the files that it changes."""

    commit: Commit
    files: tuple[ChangedFile, ...]


class HistoryReader:
    """Reads the commits of one repository, which it is given by id."""

    def __init__(
        self, git: Git, boundaries: frozenset[str], opt_outs: OptOuts, max_files: int, max_file_bytes: int
    ) -> None:
        self.objects = ObjectReader(git)
        self._renames = RenameFinder(git)
        self._boundaries = boundaries
        self._opt_outs = opt_outs
        self._max_files = max_files
        self._max_file_bytes = max_file_bytes
        self._last: tuple[str, str] = ("", "")

    def read(self, commit_id: str) -> CommitChanges | Refusal:
        """What the commit changes, or why it is not taken as a whole."""
        commit = read_commit(self.objects, commit_id)
        if isinstance(commit, Refusal):
            return commit
        last, self._last = self._last, (commit_id, commit.tree)
        refusal = self._commit_refusal(commit_id, commit)
        if refusal:
            return refusal
        parent_tree = self._parent_tree(commit, last)
        if isinstance(parent_tree, Refusal):
            return parent_tree
        changes = self._changes(parent_tree, commit.tree)
        if isinstance(changes, Refusal):
            return changes
        return CommitChanges(commit, tuple(self._changed_file(change) for change in changes))

    def licenses(self, tip: str, declared: str | None) -> LicenseMap:
        """Which licence covers which path of the newest commit; none does where its tree cannot be read."""
        commit = read_commit(self.objects, tip)
        tree = commit.tree if isinstance(commit, Commit) else None
        files = compare_trees(self.objects, None, tree, max_changes=MAX_FILES, max_trees=MAX_TREES)
        if tree is None or isinstance(files, Refusal) or len(files) > MAX_FILES:
            return LicenseMap({}, None)
        found = {printable_path(file.path): file.after for file in files}
        return LicenseMap(
            {path: self._license_text(side) for path, side in found.items() if side and is_license_file(path)}, declared
        )

    def close(self) -> None:
        """End the processes that were asked."""
        self.objects.close()
        self._renames.close()

    def _commit_refusal(self, commit_id: str, commit: Commit) -> Refusal | None:
        if len(commit.parents) > 1:
            return Refusal("merge", f"{len(commit.parents)} parents", "1 parent")
        if any(self._opt_outs.user(name) for name in author_names(commit)):
            return Refusal("opted_out_author", "an author in opt_outs", "none")
        if commit_id in self._boundaries:
            return Refusal("shallow_boundary", "a parent that was not cloned", "a parent to compare with")
        return commit.message if isinstance(commit.message, Refusal) else None

    def _parent_tree(self, commit: Commit, last: tuple[str, str]) -> str | Refusal | None:
        """The tree of the one parent, which mostly is the `last` commit read; None for a first commit."""
        if not commit.parents:
            return None
        if commit.parents[0] == last[0]:
            return last[1]
        parent = read_commit(self.objects, commit.parents[0])
        return parent if isinstance(parent, Refusal) else parent.tree

    def _changes(self, old: str | None, new: str) -> list[Change] | Refusal:
        # A rename is two differences until Git has told that it is one change.
        limit = 2 * self._max_files
        changes = compare_trees(self.objects, old, new, max_changes=limit, max_trees=MAX_TREES_PER_COMMIT)
        if isinstance(changes, Refusal):
            return changes
        if not changes:
            return Refusal("empty_commit", "0 files", "1 file")
        if len(changes) > limit:
            return Refusal("max_files_per_commit", f"more than {limit} paths", f"{self._max_files} files")
        if old is not None and self._may_hold_renames(changes):
            changes = self._renames.joined(changes, old, new)
        if len(changes) > self._max_files:
            return Refusal("max_files_per_commit", f"{len(changes)} files", f"{self._max_files} files")
        return changes

    def _may_hold_renames(self, changes: list[Change]) -> bool:
        """Whether there are files on either side, all of a size that Git may well compare."""
        deleted = [change.before for change in changes if change.before and change.after is None]
        added = [change.after for change in changes if change.after and change.before is None]
        sizes = (self.objects.size(side.object_id) for side in deleted + added if side.mode != SUBMODULE_MODE)
        return bool(deleted and added) and all(
            size_bytes is not None and size_bytes <= self._max_file_bytes for size_bytes in sizes
        )

    def _changed_file(self, change: Change) -> ChangedFile:
        sides = [side for side in (change.before, change.after) if side]
        sizes = [0 if side.mode == SUBMODULE_MODE else self.objects.size(side.object_id) for side in sides]
        return ChangedFile(
            path=printable_path(change.path),
            old_path=None if change.old_path is None else printable_path(change.old_path),
            size_bytes=sum(size_bytes or 0 for size_bytes in sizes),
            outcome=_mode_refusal(sides) or self._size_refusal(sides, sizes) or self._texts(change),
        )

    def _size_refusal(self, sides: list[Side], sizes: list[int | None]) -> Refusal | None:
        for side, size_bytes in zip(sides, sizes, strict=True):
            if size_bytes is None:
                return unreadable(f"object {side.object_id} is missing")
            if size_bytes > self._max_file_bytes:
                return Refusal("max_file_bytes", str(size_bytes), str(self._max_file_bytes))
        return None

    def _texts(self, change: Change) -> Texts | Refusal:
        before, after = self._text(change.before), self._text(change.after)
        if isinstance(before, Refusal):
            return before
        if isinstance(after, Refusal):
            return after
        return Texts(before, after) if before != after else Refusal("no_change", "the same text", "another text")

    def _text(self, side: Side | None) -> bytes | Refusal:
        data = b"" if side is None else self.objects.read(side.object_id, self._max_file_bytes)
        text = readable_text(data) if isinstance(data, bytes) else data
        return b"" if isinstance(text, Refusal) and text.rule == "empty" else text

    def _license_text(self, side: Side) -> str:
        data = (
            b"" if side.mode in (LINK_MODE, SUBMODULE_MODE) else self.objects.read(side.object_id, _MAX_LICENSE_BYTES)
        )
        return "" if isinstance(data, Refusal) else data.decode("utf-8", "replace")


def author_names(commit: Commit) -> Iterator[str]:
    """By what names opt-outs may know the authors: name, address, and the login in an address that GitHub gives out."""
    message = commit.message if isinstance(commit.message, str) else ""
    for name, address in [(commit.author, commit.author_address), *_CO_AUTHOR.findall(message)]:
        yield name.strip()
        yield address.strip()
        login = _GITHUB_ADDRESS.fullmatch(address.strip())
        if login:
            yield login.group(1)


def _mode_refusal(sides: list[Side]) -> Refusal | None:
    modes = {side.mode for side in sides}
    if SUBMODULE_MODE in modes:
        return Refusal("submodule", "submodule", "regular file")
    return symbolic_link() if LINK_MODE in modes else None
