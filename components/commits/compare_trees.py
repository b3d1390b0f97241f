"""Which files two trees of a repository differ in, and which of them were renamed, asked of Git's objects.

Trees are read here one by one rather than listed by Git, which would write out a tree that is made to hold itself a
billion times over: the reading stops at a limit. What counts as a rename is left to Git itself.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from components.sources.git_objects import Dialogue, Git, ObjectReader
from components.sources.source_files import Refusal, unreadable

RENAME_SIMILARITY = "50%"
"""Git's own threshold: a file of which at least half is found again under another name was renamed."""

MAX_TREE_BYTES = 64 * 2**20
MAX_PATH_BYTES = 4096
"""Linux opens no longer path."""

_TREE_MODE = b"40000"
_TreeEntry = tuple[bytes, bytes]
"""Mode and digest as the tree has them."""

# Two slashes are in no path, and Git's diff-tree repeats a line that begins with no object id.
_END = b"//\n"


@dataclass(frozen=True)
class Side:
    """A file as one of the trees has it."""

    mode: str
    """Six octal digits: 100644, 100755, 120000 for a link, 160000 for a submodule."""
    object_id: str


@dataclass(frozen=True)
class Change:
    """A file that differs; without `before` it was added, without `after` deleted."""

    path: bytes
    before: Side | None
    after: Side | None
    old_path: bytes | None = None
    """Where it was before, if it was renamed."""


def compare_trees(
    objects: ObjectReader, old: str | None, new: str | None, *, max_changes: int, max_trees: int
) -> list[Change] | Refusal:
    """The files that differ between two trees (None is an empty one), by path; renamed files are two.

    It stops when there are more than `max_changes`, and refuses to read more than `max_trees` trees of either side.
    """
    changes: list[Change] = []
    waiting: list[tuple[bytes, str | None, str | None]] = [(b"", old, new)]
    num_trees = 0
    while waiting and len(changes) <= max_changes:
        prefix, old_tree, new_tree = waiting.pop()
        num_trees += 1
        if num_trees > max_trees:
            return Refusal("max_directories_per_commit", f"more than {max_trees}", str(max_trees))
        before, after = _entries(objects, old_tree), _entries(objects, new_tree)
        if isinstance(before, Refusal):
            return before
        if isinstance(after, Refusal):
            return after
        for name in sorted({name for name, _ in before.items() ^ after.items()}):
            path = prefix + name
            if len(path) > MAX_PATH_BYTES:
                return Refusal("max_path_bytes", f"more than {MAX_PATH_BYTES}", str(MAX_PATH_BYTES))
            entries = before.get(name), after.get(name)
            if any(_subtree(entry) for entry in entries):
                waiting.append((path + b"/", _subtree(entries[0]), _subtree(entries[1])))
            if any(_side(entry) for entry in entries):
                changes.append(Change(path, _side(entries[0]), _side(entries[1])))
    return sorted(changes, key=lambda change: change.path)


class RenameFinder:
    """One `git diff-tree` that is asked about pair after pair of trees."""

    def __init__(self, git: Git) -> None:
        options = ("--raw", "--diff-filter=R", "--no-abbrev", "--no-ext-diff", "--no-textconv")
        self._trees = Dialogue(git, "diff-tree", "--stdin", "-r", "-z", f"-M{RENAME_SIMILARITY}", *options)

    def joined(self, changes: Sequence[Change], old: str, new: str) -> list[Change]:
        """The changes between the two trees with each renamed file as one; as they are where Git cannot tell."""
        by_path = {change.path: change for change in changes}
        for old_path, path in self._renames(old, new):
            deleted, added = by_path.get(old_path), by_path.get(path)
            if deleted and added and deleted.after is None and added.before is None:
                by_path[path] = replace(added, before=deleted.before, old_path=old_path)
                del by_path[old_path]
        return sorted(by_path.values(), key=lambda change: change.path)

    def close(self) -> None:
        """End the command."""
        self._trees.close()

    def _renames(self, old: str, new: str) -> Iterator[tuple[bytes, bytes]]:
        """(old path, path) of each renamed file."""
        answers = self._trees.ask(f"{old} {new}\n{_END.decode().rstrip()}")
        answer = b""
        while not answer.endswith(_END):
            line = answers.readline()
            if not line:
                self._trees.close()
                return
            answer += line
        # The two trees and a line end, then ":MODES OBJECTS STATUS", old path and path, each with a NUL after it.
        tokens = answer.removesuffix(_END).partition(b"\n")[2].split(b"\0")[:-1]
        yield from zip(tokens[1::3], tokens[2::3], strict=True)


def _side(entry: _TreeEntry | None) -> Side | None:
    return Side(entry[0].decode().zfill(6), entry[1].hex()) if entry and not _is_tree(entry) else None


def _subtree(entry: _TreeEntry | None) -> str | None:
    return entry[1].hex() if entry and _is_tree(entry) else None


def _is_tree(entry: _TreeEntry) -> bool:
    return entry[0].lstrip(b"0") == _TREE_MODE


def _entries(objects: ObjectReader, tree: str | None) -> dict[bytes, _TreeEntry] | Refusal:
    """What a tree holds by name."""
    if tree is None:
        return {}
    data = objects.read(tree, MAX_TREE_BYTES)
    if isinstance(data, Refusal):
        return data
    found: list[tuple[bytes, bytes, bytes]] = _entry_pattern(len(tree) // 2).findall(data)
    if sum(len(mode) + len(name) + len(digest) + 2 for mode, name, digest in found) != len(data):
        return unreadable(f"tree {tree} is malformed")
    return {name: (mode, digest) for mode, name, digest in found}


def _entry_pattern(digest_bytes: int) -> re.Pattern[bytes]:
    """One entry of a tree: mode, name, object; `re` keeps what it has compiled."""
    return re.compile(rb"([0-7]{5,6}) ([^\0/]+)\0(.{%d})" % digest_bytes, re.DOTALL)
