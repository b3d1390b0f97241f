"""What a reader sees of a page, of good pages and of hostile ones."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus.visible_text import visible_chars


@pytest.mark.parametrize(
    ("page", "chars"),
    [
        ("", 0),
        ("plain", 5),
        ("<p>a b</p>", 3),
        ("<p>\u00e9\u4e2d\U0001f600</p>", 3),
        ("<title>T</title><body>b<script>var hidden</script><style>p {}</style>c<!-- no --></body>", 3),
        ("<p>&lt;&amp;</p>", 2),
        ("<p title='unseen'>x", 1),
        ("<script>never closed", 0),
    ],
)
def test_text_counts_and_markup_does_not(page, chars):
    assert visible_chars(page.encode()) == chars


def test_ten_thousand_nested_elements_are_read_to_the_end():
    assert visible_chars(b"<div>" * 10_000 + b"deep" + b"</div>" * 10_000) == 4


def test_what_the_parser_gives_up_says_why():
    told = visible_chars(b"<p>" + b"y" * 11_000_000 + b"</p>")

    assert isinstance(told, str)
    assert "limit" in told


@given(st.binary(max_size=80) | st.text(st.sampled_from("<>/!-&;\"'=scriptyle \0"), max_size=80).map(str.encode))
def test_no_bytes_raise(page):
    told = visible_chars(page)

    assert isinstance(told, str) or told >= 0


MEASURED = """
import resource
from components.corpus.visible_text import visible_chars

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

visible_chars(b"<p>warm</p>")
page = b"<p>" * 3_000_000
before = peak_bytes()
visible_chars(page)
print((peak_bytes() - before) / len(page))
"""


def test_three_million_elements_cost_no_tree():
    told = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True).stdout

    assert float(told) < 6
