"""A Git repository as a source, read from its object database: never the working tree, hooks, filters or network.

Git itself does the reading, in plumbing commands that are given as lists. Whoever wrote the repository also wrote
its configuration, so nothing is asked of Git that would run a program named there.
"""

import hashlib
import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from components.errors import SourceError
from components.sources.source_files import (
    Entry,
    FoundFile,
    Refusal,
    RefusedFile,
    printable_path,
    symbolic_link,
    unreadable,
)

_LINK_MODE = "120000"
_SUBMODULE_MODE = "160000"
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
    found = _git(root, "rev-parse", "--git-dir")
    if found.returncode != 0:
        raise SourceError(
            f"source {name!r}: {root} is not the top of a Git repository ({_last_line(found.stderr)}); correct its "
            "path, or make its kind directory"
        )
    found = _git(root, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{revision}^{{commit}}")
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
    sizes = _sizes(revision, {blob.object_id for blob in kept if blob.mode != _SUBMODULE_MODE})
    objects = _ObjectReader(revision.root)
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
    commits = _start(revision.root, "rev-list", "--topo-order", "--reverse", revision.commit)
    changes = _start(
        revision.root, "diff-tree", "--stdin", "-r", "-z", "-c", "--root", "--no-renames", stdin=commits.stdout
    )
    with commits, changes:
        rest = b""
        while piece := _pipe(changes.stdout).read(_PIPE_BYTES):
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


def _entry(blob: _Blob, sizes: dict[str, int], objects: "_ObjectReader") -> Entry:
    path, size_bytes = printable_path(blob.path), sizes.get(blob.object_id)
    if blob.mode == _SUBMODULE_MODE:
        return RefusedFile(path, blob.commit, 0, Refusal("submodule", "submodule", "regular file", blob.object_id))
    if blob.mode == _LINK_MODE:
        return RefusedFile(path, blob.commit, size_bytes or 0, symbolic_link())
    if size_bytes is None:
        return RefusedFile(path, blob.commit, 0, unreadable(f"object {blob.object_id} is missing"))
    return FoundFile(path, blob.commit, size_bytes, partial(objects.read, blob.object_id))


class _ObjectReader:
    """One `git cat-file` that is asked for object after object; it is started anew when a broken one ends it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, object_id: str, limit: int) -> bytes | Refusal:
        if self._process is None:
            self._process = _start(self._root, "cat-file", "--batch", stdin=subprocess.PIPE)
        requests, answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
        try:
            requests.write(f"{object_id}\n".encode())
            requests.flush()
            header = answers.readline().split()
            size_bytes = int(header[2]) if len(header) == 3 else -1
            data = answers.read(size_bytes + 1) if size_bytes >= 0 else b""
        except BrokenPipeError:
            data, size_bytes = b"", -1
        if len(data) != size_bytes + 1 or size_bytes < 0:
            self.close()
            return unreadable(f"object {object_id} is damaged")
        return data[: min(size_bytes, limit)]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            # Reads to the end and waits, so that nothing of it stays behind.
            self._process.communicate()
        self._process = None


def _text(revision: GitRevision, *arguments: str) -> str:
    return _output(revision, *arguments).decode().strip()


def _output(revision: GitRevision, *arguments: str, stdin: bytes = b"") -> bytes:
    done = _git(revision.root, *arguments, stdin=stdin)
    if done.returncode != 0:
        raise _broken(revision, _last_line(done.stderr))
    return done.stdout


def _broken(revision: GitRevision, reason: str) -> SourceError:
    return SourceError(
        f"source {revision.name!r}: Git cannot read {revision.root} ({reason}); `git fsck` there says what is damaged"
    )


def _git(root: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            _command(root, *arguments), input=stdin, capture_output=True, check=False, env=_environment(root)
        )
    except FileNotFoundError:
        raise SourceError("the program git is not on the PATH; install it") from None


def _start(root: Path, *arguments: str, stdin: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        _command(root, *arguments),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(root),
    )


def _command(root: Path, *arguments: str) -> list[str]:
    """Settings of the command line beat those of the repository, which its owner could use to have programs run."""
    settings = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "safe.directory=*", "safe.bareRepository=all")
    return ["git", *(word for setting in settings for word in ("-c", setting)), "-C", str(root), *arguments]


def _environment(root: Path) -> dict[str, str]:
    """The caller's, without what would point Git elsewhere; no other repository above, no fetch, no prompt."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_CEILING_DIRECTORIES": str(root.parent),
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the process was started without this pipe")
    return stream


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "without a reason"
