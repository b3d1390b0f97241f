"""The language of a file: from its name, else from its first line."""

from pathlib import Path

import pytest

from components.config import load_config
from components.sources.languages import LANGUAGES, extension_of, language_of

ROOT = Path(__file__).parents[3]


def test_each_name_ending_file_name_and_interpreter_belongs_to_one_language():
    for claims in (
        [language.name for language in LANGUAGES],
        [extension for language in LANGUAGES for extension in language.extensions],
        [filename for language in LANGUAGES for filename in language.filenames],
        [word for language in LANGUAGES for word in language.interpreters],
    ):
        assert len(claims) == len(set(claims))


def test_the_table_is_sorted_and_its_endings_are_lower_case_with_a_dot():
    assert [language.name for language in LANGUAGES] == sorted(language.name for language in LANGUAGES)
    for language in LANGUAGES:
        assert language.name == language.name.lower()
        for extension in language.extensions:
            assert extension == extension_of(f"name{extension}")


def test_ambiguous_endings_have_no_language():
    for extension in (".m", ".v", ".cls", ".d", ".inc", ".pp", ".b", ".cgi", ".asc"):
        assert language_of(f"name{extension}") is None


def test_the_small_run_names_known_languages_only():
    section = load_config(ROOT / "params.yaml").filter_quality
    assert {*section.languages, *section.long_lines_allowed} <= {language.name for language in LANGUAGES}


@pytest.mark.parametrize(
    ("path", "head", "language"),
    [
        ("src/module.py", b"", "python"),
        ("include/thing.h", b"", "c"),
        ("include/thing.H", b"", "cpp"),
        ("main.C", b"", "cpp"),
        ("README.MD", b"", "markdown"),
        ("deep/Makefile", b"", "makefile"),
        ("Dockerfile.dev", b"", "dockerfile"),
        ("Makefile.py", b"", "python"),
        ("CMakeLists.txt", b"", "cmake"),
        ("notes.txt", b"", "text"),
        ("script.pl", b"#!/usr/bin/env python\n", "perl"),
        ("tool", b"#!/bin/sh -e\nexit\n", "shell"),
        ("tool", b"#! /usr/bin/python3.11\n", "python"),
        ("tool", b"#!/usr/bin/env python3\r\n", "python"),
        ("tool", b"#!/usr/bin/env -S LANG=C node --strict\n", "javascript"),
        ("tool.unknown", b"#!/usr/local/bin/pypy3\n", "python"),
        ("tool", b"#!/usr/bin/env\n", None),
        ("tool", b"#!\n", None),
        ("tool", b"#!/opt/strange\n", None),
        ("tool", b"# not #!/bin/sh\n", None),
        ("tool", b"\xff\xfe#!", None),
        ("name.", b"", None),
        ("", b"", None),
    ],
)
def test_the_name_decides_before_the_first_line(path, head, language):
    assert language_of(path, head) == language


@pytest.mark.parametrize(
    ("path", "extension"),
    [
        ("a/b.PY", ".py"),
        ("a.tar.gz", ".gz"),
        ("a.b/c", ""),
        (".bashrc", ""),
        ("name.", ""),
        ("", ""),
        ("odd.\u00c4B", ".\u00e4b"),
    ],
)
def test_an_ending_is_lower_case_with_its_dot(path, extension):
    assert extension_of(path) == extension
