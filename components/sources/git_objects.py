"""Git's plumbing asked of a repository that may be hostile: no program, setting, hook or network of its owner's.

Git itself does the reading, in plumbing commands that are given as lists. Settings of the command line beat those of
the repository, which its owner could use to have programs run; behind `objects_only` they are not even read.
"""

import os
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from components.errors import SourceError
from components.sources.source_files import Refusal, unreadable

LINK_MODE = "120000"
SUBMODULE_MODE = "160000"

_SETTINGS = (
    "core.commitGraph=false",  # a derived file that may tell other parents than the commits do
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "safe.directory=*",
    "safe.bareRepository=all",
)
_NO_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}


@dataclass(frozen=True)
class Git:
    """Where Git's commands look."""

    root: Path
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variables on top of those that every command gets."""

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end; SourceError if there is no Git on this machine."""
        try:
            return subprocess.run(
                self._command(arguments), input=stdin, capture_output=True, check=False, env=self._environment()
            )
        except FileNotFoundError:
            raise SourceError("the program git is not on the PATH; install it") from None

    def start(self, *arguments: str, stdin: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start a command whose output is read from its `stdout`; what it says to stderr is lost."""
        return subprocess.Popen(
            self._command(arguments),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment(),
        )

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        settings = (word for setting in _SETTINGS for word in ("-c", setting))
        return ["git", *settings, "-C", str(self.root), *arguments]

    def _environment(self) -> dict[str, str]:
        """The caller's, without what would point Git elsewhere; no other repository above, no fetch, no prompt."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        own = {
            "GIT_CEILING_DIRECTORIES": str(self.root.parent),
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_GRAFT_FILE": os.devnull,
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        return {**kept, **own, **self.variables}


@contextmanager
def objects_only(root: Path, place: Path) -> Generator[Git]:
    """The objects of the repository at `root`, seen through an empty repository that lies in `place` meanwhile.

    So nothing but objects is read: no setting, index, attribute, reference or working tree, of the repository's or
    of the user's. SourceError if Git cannot do that.
    """
    told = [_told(root, "--show-object-format"), _told(root, "--git-path", "objects")]
    with TemporaryDirectory(prefix="git-view-", dir=os.path.realpath(place)) as view:
        made = Git(Path(view), _NO_SETTINGS).run(
            "init", "--quiet", "--bare", "--template=", f"--object-format={told[0]}", view
        )
        if made.returncode != 0:
            raise SourceError(f"Git cannot make a repository in {place} ({last_line(made.stderr)}); see its version")
        objects = os.path.realpath(root / told[1])
        yield Git(Path(view), {**_NO_SETTINGS, "GIT_DIR": view, "GIT_OBJECT_DIRECTORY": objects})


def shallow_commits(root: Path) -> frozenset[str]:
    """The commits at which a shallow clone's history begins: their parents are known and not there."""
    path = root / _told(root, "--git-path", "shallow")
    return frozenset(path.read_text("ascii", "replace").split()) if path.is_file() else frozenset()


def _told(root: Path, *questions: str) -> str:
    answer = Git(root).run("rev-parse", *questions)
    if answer.returncode != 0:
        raise SourceError(f"Git cannot read {root} ({last_line(answer.stderr)}); `git fsck` there says what is damaged")
    return os.fsdecode(answer.stdout.removesuffix(b"\n"))


class Dialogue:
    """A command that is asked line by line; it is started with the first question, and anew after `close`."""

    def __init__(self, git: Git, *arguments: str) -> None:
        self._git = git
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: str) -> IO[bytes]:
        """Where the answer is to be read; at its end at once if the command has died."""
        if self._process is None:
            self._process = self._git.start(*self._arguments, stdin=subprocess.PIPE)
        requests = pipe(self._process.stdin)
        try:
            requests.write(f"{question}\n".encode())
            requests.flush()
        except BrokenPipeError:
            self.close()
            return BytesIO()
        return pipe(self._process.stdout)

    def close(self) -> None:
        """End the command, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            # Reads to the end and waits, so that nothing of it stays behind.
            self._process.communicate()
        self._process = None


class ObjectReader:
    """Two `git cat-file` that are asked for object after object; one that a damaged object ends is started anew."""

    def __init__(self, git: Git) -> None:
        self._contents = Dialogue(git, "cat-file", "--batch")
        self._headers = Dialogue(git, "cat-file", "--batch-check")

    def size(self, object_id: str) -> int | None:
        """Bytes of the object, which is not read for it; None if it is missing or damaged."""
        header = self._headers.ask(object_id).readline().split()
        if not header:
            self._headers.close()
        return int(header[2]) if len(header) == 3 else None

    def read(self, object_id: str, limit: int) -> bytes | Refusal:
        """At most `limit` bytes of the object, or why there are none."""
        answers = self._contents.ask(object_id)
        header = answers.readline().split()
        if header[1:] == [b"missing"]:
            return unreadable(f"object {object_id} is missing")
        size_bytes = int(header[2]) if len(header) == 3 else -1
        if size_bytes > limit:
            data = answers.read(limit)
            self._contents.close()  # else the rest would have to be read before the next answer
            return data
        data = answers.read(size_bytes + 1) if size_bytes >= 0 else b""
        if len(data) != size_bytes + 1 or size_bytes < 0:
            self._contents.close()
            return unreadable(f"object {object_id} is damaged")
        return data[:size_bytes]

    def close(self) -> None:
        """End both."""
        self._contents.close()
        self._headers.close()


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """The stream of a process that was started with it."""
    if stream is None:
        raise RuntimeError("the process was started without this pipe")
    return stream


def last_line(stderr: bytes) -> str:
    """What Git said last, for a message."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "without a reason"
