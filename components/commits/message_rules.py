"""Which commits are worth reading: rules over message, size of the change and language, each with a share it spares.

The rules of StarCoder (arXiv 2305.06161; its preprocessing notebook `filtering_git_commits`), asked in that order. The
first that drops a commit is the reason. What a rule spares is drawn by seed, row and rule, so that
neither order nor the other rules change it. Where the notebook measures the change on the old file alone, an added
function of a hundred lines counts as none: here the longer side counts.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from components.commits.change_window import changed_span, lines_of
from components.commits.config import RenderCommitsConfig
from components.commits.keyed_draw import draw

_VERSION = re.compile(r"v?\d+\.\d+\.\d+\S*")


@dataclass(frozen=True)
class CommitFacts:
    """What the rules look at."""

    subject: str
    before: str
    after: str
    language: str | None
    extension: str

    @cached_property
    def words(self) -> list[str]:
        """Of the subject, in lower case."""
        return self.subject.lower().split()

    @cached_property
    def changed_lines(self) -> int:
        """Lines from the first changed one to the last, of the longer side."""
        return changed_span(lines_of(self.before), lines_of(self.after)).num_lines


@dataclass(frozen=True)
class Rule:
    """One rule: `sees` tells what it observes in a commit that it is about, None in any other."""

    name: str
    sees: Callable[[CommitFacts], str | None]
    allows: str
    keep: float = 0.0
    """Probability with which a commit that the rule is about is kept all the same."""

    @property
    def threshold(self) -> str:
        """What is allowed, for the table of dropped files."""
        return self.allows if self.keep == 0.0 else f"{self.allows}; else kept with probability {self.keep:g}"


@dataclass(frozen=True)
class Drop:
    """Why a commit is dropped."""

    rule: str
    value: str
    threshold: str


def first_drop(rules: Sequence[Rule], facts: CommitFacts, seed: int, file_id: str) -> Drop | None:
    """The first rule that drops the commit; None if none does."""
    for rule in rules:
        value = rule.sees(facts)
        if value is not None and draw(seed, file_id, rule.name) >= rule.keep:
            return Drop(rule.name, value, rule.threshold)
    return None


def rules_of(config: RenderCommitsConfig) -> tuple[Rule, ...]:
    """The rules in the order in which they are asked."""
    return (*_change_rules(config), *_subject_rules(config), *_language_rules(config))


def _change_rules(config: RenderCommitsConfig) -> tuple[Rule, ...]:
    small, large, chars = config.small_change_lines, config.large_change_lines, config.max_file_chars
    return (
        Rule(
            "max_file_chars",
            lambda commit: _told(max(len(commit.before), len(commit.after)), lambda size: size >= chars),
            f"less than {chars}",
        ),
        Rule("empty_after", lambda commit: None if commit.after else "0", "1"),
        Rule(
            "small_change",
            lambda commit: _told(commit.changed_lines, lambda lines: lines <= small),
            f"more than {small} lines",
            config.small_change_keep,
        ),
        Rule(
            "large_change",
            lambda commit: _told(commit.changed_lines, lambda lines: lines >= large),
            f"less than {large} lines",
            config.large_change_keep,
        ),
    )


def _subject_rules(config: RenderCommitsConfig) -> tuple[Rule, ...]:
    phrases = [phrase.lower() for phrase in config.subject_phrases]
    wholes = frozenset(whole.lower() for whole in config.whole_subjects)
    few, ratio = config.min_subject_words, config.max_chars_per_word
    return (
        Rule("empty_subject", lambda commit: None if commit.words else "0 words", "1 word"),
        Rule(
            "subject_phrase",
            lambda commit: next((phrase for phrase in phrases if phrase in commit.subject.lower()), None),
            "none of render_commits.subject_phrases",
        ),
        Rule(
            "whole_subject",
            lambda commit: whole if (whole := commit.subject.strip().lower()) in wholes else None,
            "none of render_commits.whole_subjects",
        ),
        Rule(
            "short_subject",
            lambda commit: _told(len(commit.words), lambda words: words < few),
            f"{few} words",
            config.short_subject_keep,
        ),
        Rule(
            "version_number",
            lambda commit: "a version" if _VERSION.fullmatch(" ".join(commit.words)) else None,
            "more than a version number",
        ),
        Rule(
            "chars_per_word",
            lambda commit: f"{share:.1f}" if (share := len(commit.subject) / len(commit.words)) > ratio else None,
            f"{ratio:g}",
        ),
        Rule(
            "indented_word",
            lambda commit: "1 word" if len(commit.words) == 1 and commit.subject.startswith(" ") else None,
            "no space before a single word",
        ),
    )


def _language_rules(config: RenderCommitsConfig) -> tuple[Rule, ...]:
    languages = frozenset(config.languages)
    return (
        Rule(
            "language",
            lambda commit: None if commit.language in languages else commit.language or "unknown",
            "one of render_commits.languages",
        ),
        *(
            Rule("language_share", _equals("language", name), "fewer commits", keep)
            for name, keep in sorted(config.language_keep.items())
        ),
        *(
            Rule("extension_share", _equals("extension", ending), "fewer commits", keep)
            for ending, keep in sorted(config.extension_keep.items())
        ),
    )


def _told(number: int, is_seen: Callable[[int], bool]) -> str | None:
    return str(number) if is_seen(number) else None


def _equals(fact: str, wanted: str) -> Callable[[CommitFacts], str | None]:
    return lambda commit: wanted if getattr(commit, fact) == wanted else None
