"""Which languages a corpus has: those that are named, StarCoder's 88, or those that StarCoder's rule takes.

The rule (arXiv 2305.06161, section 3.1): more than 500 MB of data, or in the top 50 of GitHut 2.0 or of the TIOBE
index, or a dialect of a language that is taken; no configuration, no data formats and nothing without support. Applied
to the sizes below it gives StarCoder's 88 languages, which a test shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from components.corpus.quality_config import FilterQualityConfig, ListedLanguages, RuledLanguages
from components.errors import ParamsError
from components.sources.language_table import LANGUAGES

BY_SIZE = "size"
LISTED = "listed"


class MixedLanguage(NamedTuple):
    """One of StarCoder's code sources."""

    stack_gb: float
    """GB in The Stack when its reviewers chose (bigcode-analysis, `bigcode_pls.csv`)."""
    weight_gb: float
    """In the mix: GB after filtering (bigcode-data-mix, `data_sources.csv`), but for css, json and yaml their caps."""
    basis: str = BY_SIZE
    """BY_SIZE, the language that it is a dialect of, or LISTED: below 500 MB and no dialect, so by the rule in one of
    the two lists. Which one, and whether the reviewers added it on their own judgement, no source says."""


STARCODER_MIX: dict[str, MixedLanguage] = {
    "ada": MixedLanguage(0.578, 0.26),
    "agda": MixedLanguage(0.0768, 0.07, LISTED),
    "alloy": MixedLanguage(0.0156, 0.01, LISTED),
    "antlr": MixedLanguage(0.062, 0.05, LISTED),
    "applescript": MixedLanguage(0.0102, 0.01, LISTED),
    "assembly": MixedLanguage(1.65, 1.56),
    "augeas": MixedLanguage(0.000827, 0.001, LISTED),
    "awk": MixedLanguage(0.0245, 0.02, LISTED),
    "batchfile": MixedLanguage(0.333, 0.23, LISTED),
    "bluespec": MixedLanguage(0.0375, 0.03, LISTED),
    "c": MixedLanguage(75.9, 53.89),
    "c-sharp": MixedLanguage(58.0, 44.66),
    "clojure": MixedLanguage(0.563, 0.46),
    "cmake": MixedLanguage(0.679, 0.45),
    "coffeescript": MixedLanguage(0.883, 0.64),
    "common-lisp": MixedLanguage(1.94, 1.4),
    "cpp": MixedLanguage(66.0, 48.92),
    "css": MixedLanguage(34.9, 3),
    "cuda": MixedLanguage(0.73, 0.56),
    "dart": MixedLanguage(4.88, 3.66),
    "dockerfile": MixedLanguage(0.518, 0.42),
    "elixir": MixedLanguage(0.939, 0.71),
    "elm": MixedLanguage(0.368, 0.3, LISTED),
    "emacs-lisp": MixedLanguage(0.552, 0.41),
    "erlang": MixedLanguage(0.932, 0.7),
    "f-sharp": MixedLanguage(1.03, 0.61),
    "fortran": MixedLanguage(2.08, 1.78),
    "glsl": MixedLanguage(0.687, 0.4),
    "go": MixedLanguage(32.0, 23.78),
    "groovy": MixedLanguage(1.21, 0.91),
    "haskell": MixedLanguage(2.75, 2.23),
    "html": MixedLanguage(291.5, 29.36),
    "idris": MixedLanguage(0.0345, 0.03, LISTED),
    "isabelle": MixedLanguage(0.0989, 0.08, LISTED),
    "java": MixedLanguage(112.8, 86.94),
    "java-server-pages": MixedLanguage(1.33, 0.98),
    "javascript": MixedLanguage(166.2, 64.71),
    "json": MixedLanguage(627.9, 1),
    "julia": MixedLanguage(1.75, 1.31),
    "kotlin": MixedLanguage(6.82, 5.68),
    "lean": MixedLanguage(0.163, 0.09, LISTED),
    "literate-agda": MixedLanguage(0.00529, 0.01, "agda"),
    "literate-coffeescript": MixedLanguage(0.00506, 0.01, "coffeescript"),
    "literate-haskell": MixedLanguage(0.0678, 0.05, "haskell"),
    "lua": MixedLanguage(3.77, 2.87),
    "makefile": MixedLanguage(2.14, 1.31),
    "maple": MixedLanguage(0.0268, 0.01, LISTED),
    "markdown": MixedLanguage(95.8, 74.93),
    "mathematica": MixedLanguage(1.88, 1.25),
    "matlab": MixedLanguage(0.048, 0.0002, LISTED),
    "ocaml": MixedLanguage(1.37, 1.03),
    "pascal": MixedLanguage(1.88, 1.68),
    "perl": MixedLanguage(2.99, 2.23),
    "php": MixedLanguage(89.5, 60.89),
    "powershell": MixedLanguage(1.65, 1.12),
    "prolog": MixedLanguage(0.0129, 0.01, LISTED),
    "protocol-buffer": MixedLanguage(0.557, 0.31),
    "python": MixedLanguage(80.1, 60.4),
    "r": MixedLanguage(0.316, 0.3, LISTED),
    "racket": MixedLanguage(0.0395, 0.03, LISTED),
    "restructuredtext": MixedLanguage(4.28, 3.32),
    "rmarkdown": MixedLanguage(0.0615, 0.06, "r"),
    "ruby": MixedLanguage(9.78, 6.81),
    "rust": MixedLanguage(12.9, 9.11),
    "sas": MixedLanguage(0.161, 0.12, LISTED),
    "scala": MixedLanguage(6.06, 4.69),
    "scheme": MixedLanguage(0.598, 0.2),
    "shell": MixedLanguage(4.07, 3.09),
    "smalltalk": MixedLanguage(0.763, 0.58),
    "solidity": MixedLanguage(1.7, 0.85),
    "sparql": MixedLanguage(0.0453, 0.04, LISTED),
    "sql": MixedLanguage(12.7, 11.09),
    "stan": MixedLanguage(0.015, 0.01, LISTED),
    "standard-ml": MixedLanguage(0.538, 0.19),
    "stata": MixedLanguage(0.418, 0.33, LISTED),
    "systemverilog": MixedLanguage(0.498, 0.39, LISTED),
    "tcl": MixedLanguage(0.511, 0.35),
    "tcsh": MixedLanguage(0.0275, 0.02, "shell"),
    "tex": MixedLanguage(5.86, 5.2),
    "thrift": MixedLanguage(0.0197, 0.01, LISTED),
    "typescript": MixedLanguage(36.6, 26.52),
    "verilog": MixedLanguage(0.000955, 0.001, LISTED),
    "vhdl": MixedLanguage(1.46, 0.94),
    "visual-basic": MixedLanguage(1.71, 1.42),
    "xslt": MixedLanguage(0.716, 0.05),
    "yacc": MixedLanguage(0.557, 0.11),
    "yaml": MixedLanguage(40.8, 1),
    "zig": MixedLanguage(0.249, 0.18, LISTED),
}
"""The 88 of them."""

