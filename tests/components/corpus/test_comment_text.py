"""The scanner of comments, held to Python's own tokenizer and parser and to Pygments, on real files."""

import ast
import io
import sysconfig
import tokenize
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments.lexers import CLexer, JavaLexer, JavascriptLexer
from pygments.token import Comment

from components.corpus.comment_text import COMMENT_SYNTAX, comment_chars


def counted(texts, language):
    batch = pa.RecordBatch.from_pydict({"content": pa.array(texts, pa.large_string())})
    return comment_chars(batch, np.arange(len(texts)), language).tolist()


def comments_and_docstrings(source):
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    total = sum(len(token.string) for token in tokens if token.type == tokenize.COMMENT)
    starts = np.cumsum([0, *(len(line) for line in source.encode().splitlines(keepends=True))])
    for node in ast.walk(ast.parse(source)):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0].value
            start, end = starts[text.lineno - 1] + text.col_offset, starts[text.end_lineno - 1] + text.end_col_offset
            total += len(source.encode()[start:end].decode())
    return total


def test_in_python_the_share_is_that_of_tokenize_and_ast(library_files):
    sources = [file["content"] for file in library_files[::6]]
    told = counted(sources, "python")
    expected = [comments_and_docstrings(source) for source in sources]
    differences = [abs(a - b) / len(s) for a, b, s in zip(told, expected, sources, strict=True)]

    assert len(sources) > 30
    assert np.mean(np.array(differences) == 0) > 0.9
    assert max(differences) < 0.01


@pytest.mark.parametrize(
    ("source", "comment"),
    [
        ("x = 1  # one\n", "# one"),
        ('"""About."""\nx = 1\n', '"""About."""'),
        ("def f():\n    r'''Doc # no comment.'''\n    return '# no comment'\n", "r'''Doc # no comment.'''"[1:]),
        ("class A:\n    # why\n    'short'\n", "# why" + "'short'"),
        ("x = [\n    'in brackets',\n]\n", ""),
        ("x = {'a':\n    'value'}\n", ""),
        ("s = 'it\\'s # no comment'\n", ""),
        ("'''never closed # at all\n", "'''never closed # at all\n"),
        ("s = 'not closed\n# comment\n", "# comment"),
        ("# \u00e9\u4e2d\n", "# \u00e9\u4e2d"),
        ("", ""),
    ],
)
def test_python_by_example(source, comment):
    assert counted([source], "python") == [len(comment)]


JAVA = """/** Doc. */
package a;
// line "quoted"
class A { String s = "// no /* comment"; char c = '"'; /* block // x */ int d = 4 / 2; }
"""
SCRIPT = """const a = 1 / 2; // half
const re = /[/*]"/.test(x) ? `// no ${a} /* comment` : '/*';
/* real
   comment */
let t = a /* inline */ / 2;
"""


@pytest.mark.parametrize(
    ("language", "lexer", "source"), [("java", JavaLexer, JAVA), ("javascript", JavascriptLexer, SCRIPT)]
)
def test_java_and_javascript_as_pygments_has_them(language, lexer, source):
    expected = sum(len(text) for kind, text in lexer(stripnl=False).get_tokens(source) if kind in Comment)

    assert expected > 20
    assert counted([source], language) == [expected]


def test_headers_as_pygments_has_them():
    headers = sorted(Path(sysconfig.get_path("include")).glob("[a-f]*.h"))[:12]
    if not headers:
        pytest.skip("this Python came without its headers")
    for header in headers:
        source = header.read_text("utf-8")
        tokens = CLexer(stripnl=False, ensurenl=False).get_tokens(source)
        # Pygments gives a preprocessor line whole, with the comment behind it.
        plain = [(kind, text) for kind, text in tokens if kind in Comment and kind not in Comment.Preproc]
        expected = sum(len(text) for kind, text in plain if kind not in Comment.PreprocFile)
        assert abs(counted([source], "c")[0] - expected) <= 0.03 * len(source), header.name


@given(st.text(st.sampled_from("#\"'/*`\\\n\r(:x u\u00e9"), max_size=60), st.sampled_from(sorted(COMMENT_SYNTAX)))
def test_no_text_has_more_comment_than_characters(text, language):
    assert 0 <= counted([text], language)[0] <= len(text)
