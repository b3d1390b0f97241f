"""Imported files come first, in seven languages, in circles, and in repositories that were made to be slow."""

import ast
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.tokens.import_graph import SourceFile, order_by_imports


def ordered(*files: tuple[str, str, str]) -> list[str]:
    """The paths in their order; each file is (language, path, text)."""
    sources = [SourceFile(path, language, text.encode()) for language, path, text in files]
    order = order_by_imports(sources)
    assert sorted(order) == list(range(len(files)))
    return [sources[position].path for position in order]


CHAINS = {
    "python absolute": [
        ("python", "src/shop/a_main.py", "import os, shop.m_cart as cart\n"),
        ("python", "src/shop/m_cart.py", "from shop import (  # the list\n    z_item,\n    nothing,\n)\n"),
        ("python", "src/shop/z_item.py", '"""from shop import a_main"""\n'),
    ],
    "python relative": [
        ("python", "pkg/a.py", "def f():\n    from .sub import b\n"),
        ("python", "pkg/sub/b.py", "from ..c import thing\n"),
        ("python", "pkg/c.py", "from . import d as e\n"),
        ("python", "pkg/d/__init__.py", "x = 1\n"),
    ],
    "python nearest": [
        ("python", "two/a.py", "import util\n"),
        ("python", "two/util.py", "import last\n"),
        ("python", "two/z/last.py", "\n"),
        ("python", "zz/util.py", "import two.a\n"),
    ],
    "javascript": [
        ("javascript", "a.js", "import {x} from './lib/m'\nimport React from 'react'\n"),
        ("typescript", "lib/m.ts", 'export * from "./n.js";\n'),
        ("typescript", "lib/n.ts", "const y = require('../z')\n"),
        ("javascript", "z/index.jsx", "import('./q.mjs')\n"),
        ("javascript", "z/q.mjs", "\n"),
    ],
    "java": [
        ("java", "src/main/java/org/a/App.java", "package org.a;\nimport java.util.List;\nimport org.b.*;\n"),
        ("java", "src/main/java/org/b/B.java", "import static org.c.C.helper;\n"),
        ("java", "src/main/java/org/c/C.java", "import org.d.Outer.Inner;\n"),
        ("java", "src/main/java/org/d/Outer.java", "\n"),
    ],
    "c": [
        ("c", "src/a.c", '#include <stdio.h>\n#include "b.h"\n'),
        ("c", "src/b.h", "  #  include <proj/c.h>\n"),
        ("cpp", "vendor/include/proj/c.h", '#include "../z/d.hpp"\n'),
        ("cpp", "vendor/include/z/d.hpp", "\n"),
    ],
    "go": [
        ("go", "cmd/a.go", 'package main\nimport (\n\t"fmt"\n\tx "github.com/o/r/pkg/b" // why\n)\n'),
        ("go", "pkg/b/b.go", 'package b\nimport "github.com/o/r/pkg/z"\n'),
        ("go", "pkg/z/z.go", "package z\n"),
    ],
    "rust": [
        ("rust", "src/main.rs", "mod net;\nuse std::io;\n"),
        ("rust", "src/net.rs", "pub mod tcp;\nuse crate::zed::{Thing, other};\n"),
        ("rust", "src/net/tcp.rs", "use super::super::zed;\nuse crate::zed::Thing;\n"),
        ("rust", "src/zed/mod.rs", "\n"),
    ],
}


@pytest.mark.parametrize("files", CHAINS.values(), ids=CHAINS.keys())
def test_what_is_imported_comes_before_what_imports_it(files: list[tuple[str, str, str]]) -> None:
    imported_last = [path for _, path, _ in files][::-1]
    last = imported_last.index("zz/util.py") if "zz/util.py" in imported_last else None
    if last is not None:  # imports what all others are imported by
        imported_last.append(imported_last.pop(last))
    assert ordered(*files) == imported_last
    assert ordered(*files[::-1]) == imported_last, "the order of rows matters"


def _imports_by_parser(path: str, text: str, paths: frozenset[str]) -> set[str]:
    """What a file of the flat part of a library imports of it, by Python's own parser."""
    package = path.split("/")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        modules: list[list[str]] = []
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = [*base, *(node.module.split(".") if node.module else [])]
            modules = [[*stem, alias.name] for alias in node.names]
        for module in modules:
            forms = (
                f"{'/'.join(module[:size])}{ending}"
                for size in range(len(module), 0, -1)
                for ending in (".py", "/__init__.py")
            )
            found.update([target for target in forms if target in paths][:1])
    return found - {path}


