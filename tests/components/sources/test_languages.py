"""The language of a file: from its name, else from its first line."""

import csv
import json
from pathlib import Path

import pytest

from components.sources.language_table import AMBIGUOUS, LANGUAGES
from components.sources.languages import extension_of, language_of, open_question

BIGCODE = Path("../shared/data/bigcode")


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


def test_every_ending_that_starcoder_inspected_is_known_in_its_language():
    if not BIGCODE.exists():
        pytest.skip("BigCode's tables are not beside the repository")
    endings = {language.name: set(language.extensions) for language in LANGUAGES}
    names = {"c++": "cpp"}
    with (BIGCODE / "extension_thresholds.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["language"]]
    missing = {
        (name, f".{row['extension']}")
        for row in rows
        if (name := names.get(row["language"], row["language"])) not in endings
        or (row["extension"] and f".{row['extension']}" not in endings[name])
    }

    assert len(rows) > 300
    # Five files whose name, not whose ending, means the language.
    odd = {("dockerfile", end) for end in (".1", ".3", ".mustache")} | {("makefile", ".cmake"), ("makefile", ".txt")}
    assert missing == odd


def test_endings_mean_what_the_stack_took_them_for_in_starcoders_languages():
    if not BIGCODE.exists():
        pytest.skip("BigCode's tables are not beside the repository")
    theirs = json.loads((BIGCODE / "language_extensions.json").read_text("utf-8"))
    names = {"C++": "cpp", "C#": "c-sharp", "F#": "f-sharp", "FORTRAN": "fortran", "Yacc": "yacc"}
    ours = {extension: language.name for language in LANGUAGES for extension in language.extensions}
    known = {language.name for language in LANGUAGES}
    others = set()
    for language, extensions in theirs.items():
        name = names.get(language, language.lower().replace(" ", "-"))
        # Two languages of theirs share .y and the like; forms of one language here (.fish, .svg) are of one name.
        others |= {(e, name, ours[e]) for e in extensions if name in known and ours.get(e, name) != name}

    assert others == set()


def test_extension_less_dockerfiles_are_not_lost():
    """The reference knew a language by its ending alone, and Dockerfiles have none."""
    assert (
        language_of("Dockerfile") == language_of("app/Containerfile") == language_of("Dockerfile.dev") == "dockerfile"
    )


@pytest.mark.parametrize(
    ("path", "head", "possible"),
    [
        ("a.h", b"", ("c", "cpp", "objective-c")),
        ("a.m", b"", ("matlab", "objective-c", "mathematica")),
        ("a.pl", b"", ("perl", "prolog")),
        ("a.ts", b"", ("typescript", "xml")),
        ("LICENSE", b"", ()),
        ("a.H", b"", None),
        ("a.m", b"#!/usr/bin/octave", ("matlab", "objective-c", "mathematica")),
        ("run.pro", b"#!/usr/bin/swipl", None),
        ("tool", b"#!/bin/sh", None),
        ("Makefile", b"", None),
        ("a.py", b"", None),
        ("a.unknown", b"", None),
    ],
)
def test_a_question_is_open_where_an_ending_is_of_several_languages_and_nothing_else_tells(path, head, possible):
    assert open_question(extension_of(path), language_of(path, head)) == possible


def test_what_an_ambiguous_ending_may_mean_is_known():
    for extension, possible in AMBIGUOUS.items():
        assert set(possible) <= {language.name for language in LANGUAGES}
        assert language_of(f"name{extension}") in (None, *possible)


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
