"""Scripts hold the code of their notebooks: jupytext reads the same cells back, and no line is lost where it cannot."""

import ast
import json

import jupytext
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.notebooks.guarded_json import JsonLimits
from components.notebooks.notebook_language import NOTEBOOK_LANGUAGES, SCRIPT_EXTENSIONS
from components.notebooks.read_notebook import Cell, Notebook, read_notebook
from components.notebooks.scripts import script_of

LIMITS = JsonLimits(depth=100, values=1_000_000)

# Lines of which jupytext's own reader can find the cells again: no marker of a cell, no quotes left open.
LINES = [
    *("x = 1", "    return x", "def f(a):", "class A:", "@property", "\tif x:", "async def g(): ...", "'a \" b'", "\\"),
    *(
        "# a comment",
        "#!/bin/sh",
        "# -*- coding: utf-8 -*-",
        "---",
        "# ---",
        "# +",
        "",
        "   ",
        "print('é 你好 \u202e')",
    ),
    *("%matplotlib inline", "# %matplotlib inline", "!pip install numpy", "x = !ls", "%load_ext x \\", "cd ..", "x?"),
    *('"""a docstring"""', "x <- c(1, 2)", "%%time", "a \u2028 b", "a\x0cb", "// a", "(* a *)"),
]
words = st.text(
    st.characters(categories=["L", "Nd", "Zs"]) | st.sampled_from("()[]{}=+*,:.#%!?/\\<>|&$@^~`;-_"), max_size=12
)
sources = st.lists(st.sampled_from(LINES) | words.filter(lambda line: "%%" not in line), min_size=1, max_size=6).map(
    "\n".join
)
cells = st.lists(st.builds(Cell, st.sampled_from(["code", "markdown", "raw"]), sources), min_size=1, max_size=5)


def sources_of(script, language):
    """The code cells that jupytext finds in a script; separators that it takes for line ends are kept from it."""
    hidden = {0x2028: 0xE000, 0x0C: 0xE001}
    shown = {value: key for key, value in hidden.items()}
    how = {"extension": SCRIPT_EXTENSIONS[language], "format_name": "percent"}
    found = jupytext.reads(script.translate(hidden), how)
    return [cell.source.translate(shown) for cell in found.cells if cell.cell_type == "code"]


def without_blank_edges(source):
    lines = source.rstrip().split("\n")
    while not lines[0].strip():
        lines.pop(0)
    return "\n".join(lines)


@given(cells, st.sampled_from(["python", "r", "julia", "scala", "haskell", "javascript"]))
def test_jupytext_reads_the_same_code_back(made, language):
    expected = [without_blank_edges(cell.source) for cell in made if cell.kind == "code" and cell.source.strip()]
    assert sources_of(script_of(Notebook(tuple(made), language), language), language) == expected


# What `read_notebook` lets nobody have.
UNREAD = "".join(["\r\n\0", *map(chr, range(0xFDD0, 0xFDF0))])

anything = st.lists(
    st.sampled_from([*LINES, "# %%", "#%% [markdown]", 's = """', "'''", "%%bash", "%%R -i df", "%%cython"])
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters=UNREAD), max_size=9),
    min_size=1,
    max_size=5,
).map("\n".join)


@given(
    st.lists(st.builds(Cell, st.sampled_from(["code", "markdown"]), anything), max_size=4),
    st.sampled_from([language.name for language in NOTEBOOK_LANGUAGES]),
)
def test_whatever_a_cell_holds_its_lines_are_in_the_script_in_their_order(made, language):
    """Each as it is or behind a comment mark, but for the first line of a cell of another language: it names that."""
    whole = script_of(Notebook(tuple(made), language), language)
    assert whole.encode("utf-8").endswith(b"\n") or not any(cell.source.strip() for cell in made)
    script = iter(whole.split("\n"))
    for cell in made:
        lines = without_blank_edges(cell.source).split("\n") if cell.source.strip() else []
        for line in lines[1:] if lines and lines[0].startswith("%%") else lines:
            assert any(line.strip(" \t") in written for written in script), line


def test_a_script_of_python_is_python(samples):
    checked = 0
    for data in samples.values():
        notebook = read_notebook(data, LIMITS)
        if notebook.language == "python":
            ast.parse(script_of(notebook, "python"))
            checked += 1
    assert checked >= 5


def test_a_script_as_a_whole():
    cells = (
        Cell("markdown", "# Title\n\nSome *text*."),
        Cell("code", "%matplotlib inline\nimport numpy as np\n!pip install x\n\n"),
        Cell("raw", "---\nfront: matter\n---"),
        Cell("code", "   \n"),
        Cell("code", "\n\ndef f(x):\n    return x\n"),
        Cell("code", "%%bash -e\nls"),
    )
    assert script_of(Notebook(cells, "python"), "python") == (
        "# %% [markdown]\n# # Title\n#\n# Some *text*.\n\n"
        "# %%\n# %matplotlib inline\nimport numpy as np\n# !pip install x\n\n"
        "# %%\ndef f(x):\n    return x\n\n"
        '# %% magic_args="-e" language="bash"\n# ls\n'
    )


def test_no_metadata_is_written(written):
    """Neither jupytext's own header, nor what metadata asks of jupytext, nor an encoding."""
    metadata = {
        "kernelspec": {"name": "ir", "language": "R", "display_name": "R"},
        "jupytext": {"formats": "ipynb,R:light", "executable": "/bin/sh", "encoding": "# coding: latin-1"},
        "authors": [{"name": "somebody"}],
    }
    cell = {"cell_type": "code", "source": "x <- 'é'", "metadata": {"tags": ["secret"], "collapsed": True}}
    notebook = read_notebook(written(cell, metadata=metadata), LIMITS)
    assert script_of(notebook, "r") == "# %%\nx <- 'é'\n"
    assert script_of(notebook, "ocaml") == "(* %% *)\nx <- 'é'\n"


def test_a_separator_within_a_string_does_not_become_the_end_of_a_line():
    """Jupytext reads a cell with `str.splitlines`, which ends lines at eight more characters than Python's parser."""
    source = "".join(f"s{n} = 'a{separator}b'\n" for n, separator in enumerate("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))
    assert script_of(Notebook((Cell("code", source),), "python"), "python") == f"# %%\n{source}"


def test_nbformat_3_which_jupytext_refuses_becomes_a_script(samples):
    data = samples["vowels_version_3.ipynb"]
    assert json.loads(data)["nbformat"] == 3
    with pytest.warns(UserWarning, match="not supported"), pytest.raises(NotImplementedError):
        jupytext.writes(jupytext.reads(data.decode(), "ipynb"), "py:percent")
    script = script_of(read_notebook(data, LIMITS), "python")
    assert script.startswith("# %% [markdown]\n# # Vowels in the names of months\n")
    assert "\n# %%\nimport calendar\n\nmonths = list(calendar.month_name)[1:]\n" in script


def test_thousands_of_cells_are_converted():
    """One by one: over a whole notebook, twice the cells take jupytext four times as long."""
    script = script_of(Notebook((Cell("code", " x"),) * 5_000, "python"), "python")
    assert script == "\n".join([" # %%\n x\n"] * 5_000)
