"""Logins in a conversation, found as whole words: the one way in which a name is told from the text around it.

A login is replaced where it stands as a word of its own: never inside a longer word, an identifier or a hyphenated
name. Mentioned with its @ it is found in any case of letters, as GitHub finds it; without, it must be spelled as its
owner spells it, be long enough, and be no everyday word, for there are users called `the`, `test` and `python`. One
pass over the words of a text looks each up: the cost does not grow with the number of participants.
"""

import re
from collections.abc import Mapping

_WORDS = """
able about above add after again all also always and another any are array back bad bar base because been before being
best better between big body both box branch break bug build but button call can case change char check class clean
clear click client close code com come commit common config console copy core could crash create css data date day
debug default delete demo dev did diff different dir docker docs does done down each edit else empty end env error
even event ever every example fail false feature few field file final find fine first fix float foo for form found
from full function get ghost git github give going good got great had has have head help her here high him his home
how html http https idea image import index info input install int into issue its java javascript job join json just
keep key kind know last late later less let library like line link linux list little load local log logic long look
low mac made main make man many map mark master may maybe menu merge might mode module more most move much must name
need never new next nice node none not note nothing now null number object off old one only open option order org
other our out over own package page part pass path people php please point post print problem project public pull push
put python query quick quite random read ready real release remove repo request reset result return right root ruby
run rust same save say screen script search see select self send server set she should show side simple since site
size some someone soon sort source stack start state still stop string style such super sure system table tag take
team test text than thank thanks that the their them then there these they thing think this those time title token too
tool top true try two type under update upstream url use used user using value var version very view void wait want
was way web well were what when where which while who why will windows with word work world would write wrong xml yaml
yes yet you your zip
"""
EVERYDAY_WORDS: frozenset[str] = frozenset(_WORDS.split())
"""Words of English and of programs that are also somebody's login: bare, they are taken for the word (our choice)."""

# A login is letters and digits in parts joined by hyphens, and in managed enterprises an underscore. Letters of other
# scripts belong to the word, so that no login is found within a word of theirs. Linear: no two parts share a character.
_WORD = re.compile(r"(@?)([^\W_]+(?:[-_]+[^\W_]+)*)")


MAX_SOUGHT = 16
"""With so few participants it is cheaper to see first whether any login occurs in a text at all."""


class NameMask:
    """What stands for each participant of one conversation; made once for all of its texts."""

    def __init__(self, names: Mapping[str, str], min_bare_chars: int) -> None:
        """`names` maps each login as its owner spells it to what stands for it.

        A login shorter than `min_bare_chars` is replaced only after an @.
        """
        self._mentioned = {_word_of(login).lower(): name for login, name in names.items()}
        self._bare = {
            _word_of(login): name
            for login, name in names.items()
            if len(login) >= min_bare_chars and login.lower() not in EVERYDAY_WORDS
        }

    def apply(self, text: str) -> tuple[str, int]:
        """The text with the logins replaced, and how many times that was done; an @ stays."""
        if not self._may_occur(text):
            return text, 0
        count = 0

        def replacement(match: re.Match[str]) -> str:
            nonlocal count
            sign, login = match.groups()
            name = self._mentioned.get(login.lower()) if _is_mention(match) else self._bare.get(login)
            if name is None or not (sign or _stands_alone(match)):
                return match[0]
            count += 1
            return f"{sign}{name}"

        return _WORD.sub(replacement, text), count

    def _may_occur(self, text: str) -> bool:
        """False only if no login is in the text."""
        if len(self._mentioned) > MAX_SOUGHT or not all(login.isascii() for login in self._mentioned):
            return True
        lowered = text.lower()
        return any(login in lowered for login in self._mentioned)


def has_name(text: str, login: str) -> bool:
    """Whether the text has the login as a word of its own, mentioned or not, in any case of letters."""
    wanted = _word_of(login).lower()
    return wanted in text.lower() and any(match[2].lower() == wanted for match in _WORD.finditer(text))


def _word_of(login: str) -> str:
    """What a login looks like as a word: old ones may end in a hyphen, which is not part of it."""
    return login.strip("-_")


def _is_mention(match: re.Match[str]) -> bool:
    """Whether the word has an @ that does not follow a word: else it is a host, or part of an address."""
    start = match.start()
    return bool(match[1]) and not (start > 0 and match.string[start - 1].isalnum())


def _stands_alone(match: re.Match[str]) -> bool:
    """Whether no underscore makes the word an identifier."""
    start, end = match.span()
    return "_" not in (match.string[max(0, start - 1) : start], match.string[end : end + 1])
