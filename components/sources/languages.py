"""Which language a file is written in, from its name and, where that says nothing, from its `#!` line.

As in StarCoder (arXiv 2305.06161, section 3.1) the name decides and nothing is guessed from the content. Endings
that several languages share stay without one (.m .v .cls .d .inc .pp .b .cgi .asc), except the few that are
forced to the common reading: .h is C, .pl Perl, .rs Rust, .ts TypeScript, .php PHP, .r R (The Stack's own choice).
"""

import posixpath
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["programming", "markup", "data", "prose"]


@dataclass(frozen=True)
class Language:
    """One language: the file endings (lower case, with dot), exact file names and interpreters that mean it."""

    name: str
    kind: Kind
    extensions: tuple[str, ...]
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()


LANGUAGES: tuple[Language, ...] = (
    Language("ada", "programming", (".ada", ".adb", ".ads")),
    Language("agda", "programming", (".agda",)),
    Language("applescript", "programming", (".applescript",), interpreters=("osascript",)),
    Language("assembly", "programming", (".asm", ".nasm", ".s")),
    Language("augeas", "programming", (".aug",)),
    Language("awk", "programming", (".awk",), interpreters=("awk", "gawk", "mawk", "nawk")),
    Language("batchfile", "programming", (".bat", ".cmd")),
    Language("bison", "programming", (".bison", ".y", ".yacc", ".yy")),
    Language("c", "programming", (".c", ".h")),
    Language("c-sharp", "programming", (".cs", ".csx")),
    Language("clojure", "programming", (".clj", ".cljc", ".cljs"), interpreters=("bb",)),
    Language("cmake", "programming", (".cmake",), filenames=("CMakeLists.txt",)),
    Language("cobol", "programming", (".cbl", ".cob", ".cobol")),
    Language("coffeescript", "programming", (".coffee",), interpreters=("coffee",)),
    Language("common-lisp", "programming", (".asd", ".lisp"), interpreters=("sbcl",)),
    Language("cpp", "programming", (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".ipp", ".tcc")),
    Language("css", "markup", (".css",)),
    Language("csv", "data", (".csv", ".tsv")),
    Language("cuda", "programming", (".cu", ".cuh")),
    Language("cython", "programming", (".pxd", ".pxi", ".pyx")),
    Language("dart", "programming", (".dart",), interpreters=("dart",)),
    Language("diff", "data", (".diff", ".patch")),
    Language("dockerfile", "programming", (".dockerfile",), filenames=("Dockerfile", "Containerfile")),
    Language("elixir", "programming", (".ex", ".exs"), interpreters=("elixir",)),
    Language("elm", "programming", (".elm",)),
    Language("emacs-lisp", "programming", (".el",), filenames=(".emacs",)),
    Language("erlang", "programming", (".erl", ".hrl"), interpreters=("escript",)),
    Language("f-sharp", "programming", (".fs", ".fsi", ".fsx")),
    Language("fortran", "programming", (".f", ".f03", ".f08", ".f77", ".f90", ".f95", ".for")),
    Language("glsl", "programming", (".frag", ".glsl", ".vert")),
    Language("go", "programming", (".go",)),
    Language("graphql", "programming", (".graphql", ".gql")),
    Language("groovy", "programming", (".gradle", ".groovy"), ("Jenkinsfile",), ("groovy",)),
    Language("haskell", "programming", (".hs",), interpreters=("runghc", "runhaskell")),
    Language("hcl", "programming", (".hcl", ".tf")),
    Language("html", "markup", (".htm", ".html", ".xhtml")),
    Language("ini", "data", (".cfg", ".ini"), filenames=(".editorconfig", ".gitconfig")),
    Language("java", "programming", (".java",)),
    Language("javascript", "programming", (".cjs", ".js", ".jsx", ".mjs"), interpreters=("node", "nodejs")),
    Language("json", "data", (".json", ".jsonl", ".geojson")),
    Language("julia", "programming", (".jl",), interpreters=("julia",)),
    Language("jupyter-notebook", "markup", (".ipynb",)),
    Language("kotlin", "programming", (".kt", ".kts")),
    Language("lean", "programming", (".lean",)),
    Language("less", "markup", (".less",)),
    Language("llvm", "programming", (".ll",)),
    Language("lua", "programming", (".lua",), interpreters=("lua", "luajit")),
    Language(
        "makefile", "programming", (".mak", ".mk"), ("GNUmakefile", "Makefile", "makefile"), interpreters=("make",)
    ),
    Language("markdown", "prose", (".markdown", ".md", ".mdx")),
    Language("nix", "programming", (".nix",)),
    Language("ocaml", "programming", (".ml", ".mli"), interpreters=("ocaml", "ocamlrun")),
    Language("pascal", "programming", (".dpr", ".pas")),
    Language("perl", "programming", (".pl", ".pm", ".pod"), ("cpanfile",), ("perl",)),
    Language("php", "programming", (".php", ".phtml"), interpreters=("php",)),
    Language("powershell", "programming", (".ps1", ".psd1", ".psm1"), interpreters=("pwsh",)),
    Language("prolog", "programming", (".prolog",), interpreters=("swipl",)),
    Language("protocol-buffer", "programming", (".proto",)),
    Language("python", "programming", (".py", ".pyi", ".pyw"), ("SConstruct", "SConscript"), ("python", "pypy")),
    Language("r", "programming", (".r",), (".Rprofile",), ("Rscript",)),
    Language("racket", "programming", (".rkt",), interpreters=("racket",)),
    Language("restructuredtext", "prose", (".rest", ".rst")),
    Language("ruby", "programming", (".gemspec", ".rake", ".rb"), ("Gemfile", "Rakefile"), ("ruby",)),
    Language("rust", "programming", (".rs",)),
    Language("scala", "programming", (".sbt", ".scala"), interpreters=("scala",)),
    Language("scheme", "programming", (".scm", ".ss"), interpreters=("guile",)),
    Language("scss", "markup", (".sass", ".scss")),
    Language(
        "shell",
        "programming",
        (".bash", ".fish", ".ksh", ".sh", ".zsh"),
        (".bash_profile", ".bashrc", ".profile", ".zshrc"),
        ("ash", "bash", "dash", "fish", "ksh", "sh", "zsh"),
    ),
    Language("smalltalk", "programming", (".st",)),
    Language("solidity", "programming", (".sol",)),
    Language("sql", "programming", (".ddl", ".dml", ".plsql", ".sql")),
    Language("standard-ml", "programming", (".fun", ".sig", ".sml")),
    Language("swift", "programming", (".swift",), interpreters=("swift",)),
    Language("systemverilog", "programming", (".sv", ".svh")),
    Language("tcl", "programming", (".tcl",), interpreters=("tclsh", "wish")),
    Language("tex", "markup", (".bib", ".ltx", ".sty", ".tex")),
    Language("text", "prose", (".text", ".txt")),
    Language("thrift", "programming", (".thrift",)),
    Language("toml", "data", (".toml",), filenames=("Cargo.lock", "poetry.lock")),
    Language("typescript", "programming", (".cts", ".mts", ".ts", ".tsx"), interpreters=("deno", "ts-node")),
    Language("vhdl", "programming", (".vhd", ".vhdl")),
    Language("vim-script", "programming", (".vim",), filenames=(".vimrc",)),
    Language("visual-basic", "programming", (".vb", ".vbs")),
    Language("vue", "markup", (".vue",)),
    Language("webassembly", "programming", (".wat",)),
    Language("xml", "data", (".svg", ".xml", ".xsd", ".xsl", ".xslt")),
    Language("yaml", "data", (".yaml", ".yml")),
    Language("zig", "programming", (".zig",)),
)
"""Names are lower case with hyphens, as the directories of StarCoderData."""

_BY_EXTENSION = {extension: language.name for language in LANGUAGES for extension in language.extensions}
_BY_FILENAME = {filename: language.name for language in LANGUAGES for filename in language.filenames}
_BY_INTERPRETER = {word: language.name for language in LANGUAGES for word in language.interpreters}
_BY_CASED_EXTENSION = {".C": "cpp", ".H": "cpp"}

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
        or _BY_CASED_EXTENSION.get(ending)
        or _BY_EXTENSION.get(ending.lower())
        or _BY_FILENAME.get(name.partition(".")[0])
        or _language_of_shebang(head)
    )


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
