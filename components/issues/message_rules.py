"""What StarCoder does to a conversation before anybody learns from it: mail boilerplate, long messages, bots, size.

The rules of StarCoder's issues (arXiv 2305.06161, section 3.3, and its preprocessing code) in their order, as
StarCoder2 (arXiv 2402.19173, section 2.2) tells them again. Where code and paper differ the numbers are parameters.
Patterns are RE2's, so a hostile message cannot make them slow.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from components.issues.participants import has_name
from components.issues.read_events import MESSAGE_KINDS
from components.sources.source_files import Refusal

TRUNCATED = "[Truncated]"
"""The line that stands for the middle of a long message."""


@dataclass(frozen=True)
class Turn:
    """One event of a conversation: who, what kind (read_events.Kind), and the text if it is a message."""

    author: str
    kind: str
    text: str

    @property
    def is_message(self) -> bool:
        """Whether somebody says something."""
        return self.kind in MESSAGE_KINDS


@dataclass(frozen=True)
class SizeLimits:
    """How long a conversation must be, and how long one of a single user may be."""

    min_text_chars: int
    min_users: int
    max_monologue_chars: int
    max_monologue_events: int


_QUOTED_LINES = r"(?:[ \t]*(?:>[^\n]*)?(?:\n|\z))*"
_REPLY_PATTERNS = (
    # Outlook repeats the notification below its own header; to the end of the paragraph with GitHub's footer.
    r"(?ms)^[>* \t]*From:.*?Reply to this email directly.{0,300}?view it on GitHub[^\n]*(?:\n[^\n]+)*\n?",
    # "On DATE, NAME <notifications@github.com> wrote:", wrapped or not, and what it quotes.
    r"(?m)^[> \t]*On (?:[^\n]+\n){0,2}?[^\n]*notifications@github\.com[^\n]*(?:\n[^\n]*)?wrote:[ \t]*(?:\n|\z)"
    + _QUOTED_LINES,
    # The same of any other mailbox: a line with a date that ends in "wrote:", if quoted lines follow.
    r"(?m)^[^\n]*(?:\d{1,2}[:/.]\d{1,2}|\b(?:19|20)\d\d\b)[^\n]*\bwrote:[ \t]*\n(?:[ \t]*\n)*[ \t]*>[^\n]*(?:\n|\z)"
    + _QUOTED_LINES,
    # GitHub's footer under a reply that quotes nothing.
    r"(?m)^(?:[\x{2014}\x{2013}_-]{1,3}[ \t]*\n)?(?:You are receiving this because[^\n]*\n)?"
    r"Reply to this email directly(?s:.{0,300}?)view it on GitHub[^\n]*(?:\n[^\n]+)*\n?",
    r"(?m)^[ \t]*Signed-off-by:[^\n]*(?:\n|\z)",
    # Outlook's rule between messages.
    r"_{20,}",
)

BOT_NAMES: frozenset[str] = frozenset(
    (
        *("apache-hbase", "autorestci", "claassistant", "claassistantio", "cmsbuild", "codecov-commenter"),
        *("codecov-io", "coveralls", "danger-public", "dnfclas", "karma-pr-reporter", "msftclas", "probot-stale"),
        *("pydocteur", "sparkqa"),
    )
)
BOT_PARTS: tuple[str, ...] = ("[bot]", "botmanager", "bors-", "jenkins", "k8s-", "-test-", "travis")
BOT_SUFFIXES: tuple[str, ...] = (
    *("bot", "-ci", "-build", "-linter", "-test", "-testing", "-automaton", "-automation", "-benchmark", "-deployer"),
    *("-cloud", "-teamcity", "-service-account"),
)
"""StarCoder's list (preprocessing/utils/utils_issues.py), in lower case throughout, as the logins it is held against.

The price of "bot": people whose names end so (abbot, talbot) are taken for bots.
"""


def is_bot(login: str) -> bool:
    """Whether a login looks like an automaton's, whatever the case of its letters."""
    lowered = login.lower()
    return lowered in BOT_NAMES or lowered.endswith(BOT_SUFFIXES) or any(part in lowered for part in BOT_PARTS)


def without_mail(text: str) -> str:
    """The message without what a mail program added to it: quoted notification, headers, footer, sign-offs.

    Quoted lines that no such header introduces stay: on GitHub they are how people answer point by point.
    """
    for pattern in _reply_patterns():
        text = pattern.sub("", text)
    return text.strip()


def without_middle(text: str, max_lines: int, last_lines: int) -> str:
    """The message cut to `max_lines` of its own, the last `last_lines` among them, with TRUNCATED between."""
    lines = text.split("\n")
    if len(lines) <= max_lines:
        return text
    return "\n".join((*lines[: max_lines - last_lines], TRUNCATED, *lines[len(lines) - last_lines :]))


def without_bots(turns: Sequence[Turn]) -> tuple[list[Turn], Counter[str]]:
    """The turns without bots' messages and without the calls for them; what went, counted as `bot` and `bot_call`.

    A call is the message right before a bot's, if it names the bot or begins with a slash command. That a bot closes or
    reopens a thread stays: it is a fact about the thread.
    """
    messages = [index for index, turn in enumerate(turns) if turn.is_message]
    reasons: dict[int, str] = {}
    for place, index in enumerate(messages):
        if not is_bot(turns[index].author):
            continue
        reasons[index] = "bot"
        before = messages[place - 1] if place > 0 else None
        if before is not None and before not in reasons and _calls(turns[before].text, turns[index].author):
            reasons[before] = "bot_call"
    return [turn for index, turn in enumerate(turns) if index not in reasons], Counter(reasons.values())


def size_refusal(turns: Sequence[Turn], limits: SizeLimits) -> Refusal | None:
    """Why a conversation is too short, or too long for one of too few users; None if it is neither."""
    messages = [turn for turn in turns if turn.is_message]
    chars = sum(len(turn.text) for turn in messages)
    users = len({turn.author.lower() for turn in messages})
    if chars < limits.min_text_chars:
        return Refusal("min_text_chars", str(chars), str(limits.min_text_chars))
    if users >= limits.min_users:
        return None
    told = f"{users} of {limits.min_users} users"
    if chars > limits.max_monologue_chars:
        return Refusal("max_monologue_chars", str(chars), str(limits.max_monologue_chars), told)
    if len(turns) > limits.max_monologue_events:
        return Refusal("max_monologue_events", str(len(turns)), str(limits.max_monologue_events), told)
    return None


def _calls(text: str, bot: str) -> bool:
    return text.startswith("/") or has_name(text, bot.lower().removesuffix("[bot]"))


@cache
def _reply_patterns() -> tuple[Any, ...]:
    return tuple(re2.compile(pattern) for pattern in _REPLY_PATTERNS)
