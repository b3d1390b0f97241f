"""The languages that are known, each with its kind, its file endings, its file names and its interpreters.

Names are lower case with hyphens, as the directories of StarCoderData; all 88 code sources of StarCoder's mix are
here. Endings that several languages share follow The Stack: a common reading is forced (.h is C, .pl Perl) or there is
none (.m, .v); `AMBIGUOUS` lists both, for whoever looks into the content.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["programming", "markup", "data", "configuration", "prose"]


@dataclass(frozen=True)
class Language:
    """One language: the file endings (lower case, with dot), exact file names and interpreters that mean it."""

    name: str
    kind: Kind
    extensions: tuple[str, ...]
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()


def _of(kind: Kind, name: str, extensions: str, filenames: str = "", interpreters: str = "") -> Language:
    """A row of the table, its lists written as words."""
    return Language(name, kind, tuple(extensions.split()), tuple(filenames.split()), tuple(interpreters.split()))


LANGUAGES: tuple[Language, ...] = (
    _of("programming", "actionscript", ".as"),
    _of("programming", "ada", ".ada .adb .ads"),
    _of("programming", "agda", ".agda"),
    _of("programming", "alloy", ".als"),  # codespell:ignore als
    _of("programming", "antlr", ".g4"),
    _of("programming", "applescript", ".applescript .scpt", "", "osascript"),
    _of("programming", "arduino", ".ino"),
    _of("prose", "asciidoc", ".adoc .asciidoc"),
    _of("programming", "assembly", ".a51 .asm .nasm .s"),
    _of("programming", "augeas", ".aug"),
    _of("programming", "awk", ".auk .awk .gawk .mawk .nawk", "", "awk gawk mawk nawk"),
    _of("programming", "batchfile", ".bat .cmd"),
    _of("programming", "bison", ".bison"),
    _of("programming", "bluespec", ".bsv"),
    _of("programming", "c", ".c .cats .h .idc .w"),
    _of("programming", "c-sharp", ".cake .cs .cshtml .csx"),
    _of("programming", "clojure", ".boot .cl2 .clj .cljc .cljs .cljscm .cljx .hic", "", "bb"),
    _of("programming", "cmake", ".cmake", "CMakeLists.txt"),
    _of("programming", "cobol", ".cbl .ccp .cob .cobol .cpy"),
    _of("programming", "coffeescript", "._coffee .cjsx .coffee .cson .iced", "", "coffee"),
    _of("programming", "common-lisp", ".asd .lisp .lsp .ny .podsl .sexp", "", "sbcl"),
    _of("programming", "coq", ".coq"),
    _of("programming", "cpp", ".c++ .cc .cp .cpp .cxx .h++ .hh .hpp .hxx .inl .ipp .tcc .tpp"),
    _of("programming", "crystal", ".cr", "", "crystal"),
    _of("markup", "css", ".css"),
    _of("data", "csv", ".csv .tsv"),
    _of("programming", "cuda", ".cu .cuh"),
    _of("programming", "cython", ".pxd .pxi .pyx"),
    _of("programming", "d", ".di", "", "rdmd"),
    _of("programming", "dart", ".dart", "", "dart"),
    _of("data", "diff", ".diff .patch"),
    _of("programming", "dockerfile", ".dockerfile", "Dockerfile Containerfile"),
    _of("programming", "elixir", ".ex .exs", "mix.lock", "elixir"),
    _of("programming", "elm", ".elm"),
    _of("programming", "emacs-lisp", ".el .emacs", ".emacs"),
    _of("programming", "erlang", ".erl .escript .hrl .xrl .yrl", "rebar.config", "escript"),
    _of("programming", "f-sharp", ".fs .fsi .fsx"),
    _of("programming", "fish", ".fish", "", "fish"),
    _of("programming", "fortran", ".f .f03 .f08 .f77 .f90 .f95 .for .fpp"),
    _of("programming", "gdscript", ".gd"),
    _of("data", "gettext-catalog", ".po .pot"),
    _of(
        "programming",
        "glsl",
        ".fp .frag .frg .fsh .fshader .geo .geom .glsl .glslv .gshader .shader .vert .vrx .vsh .vshader",
    ),
    _of("programming", "go", ".go"),
    _of("programming", "graphql", ".gql .graphql"),
    _of("data", "graphviz-dot", ".dot .gv"),
    _of("programming", "groovy", ".gradle .groovy .grt .gtpl .gvy", "Jenkinsfile", "groovy"),
    _of("markup", "handlebars", ".handlebars .hbs"),
    _of("programming", "haskell", ".hs .hsc", "", "runghc runhaskell"),
    _of("programming", "haxe", ".hx"),
    _of("configuration", "hcl", ".hcl .tf"),
    _of("programming", "hlsl", ".fxh .hlsl .hlsli"),
    _of("markup", "html", ".htm .html .xht .xhtml"),
    _of("programming", "idris", ".idr .lidr"),
    _of("configuration", "ini", ".cfg .ini .properties", ".editorconfig .gitconfig"),
    _of("programming", "isabelle", ".thy"),
    _of("programming", "java", ".java"),
    _of("programming", "java-server-pages", ".jsp"),
    _of("programming", "javascript", ".cjs .es6 .js .jsm .jsx .mjs .pac .sjs .xsjslib", "", "node nodejs"),
    _of("data", "json", ".geojson .json .jsonl .topojson"),
    _of("programming", "julia", ".jl", "", "julia"),
    _of("markup", "jupyter-notebook", ".ipynb"),
    _of("programming", "kotlin", ".kt .ktm .kts"),
    _of("programming", "lean", ".hlean .lean"),
    _of("markup", "less", ".less"),
    _of("programming", "lex", ".lex"),
    _of("programming", "literate-agda", ".lagda"),
    _of("programming", "literate-coffeescript", ".litcoffee"),
    _of("programming", "literate-haskell", ".lhs"),
    _of("programming", "llvm", ".ll"),
    _of("programming", "lua", ".lua .nse .pd_lua .rbxs .rockspec .wlua", "", "lua luajit"),
    _of("programming", "m4", ".m4", "configure.ac"),
    _of("programming", "makefile", ".mak .mk .mkfile", "GNUmakefile Makefile makefile Kbuild", "make"),
    _of("programming", "maple", ".mpl"),
    _of("prose", "markdown", ".markdown .md .mdx .mkd .mkdn .mkdown .ron"),
    _of("programming", "mathematica", ".cdf .ma .mathematica .mt .nb .nbp .wl .wlt"),
    _of("programming", "matlab", ".matlab"),
    _of("prose", "mediawiki", ".mediawiki .wiki"),
    _of("programming", "meson", "", "meson.build meson_options.txt"),
    _of("programming", "motorola-68k-assembly", ".x68"),
    _of("programming", "nim", ".nim .nimrod"),
    _of("programming", "nix", ".nix"),
    _of("programming", "objective-c", ""),
    _of("programming", "objective-cpp", ".mm"),
    _of("programming", "ocaml", ".eliom .eliomi .ml .ml4 .mli .mll .mly", "", "ocaml ocamlrun"),
    _of("prose", "org", ".org"),
    _of("programming", "pascal", ".dfm .dpr .lpr .pas"),
    _of("programming", "perl", ".al .perl .ph .pl .plx .pm .psgi .t", "cpanfile", "perl"),
    _of("programming", "php", ".ctp .php .php3 .php4 .php5 .phps .phpt .phtml", "", "php"),
    _of("prose", "pod", ".pod"),
    _of("data", "postscript", ".eps .ps"),
    _of("programming", "powershell", ".ps1 .psd1 .psm1", "", "pwsh"),
    _of("programming", "prolog", ".prolog .yap", "", "swipl"),
    _of("programming", "protocol-buffer", ".proto"),
    _of("programming", "puppet", ""),
    _of("programming", "purescript", ".purs"),
    _of(
        "programming",
        "python",
        ".bzl .gyp .gypi .lmi .py .pyde .pyi .pyp .pyt .pyw .tac .wsgi .xpy",
        "BUCK BUILD SConscript SConstruct WORKSPACE wscript",
        "pypy python",
    ),
    _of("configuration", "qmake", ".pri"),
    _of("programming", "qml", ".qbs .qml"),
    _of("programming", "r", ".r .rd .rsx", ".Rprofile", "Rscript"),
    _of("programming", "racket", ".rkt .rktd .rktl .scrbl", "", "racket"),
    _of("prose", "rdoc", ".rdoc"),
    _of("prose", "restructuredtext", ".rest .rst"),
    _of("markup", "rmarkdown", ".rmd"),
    _of("prose", "roff", ".man .mdoc .roff"),
    _of("prose", "roff-manpage", ".1 .2 .3 .4 .5 .6 .7 .8 .9"),
    _of(
        "programming",
        "ruby",
        ".builder .gemspec .god .jbuilder .mspec .podspec .rabl .rake .rb .rbuild .rbw .rbx .ru .ruby .thor .watchr",
        "Brewfile Fastfile Gemfile Podfile Rakefile Vagrantfile .irbrc",
        "ruby",
    ),
    _of("programming", "rust", ".rs"),
    _of("programming", "sas", ".sas"),
    _of("markup", "sass", ".sass"),
    _of("programming", "scala", ".sbt .scala", "", "scala"),
    _of("programming", "scheme", ".scm .sld .sps .ss", "", "guile"),
    _of("markup", "scss", ".scss"),
    _of(
        "programming",
        "shell",
        ".bash .bats .command .ksh .sh .tmux .tool .zsh",
        ".bash_profile .bashrc .profile .zshrc",
        "ash bash bats dash ksh sh zsh",
    ),
    _of("programming", "smali", ".smali"),
    _of("programming", "smalltalk", ".st"),
    _of("programming", "smt", ".smt .smt2"),
    _of("programming", "solidity", ".sol"),
    _of("programming", "sparql", ".rq .sparql"),
    _of("programming", "sql", ".cql .db2 .ddl .dml .pck .pkb .pks .plb .pls .plsql .prc .sql .tab .udf .viw"),
    _of("programming", "stan", ".stan"),
    _of("programming", "standard-ml", ".fun .sig .sml"),
    _of("programming", "stata", ".ado .do .doh .ihlp .mata .matah .sthlp"),  # codespell:ignore mata
    _of("markup", "stylus", ".styl"),
    _of("markup", "svelte", ".svelte"),
    _of("data", "svg", ".svg"),
    _of("programming", "swift", ".swift", "", "swift"),
    _of("programming", "systemverilog", ".sv .svh .vh"),
    _of("programming", "tcl", ".adp .tcl .tm", "", "tclsh wish"),
    _of("programming", "tcsh", ".csh .tcsh", "", "csh tcsh"),
    _of("markup", "tex", ".aux .bbx .bib .cbx .dtx .ins .lbx .ltx .mkii .mkiv .mkvi .sty .tex .toc"),
    _of("prose", "text", ".text .txt"),
    _of("programming", "thrift", ".thrift"),
    _of("configuration", "toml", ".toml", "Cargo.lock Pipfile poetry.lock"),
    _of("data", "turtle", ".ttl"),
    _of("markup", "twig", ".j2 .jinja .jinja2 .twig"),
    _of("programming", "typescript", ".cts .mts .ts .tsx", "", "deno ts-node"),
    _of("programming", "vala", ".vala .vapi"),
    _of("programming", "verilog", ".veo"),
    _of("programming", "vhdl", ".vhd .vhdl .vhf .vhi .vho .vhs .vht .vhw"),
    _of("programming", "vim-script", ".vim", ".vimrc"),
    _of("programming", "visual-basic", ".bas .frm .frx .vb .vba .vbhtml .vbs"),
    _of("markup", "vue", ".vue"),
    _of("data", "web-ontology-language", ".owl"),
    _of("programming", "webassembly", ".wast .wat"),  # codespell:ignore wast
    _of("data", "xml", ".xml .xsd"),
    _of("programming", "xslt", ".xsl .xslt"),
    _of("programming", "yacc", ".y .yacc .yy"),
    _of("data", "yaml", ".yaml .yml"),
    _of("programming", "zig", ".zig"),
)
"""In alphabetical order; an ending, a file name or an interpreter belongs to one of them at most."""

CASED_EXTENSIONS: dict[str, str] = {".C": "cpp", ".H": "cpp", ".ML": "standard-ml"}
"""Endings whose case decides."""

AMBIGUOUS: dict[str, tuple[str, ...]] = {
    "": (),
    ".asc": ("asciidoc", "text"),
    ".b": (),
    ".cgi": ("perl", "python", "shell"),
    ".cl": ("common-lisp", "c"),
    ".cls": ("tex", "visual-basic"),
    ".d": ("makefile", "d"),
    ".fs": ("f-sharp", "glsl"),
    ".h": ("c", "cpp", "objective-c"),
    ".inc": ("php", "pascal", "assembly", "c", "cpp", "sql", "html", "makefile"),
    ".l": ("lex", "common-lisp"),
    ".m": ("matlab", "objective-c", "mathematica"),
    ".ml": ("ocaml", "standard-ml"),
    ".mod": ("xml", "fortran"),
    ".pl": ("perl", "prolog"),
    ".pp": ("puppet", "pascal"),
    ".pro": ("prolog", "qmake"),
    ".rs": ("rust", "xml"),
    ".ts": ("typescript", "xml"),
    ".v": ("verilog", "coq"),
}
"""Endings of several languages: those that a look into the content may find; none named: any language that is known."""
