"""Which files of a repository import which others, as far as their text tells, and an order that follows it.

Best effort: imports are found by patterns, not by compilers, and resolved to files of the same repository; what is not
found there makes no edge. A wrong edge costs nothing but a less natural order. Every pattern takes time proportional
to the text: what repeats is bounded, or cannot match what follows it.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_MAX_DEPTH, _MAX_PATH_CHARS = 32, 1_000
"""Folders and length of a path; a file beyond is put in order but imports nothing and is not found."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a repository."""

    path: str
    language: str | None
    """As components/sources/languages.py spells it."""
    text: bytes


def order_by_imports(files: Sequence[SourceFile]) -> list[int]:
    """The positions of `files` such that what is imported comes before what imports it.

    Depth first along the imports, from path to path in their order; the edge that closes a circle is left out.
    Files of one path stay together, in the order given.
    """
    versions: dict[str, list[int]] = {}
    for position, file in enumerate(files):
        versions.setdefault(file.path, []).append(position)
    index = _Index(versions)
    edges = {path: _imports(path, [files[position] for position in versions[path]], index) for path in sorted(versions)}
    return [position for path in _after_imports(edges, index) for position in versions[path]]


class _Index:
    """The paths of a repository, found by their ends and by their folders."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = frozenset(path for path in paths if _is_sane(path))
        self._by_end: dict[str, str] = {}
        self._folders: dict[str, list[str]] = {}
        for path in sorted(self.paths, reverse=True):  # so that the first in order is kept
            self._by_end.update((end, path) for end in _ends(path))
            self._folders.setdefault(posixpath.dirname(path), []).append(path)
        self._folder_by_end = {end: folder for folder in sorted(self._folders, reverse=True) for end in _ends(folder)}

    def at(self, *candidates: str) -> str | None:
        """The first of the exact paths that there is."""
        return next((path for path in map(posixpath.normpath, candidates) if path in self.paths), None)

    def ending(self, end: str, importer: str) -> str | None:
        """The path that ends in `end`: in the nearest folder above the importer, else the first in path order."""
        folder = importer
        while folder:
            folder = posixpath.dirname(folder)
            path = posixpath.join(folder, end)
            if path in self.paths:
                return path
        return self._by_end.get(end)

    def folder_ending(self, parts: Sequence[str]) -> str | None:
        """The folder whose path ends in as many of the last parts as there is one for."""
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((self._folder_by_end[end] for end in ends if end in self._folder_by_end), None)

    def inside(self, pattern: str) -> list[str]:
        """The files of a folder with one ending; `pattern` is `folder/*.ending`."""
        folder, _, ending = pattern.rpartition("/*")
        return sorted(path for path in self._folders.get(folder, ()) if path.endswith(ending))


def _is_sane(path: str) -> bool:
    return len(path) <= _MAX_PATH_CHARS and path.count("/") <= _MAX_DEPTH and not path.startswith("/")


def _ends(path: str) -> Iterator[str]:
    yield path
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _imports(path: str, files: Sequence[SourceFile], index: _Index) -> list[str]:
    """What the versions of one path import: paths, or `folder/*.ending` for all of a folder; in order, once each."""
    if path not in index.paths:
        return []
    found: set[str | None] = set()
    for file in files:
        finder = _FINDERS.get(file.language or "")
        if finder is not None:
            found.update(finder(path, file.text, index))
    return sorted(target for target in found if target is not None and target != path)


def _after_imports(edges: dict[str, list[str]], index: _Index) -> Iterator[str]:
    """Each path once, after all that it reaches unless they reach it too."""
    seen: set[str] = set()
    for first in edges:
        stack: list[tuple[str, Iterator[str]]] = []
        if first not in seen:
            seen.add(first)
            stack.append((first, iter(edges[first])))
        while stack:
            path, targets = stack[-1]
            target = next((target for target in targets if target not in seen), None)
            if target is not None:
                seen.add(target)
                stack.append((target, iter(edges[target] if target in edges else index.inside(target))))
                continue
            stack.pop()
            if path in edges:
                yield path


_PY_STRING = re.compile(rb'"""[\s\S]*?"""|' + rb"'''[\s\S]*?'''")
_PY_FROM = re.compile(rb"^[ \t]*from[ \t]+([.\w]+)[ \t]+import[ \t]+(?:\(([^()]{0,4000})\)|([^\n#;]*))", re.MULTILINE)
_PY_IMPORT = re.compile(rb"^[ \t]*import[ \t]+([\w., \t]+)", re.MULTILINE)
_JS = re.compile(rb"""\b(?:from|import|require[ \t]*\(|import[ \t]*\()[ \t]*["'](\.[^"'\n]{0,300})["']""")
_C = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*["<]([^">\n]{1,300})[">]', re.MULTILINE)
_JAVA = re.compile(rb"^[ \t]*import[ \t]+(?:static[ \t]+)?([\w.]+\*?)[ \t]*;", re.MULTILINE)
_GO = re.compile(rb'^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?"([^"\n]{1,300})"[ \t\r]*(?://.*)?$', re.MULTILINE)
_RUST = re.compile(
    rb"^[ \t]*(?:pub(?:\([^)\n]{0,80}\))?[ \t]+)?"
    rb"(?:mod[ \t]+(\w+)[ \t]*;|use[ \t]+((?:crate|super|self)::[\w:]*)(\{[^;]{0,2000}\})?)",
    re.MULTILINE,
)
_WORD = re.compile(rb"\w+")
_RUST_PATH = re.compile(rb"[\w:]+")
_JS_ENDINGS = ("", ".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".d.ts")


def _python(path: str, text: bytes, index: _Index) -> Iterator[str | None]:
    text = _PY_STRING.sub(b"", text)
    for match in _PY_FROM.finditer(text):
        module = match[1].decode("utf-8", "replace")
        for name in _names(match[2] if match[2] is not None else match[3]):
            yield _python_module(path, module, name, index)
    for match in _PY_IMPORT.finditer(text):
        for clause in match[1].decode("utf-8", "replace").split(","):
            words = clause.split()
            if words:
                yield _python_module(path, words[0], "", index)


def _names(clause: bytes) -> Iterator[str]:
    """The names of `a, b as c`, of which only the first of each counts; one empty name for `*`."""
    for part in re.sub(rb"#[^\n]*", b"", clause).split(b","):
        word = _WORD.search(part)
        yield word[0].decode("utf-8", "replace") if word else ""


def _python_module(path: str, module: str, name: str, index: _Index) -> str | None:
    """The file of the module, or of the module `name` in it, or of the package that holds it."""
    bare = module.lstrip(".")
    parts = [*bare.split(".")] if bare else []
    wanted = [*parts, name] if name else parts
    if bare != module:
        folder = path
        for _ in range(min(len(module) - len(bare), _MAX_DEPTH + 1)):
            folder = posixpath.dirname(folder)
        stems = [posixpath.join(folder, *wanted[:size]) for size in (len(wanted), len(parts))]
        return index.at(*(form for stem in stems for form in (f"{stem}.py", f"{stem}/__init__.py")))
    for size in range(min(len(wanted), _MAX_DEPTH), 0, -1):
        stem = "/".join(wanted[:size])
        found = index.ending(f"{stem}.py", path) or index.ending(f"{stem}/__init__.py", path)
        if found:
            return found
    return None


def _javascript(path: str, text: bytes, index: _Index) -> Iterator[str | None]:
    for match in _JS.finditer(text):
        stem = posixpath.join(posixpath.dirname(path), match[1].decode("utf-8", "replace"))
        bare = re.sub(r"\.[cm]?jsx?$", "", stem)  # TypeScript says ./x.js where it means ./x.ts
        forms = [f"{stem}{ending}" for ending in _JS_ENDINGS] + [f"{stem}/index{ending}" for ending in _JS_ENDINGS[1:]]
        yield index.at(*forms, *(f"{bare}{ending}" for ending in _JS_ENDINGS[1:3]))


def _c(path: str, text: bytes, index: _Index) -> Iterator[str | None]:
    for match in _C.finditer(text):
        name = match[1].decode("utf-8", "replace")
        beside = index.at(posixpath.join(posixpath.dirname(path), name))
        yield beside or index.ending(posixpath.normpath(name).lstrip("./"), path)


def _java(path: str, text: bytes, index: _Index) -> Iterator[str | None]:
    for match in _JAVA.finditer(text):
        parts = match[1].decode("utf-8", "replace").split(".")[:_MAX_DEPTH]
        if parts[-1] == "*":
            folder = index.folder_ending(parts[:-1])
            yield f"{folder}/*.java" if folder is not None and folder.endswith("/".join(parts[:-1])) else None
            parts = parts[:-1]
        # A static import, or one of a nested class, names more than the file.
        ends = ("/".join(parts[:size]) + ".java" for size in range(len(parts), 0, -1))
        yield next((found for end in ends if (found := index.ending(end, path))), None)


def _go(path: str, text: bytes, index: _Index) -> Iterator[str | None]:
    for match in _GO.finditer(text):
        folder = index.folder_ending(match[1].decode("utf-8", "replace").split("/")[:_MAX_DEPTH])
        yield f"{folder}/*.go" if folder and folder != posixpath.dirname(path) else None


def _rust(path: str, text: bytes, index: _Index) -> Iterator[str | None]:
    folder, stem = posixpath.dirname(path), posixpath.basename(path).removesuffix(".rs")
    inside = folder if stem in ("mod", "lib", "main") else posixpath.join(folder, stem)
    for match in _RUST.finditer(text):
        if match[1] is not None:
            yield _rust_module(inside, [match[1].decode("utf-8", "replace")], index)
            continue
        tails = _RUST_PATH.findall(match[3]) if match[3] is not None else [b""]
        for tail in tails:
            start, *parts = (part for part in (match[2] + b"::" + tail).decode("utf-8", "replace").split("::") if part)
            root = {"self": inside, "super": posixpath.dirname(inside)}.get(start, _crate_root(folder, index))
            yield _rust_module(root, parts[:_MAX_DEPTH], index)


def _crate_root(folder: str, index: _Index) -> str:
    """The nearest folder above with a crate's first file, else the folder itself."""
    above = folder
    while index.at(posixpath.join(above, "lib.rs"), posixpath.join(above, "main.rs")) is None:
        if not above:
            return folder
        above = posixpath.dirname(above)
    return above


def _rust_module(root: str, parts: Sequence[str], index: _Index) -> str | None:
    """The file of the longest part of the path that has one; the rest are names in it."""
    for size in range(len(parts), 0, -1):
        stem = posixpath.join(root, *parts[:size])
        found = index.at(f"{stem}.rs", f"{stem}/mod.rs")
        if found:
            return found
    return None


_FINDERS: dict[str, Callable[[str, bytes, _Index], Iterator[str | None]]] = {
    "python": _python,
    "javascript": _javascript,
    "typescript": _javascript,
    "java": _java,
    "c": _c,
    "cpp": _c,
    "go": _go,
    "rust": _rust,
}
