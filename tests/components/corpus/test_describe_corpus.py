"""The dataset card: its figures are the tables', and hostile names stay text."""

import json
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from components.corpus.config import DescribeCorpusConfig
from components.corpus.describe_corpus import run
from components.tables import FilesWriter, dropped_rows, read_files
from model.token_shards import ShardWriter

INPUTS = (
    *("raw_files", "raw_issues", "raw_commits", "quality_files", "notebook_files", "issue_files", "commit_files"),
    *("permitted_files", "redacted_files", "unique_files", "clean_files", "corpus_splits"),
)
HOSTILE = "<script>alert(1)</script>|x"


@pytest.fixture
def card(table_of, tmp_path):
    """The card of a corpus in which one of three files is a near-duplicate."""
    rows = [
        {"content": "a" * 10, "path": "a.py", "split": "train"},
        {"content": "b" * 20, "path": "b.c", "language": "c", "split": "test", "repository": HOSTILE, "license": None},
        {"content": "c" * 30, "path": "c.py", "kind": "issue", "language": HOSTILE, "split": "train"},
    ]
    table = table_of(rows)
    [batch] = read_files(table)
    near = tmp_path / "unique_files"
    near.mkdir()
    with FilesWriter(near) as writer:
        writer.keep(batch.take(pa.array([1, 2])))
        reasons = {"rules": ["near_duplicate"], "values": ["0.8125"], "thresholds": ["0.7"]}
        writer.drop(dropped_rows(batch, [0], **reasons))
    (tmp_path / "token_shards").mkdir()
    shards = ShardWriter(tmp_path / "token_shards", 4096, 300)
    shards.add("train", "python", [5, 6, 7], 10)
    shards.close()
    places = {name: table for name in INPUTS} | {"unique_files": near, "token_shards": tmp_path / "token_shards"}
    out = tmp_path / "card"
    out.mkdir()
    config = DescribeCorpusConfig(recipe=1, title="Tiny & small", description="Three files.")
    return run(config, **places, out=out), out


def test_the_figures_are_those_of_the_tables(card):
    summary, out = card
    facts = json.loads((out / "facts.json").read_text())
    assert (summary.documents, summary.bytes, summary.repositories, summary.tokens) == (3, 60, 2, 4)
    assert [row["artifact"] for row in facts["funnel"]][-3:] == ["unique_files", "table-0", "table-0"]
    assert facts["funnel"][-3]["dropped_by_rule"] == {"near_duplicate": 1}
    assert facts["by_kind"] == {"files": {"file": 2, "issue": 1}, "bytes": {"file": 30, "issue": 30}}
    assert facts["by_license"]["files"] == {"Apache-2.0": 2, "unknown": 1}
    assert (facts["near_duplicates"], facts["least_jaccard"]) == (1, 0.8125)
    assert list(facts["by_language"]["files"]) == [HOSTILE, "c", "python"]


class Tags(HTMLParser):
    """Which tags a page has."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)


def test_a_hostile_name_stays_text(card):
    _, out = card
    page = (out / "index.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in page
    assert "<title>Tiny &amp; small</title>" in page
    assert "http" not in page.replace("http-equiv", "")
    row = next(line for line in (out / "README.md").read_text().splitlines() if line.startswith("| &lt;script>"))
    assert row.startswith("| &lt;script>alert(1)&lt;/script>\\|x | 1 | 30 B |")


def test_the_markdown_has_the_front_matter_of_the_hub(card):
    _, out = card
    text = (out / "README.md").read_text()
    assert text.startswith('---\npretty_name: "Tiny & small"\n')
    assert "| unique_files | 2 | 50 B | 1 | near_duplicate 1 |" in text
    assert "the least Jaccard similarity between a dropped document and the kept one is 0.8125" in text
