"""Under which licence a file stands, as an SPDX expression; read from the file's header or from licence files.

A licence text is recognized by phrases that only it contains, and anything else counts as unknown rather than
as free. Where several licences are found together they are joined by AND: none of them may be forgotten.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from components.sources.languages import LANGUAGES, extension_of

HEADER_LINES = 20
"""An `SPDX-License-Identifier` further down belongs to something else that the file talks about."""

_CODE_ENDINGS = frozenset(
    extension for language in LANGUAGES if language.kind != "prose" for extension in language.extensions
)
_PAGE_ENDINGS = (".markdown", ".md", ".rst")
_FILE_NAME = re.compile(r"(?:[a-z0-9]+[-_])?(?:licen[cs]es?|copying|unlicense)(?:[-._][a-z0-9][a-z0-9._+-]*)?", re.I)
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() \t-]+)")
_ID = r"\(*[A-Za-z0-9][A-Za-z0-9.-]*\+?\)*"
_EXPRESSION = re.compile(rf"{_ID}(?: (?:AND|OR|WITH) {_ID})*")


@dataclass(frozen=True)
class LicenseText:
    """How a licence is known: a text that holds all of `phrases` and none of `foreign`, in lower-case words."""

    spdx: str
    phrases: tuple[str, ...]
    foreign: tuple[str, ...] = ()


_BSD = "redistribution and use in source and binary forms with or without modification are permitted"
_MIT = "permission is hereby granted free of charge to any person obtaining a copy of this software"
_MIT_NOTICE = "the above copyright notice and this permission notice"
_ISC = "any purpose with or without fee is hereby granted provided that the above copyright notice"
_HPND = "permission to use copy modify and distribute this software and its documentation for any purpose"
_PSF = "python software foundation license version 2"
_ENDORSE = "endorse or promote"
_ADVERTISE = "all advertising materials"

LICENSE_TEXTS: tuple[LicenseText, ...] = (
    LicenseText("0BSD", ("with or without fee is hereby granted the software is provided as is",), (_PSF,)),
    LicenseText("AGPL-3.0-only", ("gnu affero general public license version 3 19 november 2007",)),
    LicenseText("Apache-1.1", ("apache software license version 1 1",)),
    LicenseText("Apache-2.0", ("apache license version 2 0",)),
    LicenseText("Artistic-2.0", ("artistic license 2 0",)),
    LicenseText("BSD-2-Clause", (_BSD,), (_ENDORSE, _ADVERTISE, "apache software license")),
    LicenseText("BSD-3-Clause", (_BSD, _ENDORSE), (_ADVERTISE, "apache software license")),
    LicenseText("BSD-4-Clause", (_BSD, _ADVERTISE)),
    LicenseText("BSL-1.0", ("boost software license version 1 0",)),
    LicenseText("BUSL-1.1", ("business source license 1 1",)),
    LicenseText("CC-BY-4.0", ("creative commons attribution 4 0 international",)),
    LicenseText("CC-BY-NC-4.0", ("creative commons attribution noncommercial 4 0 international",)),
    LicenseText("CC-BY-NC-SA-4.0", ("creative commons attribution noncommercial sharealike 4 0 international",)),
    LicenseText("CC-BY-SA-4.0", ("creative commons attribution sharealike 4 0 international",)),
    LicenseText("CC0-1.0", ("cc0 1 0 universal",)),
    LicenseText("Elastic-2.0", ("elastic license 2 0",)),
    LicenseText("EPL-1.0", ("eclipse public license v 1 0",)),
    LicenseText("EPL-2.0", ("eclipse public license v 2 0",)),
    LicenseText("EUPL-1.2", ("european union public licence v 1 2",)),
    LicenseText("GPL-2.0-only", ("gnu general public license version 2 june 1991",)),
    LicenseText("GPL-3.0-only", ("gnu general public license version 3 29 june 2007",)),
    LicenseText("HPND", (_HPND + " and without fee is hereby granted",), (_PSF,)),
    LicenseText("ISC", (_ISC,)),
    LicenseText("JSON", (_MIT, "the software shall be used for good not evil")),
    LicenseText("LGPL-2.0-only", ("gnu library general public license version 2 june 1991",)),
    LicenseText("LGPL-2.1-only", ("gnu lesser general public license version 2 1 february 1999",)),
    LicenseText("LGPL-3.0-only", ("gnu lesser general public license version 3 29 june 2007",)),
    LicenseText("MIT", (_MIT, _MIT_NOTICE), ("good not evil", "following disclaimers")),
    LicenseText("MIT-0", (_MIT, "without restriction"), (_MIT_NOTICE, "following disclaimers")),
    LicenseText("MPL-1.1", ("mozilla public license version 1 1",)),
    LicenseText("MPL-2.0", ("mozilla public license version 2 0",)),
    LicenseText("NCSA", (_MIT, "following disclaimers")),
    LicenseText("OFL-1.1", ("sil open font license version 1 1",)),
    LicenseText("PostgreSQL", (_HPND + " without fee and without a written agreement is hereby granted",)),
    LicenseText("PSF-2.0", (_PSF,), ("beopen",)),
    LicenseText("Python-2.0", (_PSF, "beopen python open source license agreement")),
    LicenseText("SSPL-1.0", ("server side public license",)),
    LicenseText("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    LicenseText("UPL-1.0", ("universal permissive license upl version 1 0",)),
    LicenseText("WTFPL", ("do what the fuck you want to public license",)),
    LicenseText("Zlib", ("altered source versions must be plainly marked as such",)),
)


def header_license(head: str) -> str | None:
    """The expression of the `SPDX-License-Identifier` in the first lines of a file; None if none is well formed."""
    for line in head.split("\n", HEADER_LINES)[:HEADER_LINES]:
        tag = _TAG.search(line)
        if tag:
            expression = " ".join(tag.group(1).rstrip("- \t").split())
            balanced = expression.count("(") == expression.count(")")
            return expression if balanced and _EXPRESSION.fullmatch(expression) else None
    return None


def is_license_file(path: str) -> bool:
    """Whether a file of this name holds the licence of its directory: LICENSE, COPYING.md, LICENSE-MIT, MIT-LICENSE."""
    name = posixpath.basename(path)
    return _FILE_NAME.fullmatch(name) is not None and extension_of(name) not in _CODE_ENDINGS


def text_license(text: str) -> str | None:
    """The licences whose text this is, in alphabetical order and joined by AND; None if it is none we know."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    found = [
        known.spdx
        for known in LICENSE_TEXTS
        if all(phrase in words for phrase in known.phrases) and not any(other in words for other in known.foreign)
    ]
    return " AND ".join(sorted(found)) or None