OMITTED = {
    "actionscript": "no longer supported",
    "arduino": "not among StarCoder's languages",
    "asciidoc": "not among StarCoder's languages",
    "handlebars": "templates of another language",
    "haxe": "not among StarCoder's languages",
    "jupyter-notebook": "a source of its own",
    "less": "not among StarCoder's languages",
    "llvm": "mostly generated",
    "nim": "not among StarCoder's languages",
    "nix": "not among StarCoder's languages",
    "objective-cpp": "not among StarCoder's languages",
    "roff": "mostly data",
    "roff-manpage": "mostly data",
    "scss": "not among StarCoder's languages",
    "smali": "not among StarCoder's languages",
    "swift": "not among StarCoder's languages",
    "text": "no programming language",
    "twig": "templates of another language",
    "vue": "mostly HTML",
}
"""Larger than 500 MB in The Stack and still not taken, with the reviewers' reason where they gave one."""

_CAPPED_KINDS = frozenset({"configuration", "data"})
_KIND = {language.name: language.kind for language in LANGUAGES}


@dataclass(frozen=True)
class Choice:
    """Whether a language is kept, and why."""

    is_kept: bool
    reason: str


def select_languages(bytes_by_language: Mapping[str, int], config: FilterQualityConfig) -> dict[str, Choice]:
    """The choice for each language that is known; the bytes are asked by the rule alone.

    ParamsError if the config names a language that is not known.
    """
    _require_known(config)
    return {name: _choice(name, bytes_by_language, config) for name in _KIND}


def _choice(name: str, bytes_by_language: Mapping[str, int], config: FilterQualityConfig) -> Choice:
    languages = config.languages
    if isinstance(languages, ListedLanguages):
        is_named = name in languages.names
        return Choice(is_named, "named in the list" if is_named else "not in filter_quality.languages.names")
    if isinstance(languages, RuledLanguages):
        return _ruled(name, bytes_by_language, languages.min_bytes, frozenset(config.max_bytes_by_language))
    return Choice(name in STARCODER_MIX, "in StarCoder's mix" if name in STARCODER_MIX else "not in StarCoder's mix")


def _ruled(name: str, bytes_by_language: Mapping[str, int], min_bytes: int, capped: frozenset[str]) -> Choice:
    size = bytes_by_language.get(name, 0)
    basis = STARCODER_MIX[name].basis if name in STARCODER_MIX else BY_SIZE
    if name in OMITTED:
        return Choice(False, OMITTED[name])
    if _KIND[name] in _CAPPED_KINDS and name not in capped:
        return Choice(False, f"{_KIND[name]} without an entry in max_bytes_by_language")
    if size > min_bytes:
        return Choice(True, f"{size} bytes are more than {min_bytes}")
    if basis == LISTED:
        return Choice(True, "in the top 50 of GitHut or TIOBE, or added by StarCoder's reviewers")
    if basis != BY_SIZE and _ruled(basis, bytes_by_language, min_bytes, capped).is_kept:
        return Choice(True, f"a dialect of {basis}")
    return Choice(False, f"{size} bytes are not more than {min_bytes}, and no list has it")


def _require_known(config: FilterQualityConfig) -> None:
    for key, names in config.languages_named().items():
        for name in names:
            if name not in _KIND:
                raise ParamsError(
                    f"filter_quality.{key} names {name!r}, which components/sources/language_table.py does not know; "
                    f"write one of {', '.join(_KIND)}"
                )
