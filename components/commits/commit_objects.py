"""Commits as the objects say they are: parents, tree, author and message, and a history's commits parents first.

Parents are taken from the commit itself, so that grafts, replacements and the commit graph cannot change a history.
"""

import codecs
import re
from collections.abc import Collection
from dataclasses import dataclass

from components.sources.git_objects import ObjectReader
from components.sources.source_files import Refusal, unreadable

MAX_COMMIT_BYTES = 2**20
"""A longer commit is no message of a person."""

MAX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""

_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PERSON = re.compile(r"([^<]*)<(.*)>(?: (\d{1,12})(?: [+-]\d{4})?)?")
# Codecs of text only, named as Git's users name them: Python knows others, which unpack or compute.
_TEXT_ENCODING = re.compile(
    r"utf-?8|us-ascii|iso-?8859-\d{1,2}|latin-?1|(?:windows-|cp)(?:125\d|437|850|866|932|936|949|950)|koi8-[ru]"
    r"|euc-(?:jp|kr|tw)|shift[_-]?jis|iso-2022-(?:jp|kr)|gb2312|gbk|gb18030|big5(?:-hkscs)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Commit:
    """What a commit says of itself."""

    tree: str
    parents: tuple[str, ...]
    author: str
    author_address: str
    made_at: int | None
    """By the committer's clock, seconds since 1970; None if it says none between 1970 and 9999."""
    message: str | Refusal
    """Without the line ends after it."""

    @property
    def subject(self) -> str:
        """The first paragraph on one line, as Git's own subject; a leading space stays."""
        lines = [line.rstrip() for line in self.message.split("\n")] if isinstance(self.message, str) else []
        first = next((number for number, line in enumerate(lines) if line), 0)
        last = next((number for number, line in enumerate(lines) if number > first and not line), len(lines))
        return " ".join(lines[first:last])


def read_commit(objects: ObjectReader, commit_id: str) -> Commit | Refusal:
    """The commit of this id, or why there is none."""
    data = objects.read(commit_id, MAX_COMMIT_BYTES + 1)
    if isinstance(data, Refusal):
        return data
    if len(data) > MAX_COMMIT_BYTES:
        return Refusal("max_commit_bytes", f"more than {MAX_COMMIT_BYTES}", str(MAX_COMMIT_BYTES))
    return parse_commit(data) or unreadable(f"object {commit_id} is no commit")


def parse_commit(data: bytes) -> Commit | None:
    """The commit that the bytes of an object are; None if they are none."""
    head, _, body = data.partition(b"\n\n")
    headers: dict[str, list[str]] = {}
    encoding = _encoding(head)
    for line in head.decode(encoding or "utf-8", "replace").replace("\n ", "\0").split("\n"):
        name, _, value = line.partition(" ")
        headers.setdefault(name, []).append(value)
    trees, parents = headers.get("tree", []), headers.get("parent", [])
    if len(trees) != 1 or not all(_ID.fullmatch(object_id) for object_id in (*trees, *parents)):
        return None
    author, committer = (_PERSON.fullmatch(headers.get(name, [""])[0]) for name in ("author", "committer"))
    seconds = int(committer.group(3) or -1) if committer else -1
    return Commit(
        tree=trees[0],
        parents=tuple(parents),
        author=author.group(1).replace("\0", " ").strip() if author else "",
        author_address=author.group(2) if author else "",
        made_at=seconds if 0 <= seconds <= MAX_SECONDS else None,
        message=_message(body, encoding),
    )


def list_history(objects: ObjectReader, tip: str, boundaries: Collection[str]) -> list[str]:
    """The ids of all commits that `tip` stands on and its own, each after its parents; the order is the graph's alone.

    The parents of `boundaries` are not followed. A commit that cannot be read is in the list like any other.
    """
    seen: set[bytes] = set()
    history: list[str] = []
    waiting: list[tuple[bytes, bool]] = [(bytes.fromhex(tip), False)]
    while waiting:
        digest, is_done = waiting.pop()
        if is_done:
            history.append(digest.hex())
        elif digest not in seen:
            seen.add(digest)
            waiting.append((digest, True))
            commit = None if digest.hex() in boundaries else read_commit(objects, digest.hex())
            if isinstance(commit, Commit):
                waiting += [(bytes.fromhex(parent), False) for parent in reversed(commit.parents)]
    return history


def _encoding(head: bytes) -> str | None:
    """The encoding that the commit declares; UTF-8 if none, None for one that is not read."""
    found = re.search(rb"^encoding (.*)$", head, re.MULTILINE)
    name = found.group(1).decode("ascii", "replace").strip() if found else "utf-8"
    if not _TEXT_ENCODING.fullmatch(name):
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


def _message(body: bytes, encoding: str | None) -> str | Refusal:
    if encoding is None:
        return Refusal("message_encoding", "an encoding that is not read", "a text encoding")
    try:
        message = body.decode(encoding).rstrip("\n")
    except UnicodeDecodeError as error:
        return Refusal("message_not_utf8", " ".join(str(error).split())[:200], encoding)
    return Refusal("message_binary", "NUL in the message", "no NUL byte") if "\0" in message else message