class LicenseMap:
    """Which licence covers which directory of a source, from the texts of its licence files.

    The licence file nearest above a path decides. One that nobody recognizes makes what lies under it unlicensed,
    because it may say anything; only at the `top` of the source the declared licence stands in for it, because
    there its declarer has read it. A page of documentation (`license.md`) that holds no licence text says nothing.
    """

    def __init__(self, texts: Mapping[str, str], declared: str | None, top: str = "") -> None:
        found: dict[str, list[str | None]] = {}
        for path, text in sorted(texts.items()):
            license_ = text_license(text)
            if license_ is not None or not _is_page(path):
                found.setdefault(posixpath.dirname(path), []).append(license_)
        self._by_directory = {directory: _joined(licenses) for directory, licenses in found.items()}
        self._by_directory.setdefault("", declared)
        if self._by_directory.get(top, "") is None:
            self._by_directory[top] = declared

    def covering(self, path: str) -> str | None:
        """The licence of the nearest directory above `path` that has one."""
        directory = posixpath.dirname(path)
        while directory not in self._by_directory:
            directory = posixpath.dirname(directory)
        return self._by_directory[directory]


def _is_page(path: str) -> bool:
    name = posixpath.basename(path)
    return name.islower() and extension_of(name) in _PAGE_ENDINGS


def _joined(licenses: Iterable[str | None]) -> str | None:
    """All of them by AND, each once; None if one is unknown."""
    parts: set[str] = set()
    for license_ in licenses:
        if license_ is None:
            return None
        parts.update(license_.split(" AND "))
    return " AND ".join(sorted(parts))
