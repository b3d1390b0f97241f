"""Which language a file is written in, from its name and, where that says nothing, from its `#!` line.

As in StarCoder (arXiv 2305.06161, section 3.1) the name decides, and nothing is guessed from the content here: that is
a later step's choice (`filter_quality.content_model`), for the files that `open_question` marks.
"""

import posixpath
import re

from components.sources.language_table import AMBIGUOUS, CASED_EXTENSIONS, LANGUAGES

_BY_EXTENSION = {extension: language.name for language in LANGUAGES for extension in language.extensions}
_BY_FILENAME = {filename: language.name for language in LANGUAGES for filename in language.filenames}
_BY_INTERPRETER = {word: language.name for language in LANGUAGES for word in language.interpreters}

_SHEBANG = re.compile(rb"#![ \t]*(\S+)(?:[ \t]+(?:-S[ \t]*)?(?:\w+=\S*[ \t]+)*([^\s-]\S*))?")


def extension_of(path: str) -> str:
    """The ending of the path's last part, lower case with its dot; "" for none, for `.bashrc` and for `name.`."""
    return _cased_extension(path).lower()


def language_of(path: str, head: bytes = b"") -> str | None:
    """The language of the file at `path` whose content begins with `head`; None where neither tells.

    The file's name decides before its ending, this before the name without endings (`Dockerfile.dev`), this before
    the `#!` line.
    """
    name = posixpath.basename(path)
    ending = _cased_extension(path)
    return (
        _BY_FILENAME.get(name)
        or CASED_EXTENSIONS.get(ending)
        or _BY_EXTENSION.get(ending.lower())
        or _BY_FILENAME.get(name.partition(".")[0])
        or _language_of_shebang(head)
    )


def open_question(extension: str, language: str | None) -> tuple[str, ...] | None:
    """The languages that a file may be in as far as `language_of` could tell; None where it has settled that.

    An ending of several languages is open while the file has none or the ending's forced one. No entry in the answer
    means any language that is known: nothing at all has told.
    """
    if language is not None and language != _BY_EXTENSION.get(extension):
        return None
    return AMBIGUOUS.get(extension)


def _cased_extension(path: str) -> str:
    ending = posixpath.splitext(posixpath.basename(path))[1]
    return "" if ending == "." else ending


def _language_of_shebang(head: bytes) -> str | None:
    found = _SHEBANG.match(head[:256].partition(b"\n")[0])
    if not found:
        return None
    program = posixpath.basename(found.group(1))
    if program == b"env":
        program = posixpath.basename(found.group(2) or b"")
    word = program.decode("ascii", "replace")
    return _BY_INTERPRETER.get(word) or _BY_INTERPRETER.get(word.rstrip("0123456789."))
