"""Which language a notebook's code is in: what its metadata says, else what its code looks like.

Only whole words count. That "py" occurs somewhere in the metadata, the reference's test (bigcode-dataset,
preprocessing/jupyter_script_conversion.py), holds of every notebook whose metadata says "jupyter".
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

MAX_TOLD_CHARS = 40
"""Of an unknown language's name so much is told."""


@dataclass(frozen=True)
class NotebookLanguage:
    """A language of kernels that jupytext can write scripts of."""

    name: str
    """As `components/sources/languages.py` spells it."""
    extension: str
    """The ending of its scripts; one that jupytext knows."""
    spellings: tuple[str, ...]
    """How metadata names it: the first word of a language's or kernel's name, lower case, without its version."""
    guessed_as: str | None = None
    """What magika calls it; None where it does not know it."""


NOTEBOOK_LANGUAGES: tuple[NotebookLanguage, ...] = (
    NotebookLanguage("c-sharp", ".cs", ("c#", "csharp"), "cs"),
    NotebookLanguage("clojure", ".clj", ("clojure",), "clojure"),
    NotebookLanguage("cpp", ".cpp", ("c++", "cpp", "xcpp"), "cpp"),
    NotebookLanguage("f-sharp", ".fsx", ("f#", "fsharp", "ifsharp")),
    NotebookLanguage("go", ".go", ("go", "gophernotes"), "go"),
    NotebookLanguage("groovy", ".groovy", ("groovy",), "groovy"),
    NotebookLanguage("haskell", ".hs", ("haskell", "ihaskell"), "haskell"),
    NotebookLanguage("java", ".java", ("java", "ijava"), "java"),
    NotebookLanguage("javascript", ".js", ("javascript", "js", "ijavascript", "node"), "javascript"),
    NotebookLanguage("julia", ".jl", ("julia", "ijulia"), "julia"),
    NotebookLanguage("lua", ".lua", ("lua", "ilua"), "lua"),
    NotebookLanguage("ocaml", ".ml", ("ocaml",), "ocaml"),
    NotebookLanguage("powershell", ".ps1", ("powershell", "pwsh"), "powershell"),
    NotebookLanguage("python", ".py", ("python", "ipython", "pypy", "pyspark", "sage", "sagemath"), "python"),
    NotebookLanguage("r", ".r", ("r", "ir", "sparkr", "xr"), "r"),
    NotebookLanguage("rust", ".rs", ("rust", "evcxr"), "rust"),
    NotebookLanguage("sas", ".sas", ("sas",)),
    NotebookLanguage("scala", ".scala", ("scala", "almond", "spylon"), "scala"),
    NotebookLanguage("scheme", ".scm", ("scheme",)),
    NotebookLanguage("shell", ".sh", ("bash", "sh", "shell", "zsh"), "shell"),
    NotebookLanguage("stata", ".do", ("stata",)),
    NotebookLanguage("tcl", ".tcl", ("tcl",), "tcl"),
    NotebookLanguage("typescript", ".ts", ("typescript", "ts", "tslab"), "typescript"),
)
SCRIPT_EXTENSIONS = {language.name: language.extension for language in NOTEBOOK_LANGUAGES}

_BY_EXTENSION = {language.extension: language.name for language in NOTEBOOK_LANGUAGES}
_BY_SPELLING = {spelling: language.name for language in NOTEBOOK_LANGUAGES for spelling in language.spellings}
_BY_GUESS = {language.guessed_as: language.name for language in NOTEBOOK_LANGUAGES}
_FIRST_WORD = re.compile(r"[a-z]+[+#]*")


@dataclass(frozen=True)
class LanguageHints:
    """What a notebook says of its language, from what says it best to what says it least; "" where it is silent."""

    file_extension: str = ""
    """`metadata.language_info.file_extension`."""
    languages: tuple[str, ...] = ()
    """Names of languages: `language_info.name`, `kernelspec.language`, and nbformat 3's `language` of a code cell."""
    kernels: tuple[str, ...] = ()
    """Names that people give their kernels, often that of an environment: `kernelspec.name` and `display_name`."""


@dataclass(frozen=True)
class Guess:
    """What a model takes a code for."""

    label: str
    """In magika's words."""
    language: str | None
    """One of NOTEBOOK_LANGUAGES."""
    probability: float


def declared_language(hints: LanguageHints) -> str | None:
    """The language that the metadata names; None if it names none.

    A language that is not in NOTEBOOK_LANGUAGES is given as it is spelled, lower case: nothing is to be guessed then.
    """
    by_extension = _BY_EXTENSION.get(f".{hints.file_extension.strip().lower().removeprefix('.')}")
    if by_extension is not None:
        return by_extension
    for spelled in (*hints.languages, *hints.kernels):
        word = _FIRST_WORD.match(spelled.strip().lower())
        if word is not None and word[0] in _BY_SPELLING:
            return _BY_SPELLING[word[0]]
    unknown = next((spelled.strip() for spelled in hints.languages if spelled.strip()), None)
    return None if unknown is None else unknown.lower()[:MAX_TOLD_CHARS]


def guess_language(code: str) -> Guess:
    """What the code looks like to magika's model, whatever its certainty; it reads beginning and end of the code.

    Code of less than eight bytes, which no model can tell, is "txt" or "empty", with probability 1.
    """
    found = _model().identify_bytes(code.encode("utf-8"))
    label = str(found.output.label)
    return Guess(label, _BY_GUESS.get(label), float(found.score))


@cache
def _model() -> Any:
    from magika import Magika, PredictionMode  # noqa: PLC0415 - half a second; few notebooks need it

    return Magika(prediction_mode=PredictionMode.BEST_GUESS)
