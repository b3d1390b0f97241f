"""What counts as a password, a name, a user name or an identity number where the text around it says so.

Rules find only what is announced: `@author`, `password =`, `/home/NAME/`, a number with a valid check digit. What is
not announced needs the trained tagger. Names in licence notices stay: the notice must be passed on whole.
"""

import re

from components.redaction.secret_rules import SecretRule, Span, line_after, line_before, looks_random

MIN_PASSWORD_CHARS = 4
"""A shorter value is redacted by no rule (BigCode pii/ner/pii_redaction: more than three characters)."""

_PLACEHOLDER = re.compile(
    rb"(?i)pass\w*|pwd|secret|change.?me|default|example|sample|dummy|foo\w*|bar|test\w*|admin|root|guest|user\w*|none|null|"
    rb"true|false|your.*|my.*|x+|\*+|\.+|-+|_+|<.*>|\[.*\]|\(.*\)|\{.*\}|\$.*|%.*|@.*|.*\$\{.*|.*\{\}.*|.*%[sd].*|12345\d*|abc\w*"
)
_WORD_MARKS = (b"-", b"_", b".", b" ", b":", b",")  # between words: such a value is a phrase
_CALL_OR_PATH = re.compile(rb"[\w.]+\(.*|(?:/|\./|~/|[A-Za-z]:\\|https?:).*|[a-z_]+(?:[._-][a-z_]+)+")
_LICENSE_LINE = re.compile(rb"(?i)copyright|\(c\)|\xc2\xa9|licen[cs]e")
_NOT_A_PERSON = re.compile(
    rb"(?i)\b(?:the|and|or|of|for|by|in|inc|ltd|llc|gmbh|corp\w*|compan\w+|foundation|project|team|group|contributors|authors|"
    rb"developers|software|systems|labs?|university|institute|department|committee|community|consortium|association|"
    rb"organi[sz]ation|names?|module|class|function|file|version|date|description|license)\b"
)
_COMMON_USERS = frozenset(
    b"user username users root admin administrator public shared default guest all name you me example test runner "
    b"ubuntu vagrant docker app www linuxbrew node jenkins travis circleci vscode gitpod codespace jovyan nobody pi "
    b"ec2-user".split()
)
_ID_WORD = re.compile(rb"(?i)\bssn\b|social.?security")
_CARD_WORD = re.compile(rb"(?i)card|credit|visa|master|amex|\bpan\b|payment|\bcc\b")


def _password(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    """A literal that is no stand-in, no expression and no word alone."""
    value = text[slice(*span)]
    if len(value) < MIN_PASSWORD_CHARS or _PLACEHOLDER.fullmatch(value) or _CALL_OR_PATH.fullmatch(value):
        return None
    kinds = (any(map(bytes.isalpha, _chars(value))), any(map(bytes.isdigit, _chars(value))), _has_mark(value))
    return span if sum(kinds) >= 2 else None


def _url_password(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    value = text[slice(*span)]
    is_literal = len(value) >= MIN_PASSWORD_CHARS and not _PLACEHOLDER.fullmatch(value)
    return span if is_literal and (looks_random(value) or _password(text, span, min_entropy_bits)) else None


def _chars(value: bytes) -> list[bytes]:
    return [value[index : index + 1] for index in range(len(value))]


def _has_mark(value: bytes) -> bool:
    return any(not char.isalnum() and char not in _WORD_MARKS for char in _chars(value))


def _name(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    value = text[slice(*span)]
    if _LICENSE_LINE.search(line_before(text, span[0])) or _NOT_A_PERSON.search(value):
        return None
    return span


def _home_user(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    value = text[slice(*span)]
    return None if value.lower() in _COMMON_USERS or len(value) < MIN_PASSWORD_CHARS else span


def _social_security(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    """Numbers that were never given out (areas 000, 666 and 900 to 999) are examples."""
    area, group, serial = text[slice(*span)].split(b"-")
    given_out = area not in (b"000", b"666") and area < b"900" and group != b"00" and serial != b"0000"
    line = line_before(text, span[0]) + line_after(text, span[1])
    return span if given_out and _ID_WORD.search(line) else None


def _card(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    """Luhn's check digit (ISO/IEC 7812-1, annex B), and a word about cards on the line."""
    digits = [int(char) for char in text[slice(*span)].replace(b" ", b"").replace(b"-", b"").decode()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    line = line_before(text, span[0]) + line_after(text, span[1])
    return span if sum(doubled) % 10 == 0 and len(set(digits)) > 3 and _CARD_WORD.search(line) else None


def _iban(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    """The check digits of ISO 13616: the number that the letters spell is 1 modulo 97."""
    value = text[slice(*span)].replace(b" ", b"").decode()
    spelled = "".join(str(int(char, 36)) for char in value[4:] + value[:4])
    return span if int(spelled) % 97 == 1 else None


_QUOTE = rb"[\"'`]"
_PASSWORD_WORD = rb"(?i:passw(?:or)?d|passwd|passphrase|pwd)"
_PERSON = (
    rb"([A-Z][a-z\xc3-\xc9\x80-\xbf]+(?:-[A-Z][a-z]+)?(?: [A-Z]\.)?(?: (?:van|von|de|der|den|la|le|da|di|al|el|bin))*"
    + (rb"(?: [A-Z](?:'?[A-Za-z\xc3-\xc9\x80-\xbf-])+){1,2})")
)
_TITLE = (
    rb"(?i:@author|(?:\b|_)authors?|maintainer|maintained by|written by|created by|contributed by|signed-off-by|"
    rb"co-authored-by|reviewed-by|reported-by|acked-by|tested-by)"
)

PERSONAL_RULES: tuple[SecretRule, ...] = (
    SecretRule(
        "password",
        "assigned_password",
        _PASSWORD_WORD
        + rb"[A-Za-z0-9_-]{0,20}[\"'`\]]{0,2} {0,20}(?::=|=>|==?|:) {0,20}[rbuf]?"
        + (_QUOTE + rb"([^\s\"'`\\]{4,100})" + _QUOTE),
        _password,
    ),
    SecretRule(
        "password", "url_password", rb"://[^\s/:@'\"]{1,64}:([^\s/:@'\"<>{}$]{4,100})@[A-Za-z0-9]", _url_password
    ),
    SecretRule("name", "announced_name", _TITLE + rb"_{0,2}[ \t]{0,8}[:=]?[ \t]{0,8}[\"']?" + _PERSON, _name),
    SecretRule(
        "username",
        "home_directory",
        rb"(?:/home/|/Users/|[A-Za-z]:\\{1,2}Users\\{1,2})([A-Za-z][A-Za-z0-9._-]{2,31})\b",
        _home_user,
    ),
    SecretRule("id", "social_security_number", rb"\b([0-9]{3}-[0-9]{2}-[0-9]{4})\b", _social_security),
    SecretRule(
        "id",
        "payment_card",
        rb"\b((?:4[0-9]{3}|5[1-5][0-9]{2}|3[47][0-9]{2}|6011)(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{3,4})\b",
        _card,
    ),
    SecretRule("id", "bank_account", rb"\b([A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?)\b", _iban),
)
"""Rules for what is announced as personal, in the order of precedence among spans that begin together."""
