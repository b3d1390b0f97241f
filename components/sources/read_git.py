"""A Git repository as a source, read from its object database: never the working tree, hooks, filters or network."""

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.errors import SourceError
from components.sources.git_objects import LINK_MODE, SUBMODULE_MODE, Git, ObjectReader, last_line, pipe
from components.sources.source_files import (
    Entry,
    FoundFile,
    Refusal,
    RefusedFile,
    printable_path,
    symbolic_link,
    unreadable,
)

_PIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class GitRevision:
    """A commit of a repository that was seen to exist."""

    name: str
    """Of the source, for errors."""
    root: Path
    commit: str

    def digest(self, history: bool) -> str:
        """What fixes everything that is read: the commit, and in a shallow clone also where its history begins."""
        if not history or _text(self, "rev-parse", "--is-shallow-repository") != "true":
            return self.commit
        first_commits = sorted(_text(self, "rev-list", "--max-parents=0", self.commit).split())
        return f"{self.commit}-since-{hashlib.sha256(' '.join(first_commits).encode()).hexdigest()[:16]}"


def resolve_revision(name: str, root: Path, revision: str) -> GitRevision:
    """The commit that `revision` means; SourceError if `root` is no repository or has no such commit."""
    if not root.is_dir():
        raise SourceError(f"source {name!r}: there is no directory {root}; correct its path")
    git = Git(root)
    found = git.run("rev-parse", "--git-dir")
    if found.returncode != 0:
        raise SourceError(
            f"source {name!r}: {root} is not the top of a Git repository ({last_line(found.stderr)}); correct its "
            "path, or make its kind directory"
        )
    found = git.run("rev-parse", "--quiet", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode != 0:
        raise SourceError(
            f"source {name!r}: {root} has no commit {revision!r}; name a branch, a tag or a commit that it has"
        )
    return GitRevision(name, root, found.stdout.decode().strip())


@contextmanager
def open_git(revision: GitRevision, history: bool, is_excluded: Callable[[str], bool]) -> Generator[list[Entry]]:
    """The files at the revision, or each distinct (path, content) up to it with the commit that brought it.

    Ordered by the path's bytes, then by history, parents first.
    """
    blobs = _walk_history(revision) if history else _list_tree(revision)
    kept = [blob for blob in blobs if not is_excluded(printable_path(blob.path))]
    kept.sort(key=lambda blob: blob.path)
    sizes = _sizes(revision, {blob.object_id for blob in kept if blob.mode != SUBMODULE_MODE})
    objects = ObjectReader(Git(revision.root))
    try:
        yield [_entry(blob, sizes, objects) for blob in kept]
    finally:
        objects.close()


@dataclass(frozen=True)
class _Blob:
    path: bytes
    mode: str
    object_id: str
    commit: str


def _list_tree(revision: GitRevision) -> Iterator[_Blob]:
    for record in _output(revision, "ls-tree", "-r", "-z", "--full-tree", revision.commit).split(b"\0")[:-1]:
        described, path = record.split(b"\t", 1)
        mode, _, object_id = described.decode().split(" ")
        yield _Blob(path, mode, object_id, revision.commit)


def _walk_history(revision: GitRevision) -> Iterator[_Blob]:
    """Each (path, object) once. A merge is compared with all its parents: it brings only what none of them has."""
    seen: set[tuple[bytes, str]] = set()
    commit = ""
    tokens = _history_tokens(revision)
    for token in tokens:
        if not token.startswith(b":"):
            commit = token.decode()
            continue
        # ":MODE... OBJECT... STATUS" with one leading colon, old mode and old object per parent.
        parents = len(token) - len(token.lstrip(b":"))
        fields = token.lstrip(b":").decode().split(" ")
        blob = _Blob(next(tokens), fields[parents], fields[2 * parents + 1], commit)
        if blob.mode != "000000" and (blob.path, blob.object_id) not in seen:
            seen.add((blob.path, blob.object_id))
            yield blob


def _history_tokens(revision: GitRevision) -> Iterator[bytes]:
    """The NUL-separated output of `diff-tree` over all commits, parents first."""
    git = Git(revision.root)
    commits = git.start("rev-list", "--topo-order", "--reverse", revision.commit)
    changes = git.start("diff-tree", "--stdin", "-r", "-z", "-c", "--root", "--no-renames", stdin=commits.stdout)
    with commits, changes:
        rest = b""
        while piece := pipe(changes.stdout).read(_PIPE_BYTES):
            *whole, rest = (rest + piece).split(b"\0")
            yield from whole
    if commits.returncode != 0 or changes.returncode != 0:
        raise _broken(revision, "its history cannot be walked")


def _sizes(revision: GitRevision, object_ids: set[str]) -> dict[str, int]:
    """Bytes of each object that the repository has."""
    asked = "".join(f"{object_id}\n" for object_id in sorted(object_ids)).encode()
    answer = _output(revision, "cat-file", "--batch-check", stdin=asked)
    rows = (line.split(" ") for line in answer.decode().splitlines())
    return {row[0]: int(row[2]) for row in rows if len(row) == 3}


def _entry(blob: _Blob, sizes: dict[str, int], objects: ObjectReader) -> Entry:
    path, size_bytes = printable_path(blob.path), sizes.get(blob.object_id)
    if blob.mode == SUBMODULE_MODE:
        return RefusedFile(path, blob.commit, 0, Refusal("submodule", "submodule", "regular file", blob.object_id))
    if blob.mode == LINK_MODE:
        return RefusedFile(path, blob.commit, size_bytes or 0, symbolic_link())
    if size_bytes is None:
        return RefusedFile(path, blob.commit, 0, unreadable(f"object {blob.object_id} is missing"))
    return FoundFile(path, blob.commit, size_bytes, partial(objects.read, blob.object_id))


def _text(revision: GitRevision, *arguments: str) -> str:
    return _output(revision, *arguments).decode().strip()


def _output(revision: GitRevision, *arguments: str, stdin: bytes = b"") -> bytes:
    done = Git(revision.root).run(*arguments, stdin=stdin)
    if done.returncode != 0:
        raise _broken(revision, last_line(done.stderr))
    return done.stdout


def _broken(revision: GitRevision, reason: str) -> SourceError:
    return SourceError(
        f"source {revision.name!r}: Git cannot read {revision.root} ({reason}); `git fsck` there says what is damaged"
    )
