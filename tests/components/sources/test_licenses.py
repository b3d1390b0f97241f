"""Licences: recognized by what only their text says, never guessed, never forgotten."""

import pytest

from components.sources.licenses import (
    LICENSE_TEXTS,
    LicenseMap,
    header_license,
    is_license_file,
    text_license,
)

TEXT_OF = {known.spdx: ". ".join(known.phrases) for known in LICENSE_TEXTS}
MIT, APACHE, GPL = TEXT_OF["MIT"], TEXT_OF["Apache-2.0"], TEXT_OF["GPL-3.0-only"]


@pytest.mark.parametrize("spdx", TEXT_OF)
def test_each_text_is_known_for_itself_and_for_nothing_else(spdx):
    assert text_license(TEXT_OF[spdx]) == spdx


def test_case_line_breaks_and_punctuation_do_not_matter():
    assert text_license("  Apache License\n\n   Version 2.0, January 2004 ") == "Apache-2.0"


def test_two_texts_in_one_file_are_both_named():
    assert text_license(f"{GPL}\n\n{APACHE}") == "Apache-2.0 AND GPL-3.0-only"


@pytest.mark.parametrize("text", ["", "all rights reserved", "licensed under some terms, see elsewhere"])
def test_an_unknown_text_is_no_licence(text):
    assert text_license(text) is None


@pytest.mark.parametrize(
    ("head", "license_"),
    [
        ("# SPDX-License-Identifier: MIT\n", "MIT"),
        (
            "/* SPDX-License-Identifier: GPL-2.0-or-later WITH Classpath-exception-2.0 */",
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
        ),
        ("<!-- SPDX-License-Identifier: Apache-2.0 -->", "Apache-2.0"),
        ("// SPDX-License-Identifier: (MIT OR Apache-2.0)", "(MIT OR Apache-2.0)"),
        ("#!/bin/sh\n#\n# SPDX-License-Identifier:  BSD-3-Clause  \r\n", "BSD-3-Clause"),
        ("# SPDX-License-Identifier: GPL-2.0+\n", "GPL-2.0+"),
        ("# SPDX-License-Identifier: (MIT\n", None),
        ("# SPDX-License-Identifier: see the file\n", None),
        ("# SPDX-License-Identifier: <the licence>\n", None),
        ("\n" * 20 + "# SPDX-License-Identifier: MIT\n", None),
        ("\n" * 19 + "# SPDX-License-Identifier: MIT\n", "MIT"),
        ("no tag", None),
    ],
)
def test_the_tag_in_the_first_lines_counts_if_it_is_an_expression(head, license_):
    assert header_license(head) == license_


@pytest.mark.parametrize(
    "path",
    [
        "LICENSE",
        "a/b/COPYING",
        "LICENCE.md",
        "License.txt",
        "LICENSE-MIT",
        "LICENSE.APACHE",
        "MIT-LICENSE",
        "UNLICENSE",
    ],
)
def test_a_licence_file_is_known_by_its_name(path):
    assert is_license_file(path)


@pytest.mark.parametrize("path", ["license.py", "LICENSE/readme", "licenses.json", "relicense", "copyingmachine"])
def test_other_files_are_none(path):
    assert not is_license_file(path)


def test_the_nearest_licence_file_above_decides():
    licenses = LicenseMap({"LICENSE": APACHE, "vendor/zlib/LICENSE.txt": MIT}, declared="BSD-2-Clause")

    assert licenses.covering("main.c") == "Apache-2.0"
    assert licenses.covering("vendor/other.c") == "Apache-2.0"
    assert licenses.covering("vendor/zlib/deep/er/inflate.c") == "MIT"


def test_the_declared_licence_covers_what_no_file_does():
    assert LicenseMap({}, declared="Python-2.0").covering("a/b.py") == "Python-2.0"
    assert LicenseMap({}, declared=None).covering("a/b.py") is None


def test_several_licence_files_of_a_directory_count_together():
    licenses = LicenseMap({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE, "COPYING": MIT}, declared=None)
    assert licenses.covering("lib.rs") == "Apache-2.0 AND MIT"


def test_an_unknown_licence_below_the_top_frees_nothing():
    licenses = LicenseMap({"LICENSE": MIT, "vendor/LICENSE": "all rights reserved"}, declared="MIT")
    assert licenses.covering("vendor/secret.c") is None


def test_at_the_top_the_declared_licence_stands_in_for_a_text_nobody_knows():
    licenses = LicenseMap({"project-1.0/LICENSE": "in our own words"}, declared="MIT", top="project-1.0")
    assert licenses.covering("project-1.0/a/b.py") == "MIT"


def test_a_page_about_the_licence_says_nothing():
    licenses = LicenseMap({"LICENSE": MIT, "docs/license.rst": ".. include:: ../LICENSE"}, declared=None)
    assert licenses.covering("docs/conf.py") == "MIT"
