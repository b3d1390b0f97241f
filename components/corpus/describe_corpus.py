"""The step that writes the dataset card of a data version: what it holds, what each step took out and why.

Everything is counted anew from the tables, not taken from what the steps said of themselves.
"""

from pathlib import Path

from components.corpus.config import DescribeCorpusConfig
from components.corpus.corpus_facts import CorpusFacts, funnel_row, near_duplicates_of, redactions_of, shares_of
from components.corpus.dataset_card import card_markdown, card_page
from components.section import Summary
from model.token_shards import TokenShards

FACTS_FILE = "facts.json"
MARKDOWN_FILE = "README.md"
PAGE_FILE = "index.html"


class DescribeCorpusSummary(Summary):
    """The corpus in four numbers."""

    documents: int
    bytes: int
    repositories: int
    tokens: int


def run(
    config: DescribeCorpusConfig,
    *,
    raw_files: Path,
    raw_issues: Path,
    raw_commits: Path,
    quality_files: Path,
    notebook_files: Path,
    issue_files: Path,
    commit_files: Path,
    permitted_files: Path,
    redacted_files: Path,
    unique_files: Path,
    clean_files: Path,
    corpus_splits: Path,
    token_shards: Path,
    out: Path,
) -> DescribeCorpusSummary:
    """Write `README.md`, `index.html` and the facts that both tell, `facts.json`."""
    collected = (raw_files, raw_issues, raw_commits, quality_files, notebook_files, issue_files, commit_files)
    cleaned = (permitted_files, redacted_files, unique_files, clean_files, corpus_splits)
    shares, tokens = shares_of(corpus_splits), TokenShards(token_shards)
    near_duplicates, least_jaccard = near_duplicates_of(unique_files)
    facts = CorpusFacts(
        title=config.title,
        description=config.description,
        funnel=tuple(funnel_row(artifact) for artifact in (*collected, *cleaned)),
        by_kind=shares["kind"],
        by_language=shares["language"],
        by_license=shares["license"],
        by_source=shares["source"],
        by_split=shares["split"],
        repositories=len(shares["repository"].files),
        tokens_by_split={name: tokens.num_tokens(name) for name in tokens.splits},
        redactions_by_entity=redactions_of(redacted_files),
        near_duplicates=near_duplicates,
        least_jaccard=least_jaccard,
    )
    (out / FACTS_FILE).write_text(facts.model_dump_json(indent=1) + "\n", "utf-8")
    (out / MARKDOWN_FILE).write_text(card_markdown(facts), "utf-8")
    (out / PAGE_FILE).write_text(card_page(facts), "utf-8")
    return DescribeCorpusSummary(
        documents=facts.funnel[-1].kept_files,
        bytes=facts.funnel[-1].kept_bytes,
        repositories=facts.repositories,
        tokens=sum(facts.tokens_by_split.values()),
    )
