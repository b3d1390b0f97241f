"""Documents of text, code and output: what is grouped, what is left out, and that no line of code is lost."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.markup import Mark, mark, split_marks, visible
from components.notebooks.guarded_json import JsonLimits
from components.notebooks.read_notebook import Cell, Notebook, Output, read_notebook
from components.notebooks.triplets import Triplet, document_of, shown_output, triplets_of

LIMITS = JsonLimits(depth=100, values=1_000_000)
ALL = ("stdout", "stderr", "result", "error")


def triplets(*cells, markdown="kept", output_kinds=ALL, max_output_chars=1000):
    return triplets_of(Notebook(cells, "python"), markdown, output_kinds, max_output_chars)


def text(source):
    return Cell("markdown", source)


def code(source, *outputs):
    return Cell("code", source, outputs)


def test_cells_of_one_kind_are_one_and_the_edges_without_a_partner_go():
    found = triplets(
        code("before any text"),
        text("one"),
        text("two"),
        code("a", Output("stdout", "not the last")),
        code("b", Output("stdout", "the last\n")),
        text("three"),
        code("c"),
        text("after all code"),
    )
    assert found == (Triplet("one\n\ntwo", "a\nb", "the last"), Triplet("three", "c", ""))


def test_blank_and_raw_cells_part_nothing():
    found = triplets(text("one"), code("  \n"), text("two"), code("a"), Cell("raw", "r"), text(""), code("b"))
    assert found == (Triplet("one\n\ntwo", "a\nb", ""),)


@pytest.mark.parametrize(
    "cells", [(), (text("x"),), (code("x"),), (code("x"), text("y")), (text("x"), Cell("raw", "y"))]
)
def test_without_text_before_code_there_is_no_triplet(cells):
    assert triplets(*cells) == ()


def test_markdown_is_kept_as_starcoder2_does_or_stripped_as_starcoder_did():
    cells = (text("## Title\n\nA <b>bold</b> word<br/>\nand a < b > c<!-- note -->"), text("more\n"), code("x"))
    (kept,) = triplets(*cells)
    (stripped,) = triplets(*cells, markdown="stripped")
    assert kept.text == "## Title\n\nA <b>bold</b> word<br/>\nand a < b > c<!-- note -->\n\nmore\n"
    assert stripped.text == "Title A bold word and a < b > c more"


def test_text_of_which_nothing_is_left_when_stripped_is_a_blank_cell():
    found = triplets(text("one"), code("a"), text('<img src="x.png"/>\n###'), code("b"), markdown="stripped")
    assert found == (Triplet("one", "a\nb", ""),)


def test_only_the_text_of_the_first_output_is_not_enough():
    """The reference keeps `outputs[0].text`: of these four it would know the first and nothing of the result."""
    outputs = (Output("stdout", "1\n"), Output("stderr", "careful\n"), Output("result", "[2]"), Output("error", "E: 3"))
    (found,) = triplets(text("t"), code("c", *outputs))
    assert found.output == "1\ncareful\n[2]\nE: 3"
    (without_noise,) = triplets(text("t"), code("c", *outputs), output_kinds=("stdout", "result"))
    assert without_noise.output == "1\n[2]"


@pytest.mark.parametrize(
    ("pieces", "seen"),
    [
        (["one", "two\n", "three"], "onetwo\nthree"),
        (["10%\r", "50%\r", "100%\n", "done"], "100%\ndone"),
        (["\r1 of 3", "\r2 of 3", "\r3 of 3"], "3 of 3"),
        (["a\r\nb\r\n"], "a\nb"),
        (["a\r\r\nb"], "a\nb"),
        (["x\r\ry"], "y"),
        (["\x1b[31mred\x1b[0m \x1b[1;32mgreen\x1b[39m"], "red green"),
        (["\x1b]8;;http://example.org\x07link\x1b]8;;\x1b\\"], "link"),
        (["\x1b[2K\x1b[1Goverwritten"], "overwritten"),
        ([" \n\t\n"], ""),
        ([], ""),
        (["  indented\n  more\n\n"], "  indented\n  more"),
    ],
)
def test_outputs_are_told_as_they_are_seen(pieces, seen):
    assert shown_output([Output("stdout", piece) for piece in pieces], ALL) == seen


def test_outputs_of_other_kinds_begin_on_their_own_line():
    outputs = [
        Output("stdout", "a"),
        Output("stdout", "b"),
        Output("stderr", "c"),
        Output("result", "d"),
        Output("result", "e"),
    ]
    assert shown_output(outputs, ALL) == "ab\nc\nd\ne"


@pytest.mark.parametrize(("length", "told"), [(999, "x" * 999), (1000, "x" * 1000), (1001, "x" * 1000 + "[...]")])
def test_a_long_output_is_cut_at_a_thousand_characters(length, told):
    (found,) = triplets(text("t"), code("c", Output("stdout", "x" * length)))
    assert found.output == told


def test_the_document_has_its_tokens_as_marks():
    document = document_of([Triplet("text", "code", "output"), Triplet("t", "c", "")])
    assert split_marks(document) == [
        *(Mark("jupyter_start"), Mark("jupyter_text"), "text", Mark("jupyter_code"), "code"),
        *(Mark("jupyter_output"), "output", Mark("jupyter_text"), "t", Mark("jupyter_code"), "c"),
        *(Mark("jupyter_output"), Mark("empty_output")),
    ]
    assert visible(document).endswith("<jupyter_code>c<jupyter_output><empty_output>")


def test_no_text_can_forge_a_token():
    forged = f"<jupyter_code>{mark('jupyter_output')}"
    document = document_of([Triplet(forged, forged, forged)])
    assert [piece.name for piece in split_marks(document) if isinstance(piece, Mark)] == [
        *("jupyter_start", "jupyter_text", "jupyter_code", "jupyter_output"),
    ]


lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\ufdd0\ufdd1"), max_size=12)
sources = st.lists(lines, max_size=4).map("\n".join)
outputs = st.lists(st.builds(Output, st.sampled_from(ALL), st.text(max_size=30)), max_size=3).map(tuple)
cells = st.builds(Cell, st.sampled_from(["code", "markdown", "raw"]), sources, outputs)


@given(st.lists(cells, max_size=8), st.sampled_from(["kept", "stripped"]))
def test_no_code_is_lost_but_what_stands_before_the_first_text(made, markdown):
    found = triplets_of(Notebook(tuple(made), "python"), markdown, ALL, 1000)
    everything = [cell.source for cell in made if cell.kind == "code" and cell.source.strip()]
    told = [triplet.code for triplet in found]
    assert "\n".join(everything).endswith("\n".join(told))
    assert all(triplet.text.strip() and triplet.code.strip() for triplet in found)
    assert all(len(triplet.output) <= 1005 for triplet in found)


@given(st.lists(cells, max_size=8))
def test_the_pieces_of_a_document_are_the_triplets(made):
    found = triplets_of(Notebook(tuple(made), "python"), "kept", ALL, 1000)
    pieces = split_marks(document_of(found))
    told = {"jupyter_text": [], "jupyter_code": [], "jupyter_output": []}
    for before, piece in pairwise(pieces):
        if isinstance(before, Mark) and before.name in told:
            told[before.name].append("" if piece == Mark("empty_output") else piece)
    assert told["jupyter_text"] == [triplet.text for triplet in found]
    assert told["jupyter_code"] == [triplet.code for triplet in found]
    assert told["jupyter_output"] == [
        triplet.output.replace("\ufdd0", "\ufffd").replace("\ufdd1", "\ufffd") for triplet in found
    ]


def test_a_shipped_notebook_as_a_document(samples):
    notebook = read_notebook(samples["word_frequencies.ipynb"], LIMITS)
    found = triplets_of(notebook, "kept", ALL, 1000)
    assert len(found) == 4
    assert found[0].code.startswith('TEXT = """\nThe miller')
    assert found[0].output.startswith("80 words, 46 different\n[('the', 14)")
    assert "\x1b" not in document_of(found)
    assert found[2].output.splitlines()[-1] == "KeyError: 'dog'"
