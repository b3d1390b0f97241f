"""The part of a file that a commit changes: from the first changed line to the last, with some lines around it.

A document of a commit shows the whole file or this window (StarCoder's preprocessing, `filtering_git_commits`). That
code took the least of zero and each change's start, so that every window began with the file. Here it begins where
the change does. Between the lines that both versions begin with and those that both end with lies the shortest span
that holds every change, whatever a diff makes of it: found in linear time, however hostile the files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from components.commits.keyed_draw import draw, draw_below


@dataclass(frozen=True)
class ChangedSpan:
    """Line numbers from 0, the end not included; an insertion has an empty span before, a deletion after."""

    start: int
    """The same before and after."""
    before_end: int
    after_end: int

    @property
    def num_lines(self) -> int:
        """Lines of the longer side."""
        return max(self.before_end, self.after_end) - self.start


@dataclass(frozen=True)
class Window:
    """What is shown of a file, before and after."""

    before: str
    after: str
    is_whole_file: bool


def lines_of(text: str) -> list[str]:
    r"""The lines with their ends; only "\n" ends a line, so that the lines joined are the text."""
    lines = text.split("\n")
    last = lines.pop()
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def changed_span(before: Sequence[str], after: Sequence[str]) -> ChangedSpan:
    """The shortest span of lines outside which both are equal."""
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    same_end = 0
    while same_end < shorter - start and before[-1 - same_end] == after[-1 - same_end]:
        same_end += 1
    return ChangedSpan(start, len(before) - same_end, len(after) - same_end)


def choose_window(
    before: str, after: str, *, whole_file_fraction: float, max_context_lines: int, seed: int, file_id: str
) -> Window:
    """The whole file with the given probability, else the change with two independent numbers of lines around it.

    Each number is between 0 and `max_context_lines`, the same before and after the commit.
    """
    if draw(seed, file_id, "whole_file") < whole_file_fraction:
        return Window(before, after, is_whole_file=True)
    before_lines, after_lines = lines_of(before), lines_of(after)
    span = changed_span(before_lines, after_lines)
    start = max(0, span.start - draw_below(max_context_lines + 1, seed, file_id, "lines_above"))
    below = draw_below(max_context_lines + 1, seed, file_id, "lines_below")
    return Window(
        before="".join(before_lines[start : span.before_end + below]),
        after="".join(after_lines[start : span.after_end + below]),
        is_whole_file=False,
    )
