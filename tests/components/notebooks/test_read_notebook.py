"""Every format of notebooks, as people and programs left them, and what was never one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.notebooks.guarded_json import JsonLimits
from components.notebooks.read_notebook import Cell, Notebook, Output, read_notebook
from components.sources.source_files import Refusal

LIMITS = JsonLimits(depth=100, values=1_000_000)

V3_CELLS = [
    {"cell_type": "heading", "level": 2, "source": ["Two\n", "lines"]},
    {"cell_type": "markdown", "source": ["Some *text*\n", "here"]},
    {
        "cell_type": "code",
        "input": ["x = 1\n", "x"],
        "language": "python",
        "prompt_number": 1,
        "outputs": [
            {"output_type": "stream", "stream": "stderr", "text": ["careful\n"]},
            {"output_type": "pyout", "prompt_number": 1, "text": ["1"], "html": "<b>1</b>"},
            {"output_type": "display_data", "png": "iVBORw0KGgo=", "text": ["<Figure>"]},
            {"output_type": "display_data", "png": "iVBORw0KGgo="},
            {"output_type": "pyerr", "ename": "E", "evalue": "no", "traceback": ["Traceback", "E: no"]},
        ],
    },
    {"cell_type": "html", "source": "<p>old</p>"},
    {"cell_type": "plaintext", "source": "as it is"},
]


def test_worksheets_of_nbformat_3_are_read_as_one_sequence_of_cells():
    sheets = [{"cells": V3_CELLS[:2]}, {"cells": V3_CELLS[2:]}]
    data = json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": sheets}).encode()
    outputs = (Output("stderr", "careful\n"), Output("result", "1"), Output("result", "<Figure>"))
    assert read_notebook(data, LIMITS) == Notebook(
        cells=(
            Cell("markdown", "## Two lines"),
            Cell("markdown", "Some *text*\nhere"),
            Cell("code", "x = 1\nx", (*outputs, Output("error", "Traceback\nE: no"))),
            Cell("markdown", "<p>old</p>"),
            Cell("raw", "as it is"),
        ),
        language="python",
    )


def test_nbformat_2_kept_lines_without_their_ends():
    cells = [
        {"cell_type": "code", "input": ["x = 1", "", "print x"], "language": "python", "outputs": []},
        {"cell_type": "text", "source": ["one", "two"]},
    ]
    data = json.dumps({"nbformat": 2, "metadata": {"name": "old"}, "worksheets": [{"cells": cells}]}).encode()
    notebook = read_notebook(data, LIMITS)
    assert [cell.source for cell in notebook.cells] == ["x = 1\n\nprint x", "one\ntwo"]


def test_outputs_of_nbformat_4():
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]},
        {"output_type": "stream", "name": "stderr", "text": "c\n"},
        {"output_type": "execute_result", "data": {"text/plain": ["[1,\n", " 2]"], "text/html": "<b>"}},
        {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo="}},
        {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": []},
        {"output_type": "from_the_future", "text": "?"},
        "no object",
    ]
    data = json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "x", "outputs": outputs}]}).encode()
    assert read_notebook(data, LIMITS).cells[0].outputs == (
        Output("stdout", "a\nb\n"),
        Output("stderr", "c\n"),
        Output("result", "[1,\n 2]"),
        Output("error", "KeyError: 'x'"),
    )


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"", Refusal("not_json", "Expecting value at character 0", "JSON")),
        (
            b'{"nbformat": 4, "cells": [{"cell_',
            Refusal("not_json", "Unterminated string starting at character 27", "JSON"),
        ),
        (b"[]", Refusal("not_notebook", "a JSON array", "a JSON object")),
        (b"null", Refusal("not_notebook", "a JSON null", "a JSON object")),
        (b'"text"', Refusal("not_notebook", "a JSON string", "a JSON object")),
        (b"{}", Refusal("notebook_format", "missing", "nbformat 2, 3 or 4")),
        (b'{"nbformat": 99, "cells": []}', Refusal("notebook_format", "99", "nbformat 2, 3 or 4")),
        (b'{"nbformat": 1, "cells": []}', Refusal("notebook_format", "1", "nbformat 2, 3 or 4")),
        (b'{"nbformat": true, "cells": []}', Refusal("notebook_format", "true", "nbformat 2, 3 or 4")),
        (b'{"nbformat": "\\ud800", "cells": []}', Refusal("notebook_format", "\\ud800", "nbformat 2, 3 or 4")),
        (b'{"nbformat": 4}', Refusal("not_notebook", "no list of cells", "a list of cells")),
        (b'{"nbformat": 4, "cells": {}}', Refusal("not_notebook", "no list of cells", "a list of cells")),
        (b'{"nbformat": 3, "worksheets": [{}, 7]}', Refusal("not_notebook", "no list of cells", "a list of cells")),
        (b'{"nbformat": 4, "a": ' + b"[" * 10_000, Refusal("json_depth", "10001", "100")),
        (b'{"nbformat": 4, "\xff": 1}', Refusal("not_utf8", "byte 0xff at 17", "UTF-8")),
        (b'{"nbformat": 4, "cells": [\x00]}', Refusal("not_json", "Expecting value at character 26", "JSON")),
    ],
)
def test_what_is_no_notebook_is_refused_with_what_it_is(data, refusal):
    assert read_notebook(data, LIMITS) == refusal


def test_duplicate_and_missing_ids_are_no_reason_to_drop(written):
    """Nbformat 4.5 requires unique ids of cells. Nothing here needs them, and the code is as good without."""
    cells = [{"cell_type": "code", "source": f"x = {number}", "id": "same"} for number in range(2)]
    notebook = read_notebook(written(*cells, ("code", "y")), LIMITS)
    assert [cell.source for cell in notebook.cells] == ["x = 0", "x = 1", "y"]


def test_a_notebook_may_be_empty_or_without_code(written):
    assert read_notebook(written(), LIMITS).cells == ()
    assert read_notebook(written(("markdown", "text")), LIMITS).cells == (Cell("markdown", "text"),)


def test_cells_that_cannot_be_read_are_skipped_and_counted_and_the_others_read(written):
    cells = [("code", "kept"), ("dance", "x"), {"source": "x"}, 7, None, ("code", {"a": 1}), ("code", ["x", 1])]
    data = json.loads(written(("code", "kept")))
    data["cells"] = [
        cell if not isinstance(cell, tuple) else {"cell_type": cell[0], "source": cell[1]} for cell in cells
    ]
    notebook = read_notebook(json.dumps(data).encode(), LIMITS)
    assert notebook.cells == (Cell("code", "kept"),)
    assert notebook.skipped_cells == 6


def test_what_is_no_text_becomes_a_replacement_character_and_is_counted(written):
    """JSON spells lone surrogates, which UTF-8 cannot; a NUL no text file holds; U+FDD0 marks our own tokens."""
    source = "s = '\ud800' + '\x00' + '\ufdd0issue_start\ufdd1' + '\U0001f600'"
    notebook = read_notebook(written(("code", source)), LIMITS)
    assert notebook.cells[0].source == "s = '\ufffd' + '\ufffd' + '\ufffdissue_start\ufffd' + '\U0001f600'"
    assert notebook.replaced_chars == 4
    halves = written(("code", ["\ud83d", "\ude00"]))
    assert read_notebook(halves, LIMITS).replaced_chars == 2


def test_bidi_controls_and_other_rare_characters_stay(written):
    source = "# \u202e\u2066\u200f\u200d\ufeff\u2028\x0c\x1b[0m\u0301\U000e0041"
    notebook = read_notebook(written(("code", source)), LIMITS)
    assert notebook.cells[0].source == source
    assert notebook.replaced_chars == 0


def test_lines_end_one_way(written):
    assert read_notebook(written(("code", ["a\r\n", "b\r", "c\n"])), LIMITS).cells[0].source == "a\nb\nc\n"


def test_images_pasted_into_markdown_are_left_out(written):
    markdown = "![plot](data:image/png;base64,iVBORw0KGgo=) and more"
    notebook = read_notebook(written(("markdown", markdown), ("code", f"x = '{markdown}'")), LIMITS)
    assert [cell.source for cell in notebook.cells] == ["![plot]() and more", f"x = '{markdown}'"]


def test_the_shipped_notebooks_are_read_whole(samples):
    for name, data in samples.items():
        notebook = read_notebook(data, LIMITS)
        assert isinstance(notebook, Notebook), name
        assert (notebook.replaced_chars, notebook.skipped_cells) == (0, 0)
        assert any(output.text for cell in notebook.cells for output in cell.outputs)


@given(st.data())
def test_a_notebook_cut_anywhere_is_refused(samples, data):
    whole = samples[data.draw(st.sampled_from(sorted(samples)))]
    end = data.draw(st.integers(0, len(whole.rstrip()) - 1))
    assert isinstance(read_notebook(whole[:end], LIMITS), Refusal)


names = st.sampled_from(
    [
        *("nbformat", "metadata", "worksheets", "cells", "cell_type", "input", "source", "level", "language"),
        *("language_info", "file_extension", "kernelspec", "name", "display_name"),
        *("outputs", "output_type", "stream", "text", "data", "text/plain", "ename", "evalue", "traceback"),
    ]
)
words = st.sampled_from(["code", "markdown", "heading", "raw", "stream", "pyout", "error", "python"])
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(st.characters(categories=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=25,
)


@given(st.integers(2, 4), st.lists(st.dictionaries(names, trees, max_size=5) | trees, max_size=4), trees)
def test_whatever_stands_in_the_members_is_read_or_refused_and_can_be_written(version, cells, metadata):
    data = json.dumps({"nbformat": version, "cells": cells, "metadata": metadata}).encode()
    notebook = read_notebook(data, LIMITS)
    assert isinstance(notebook, Notebook)
    assert len(notebook.cells) + notebook.skipped_cells == len(cells)
    texts = [text for cell in notebook.cells for text in (cell.source, *(output.text for output in cell.outputs))]
    assert all("\0" not in text for text in [*texts, notebook.language or ""])
    "".join([*texts, notebook.language or ""]).encode("utf-8")