def test_patterns_find_what_pythons_parser_finds(library_files: list[dict[str, Any]]) -> None:
    """In the standard library: nearly every import that the parser sees, and that is in no circle, is obeyed."""
    texts = {file["path"]: file["content"] for file in library_files if len(file["content"]) < 25_000}
    order = ordered(*(("python", path, text) for path, text in texts.items()))
    place = {path: number for number, path in enumerate(order)}
    imports = {path: _imports_by_parser(path, text, frozenset(texts)) for path, text in texts.items()}
    reached = {path: _reached(path, imports) for path in imports}
    edges = [(path, target) for path in imports for target in imports[path] if path not in reached[target]]
    obeyed = sum(place[target] < place[path] for path, target in edges)
    assert len(edges) > 150
    assert obeyed / len(edges) > 0.99


@given(
    edges=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40),
    order=st.permutations(range(12)),
)
@settings(deadline=None, max_examples=100)
def test_every_import_outside_a_circle_is_obeyed(edges: list[tuple[int, int]], order: list[int]) -> None:
    imports: dict[int, set[int]] = {number: set() for number in range(12)}
    for importer, target in edges:
        imports[importer].add(target)
    files = [
        ("python", f"m{number}.py", "".join(f"import m{target}\n" for target in sorted(imports[number])))
        for number in order
    ]
    found = [int(path[1:-3]) for path in ordered(*files)]
    assert found == [int(path[1:-3]) for path in ordered(*sorted(files))]
    reached = {number: _reached(number, imports) for number in imports}
    for importer, targets in imports.items():
        for target in targets - {importer}:
            assert importer in reached[target] or found.index(target) < found.index(importer)


def _reached(start: Any, imports: dict[Any, set[Any]]) -> set[Any]:
    seen: set[Any] = set()
    waiting = [start]
    while waiting:
        for target in imports[waiting.pop()] - seen:
            seen.add(target)
            waiting.append(target)
    return seen


def test_versions_of_one_path_stay_together_in_their_order() -> None:
    sources = [
        SourceFile("b.py", "python", b"import a"),
        SourceFile("a.py", "python", b"1"),
        SourceFile("b.py", "python", b"import a, c"),
        SourceFile("c.py", "python", b""),
    ]
    assert order_by_imports(sources) == [1, 3, 0, 2]


def test_a_chain_of_five_thousand_files_needs_no_recursion() -> None:
    files = [("python", f"m{number:05d}.py", f"import m{number + 1:05d}\n") for number in range(5_000)]
    assert ordered(*files) == [path for _, path, _ in files][::-1]


def test_a_folder_that_all_import_costs_one_edge_each() -> None:
    """Two thousand importers of a folder of two thousand files: four million edges, were they drawn one by one."""
    files = [("go", f"z/f{number:04d}.go", "package z\n") for number in range(2_000)]
    files += [("go", f"a/f{number:04d}.go", 'package a\nimport "o/r/z"\n') for number in range(2_000)]
    found = ordered(*files)
    assert all(path.startswith("z/") for path in found[:2_000])


HOSTILE = [
    "from ." + "." * 100_000 + " import x\n",
    "from a" + ".a" * 50_000 + " import x\n",
    "from x import (a,\n" * 20_000,
    '"""' * 20_001,
    "import " + "a, " * 50_000 + "\n",
    "import 'x" * 20_000,
    "require(" + " " * 100_000,
    "# include " * 20_000,
    '#include "' + "../" * 90 + 'x"\n' * 2_000,
    "use crate::{" * 5_000,
    "use crate" + "::a" * 50_000 + ";\n",
    "import a" + ".a" * 50_000 + ".*;\n",
    "import " + "a." * 50_000 + "\n",
    '"' + "a/" * 140 + '"\n' * 2_000,
    "\t" * 200_000,
    "\n" * 200_000,
    "mod\x00 x;\nimport \udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_read_in_passing(text: str) -> None:
    languages = ("python", "javascript", "java", "c", "go", "rust")
    files = [(language, f"d/{language}.x", text) for language in languages]
    assert len(ordered(*files)) == len(languages)


def test_hostile_paths_are_put_in_order() -> None:
    paths = ["", "/", "/abs/a.py", "../../up.py", "a//b.py", "./c.py", "x/" * 5_000 + "deep.py", "y" * 5_000, "n\nl.py"]
    text = "import up, c, deep\nfrom ... import b\nfrom .....abs import a\n"
    files = [("python", path, text) for path in paths] + [("rust", path, "mod a;\nuse crate::b;\n") for path in paths]
    assert len(ordered(*files)) == len(files)


def test_binary_text_and_unknown_languages_import_nothing() -> None:
    sources = [SourceFile("b", None, b"\xff\xfe import a"), SourceFile("a", "brainfuck", bytes(range(256)))]
    assert order_by_imports(sources) == [1, 0]
