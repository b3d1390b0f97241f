"""What counts as an e-mail address, an IP address or a key: a table of patterns, each with a check of what it caught.

Patterns are RE2's, on bytes, so a hostile file cannot make them slow. They catch too much on purpose; the check
sees the span with its surroundings and decides. Kept, because they identify nobody: mailboxes of the documentation
domains (RFC 2606, RFC 6761), addresses that are not globally routable, networks, public resolvers, and the EXAMPLE
keys of the AWS manual. Passwords, names and numbers of persons stand in `personal_rules.py`.
"""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Entity = Literal["email", "ip_address", "key", "password", "name", "username", "id"]
Span = tuple[int, int]

CONTEXT_BYTES = 100
"""How far on its line a span's surroundings are read, either side (BigCode pii/utils: 100 characters)."""

NEAR_BYTES = 24
"""A word like "version" so close before a dotted quad decides alone; farther off, words about addresses outweigh it."""


@dataclass(frozen=True)
class SecretRule:
    """One pattern. Its first group, if it has one, is the span; `check` narrows the span, or None: it is no secret."""

    entity: Entity
    name: str
    pattern: bytes
    check: Callable[[bytes, Span, float], Span | None]
    begins: bytes | None = None
    """Of a rule whose match may span lines: what every match holds; it is asked of texts that hold it. The matches of
    all other rules stay on one line."""


# The domains of e-mail: every two-letter (country) domain, and of the others those in common use.
_TOP_LEVEL_DOMAINS = frozenset(
    b"academy aero agency app arpa asia berlin biz blog cat center cloud club com company consulting coop design dev "
    b"digital edu email foundation gov group info int jobs life live london media mil mobi museum name net network "
    b"nyc online onion org paris post pro science shop site software solutions space studio systems team tech tel "
    b"tokyo top travel website wiki works world xyz zone".split()
)
_RESERVED_LABELS = frozenset((b"example", b"test", b"invalid", b"localhost"))  # RFC 2606, RFC 6761
_REPOSITORY_USERS = frozenset((b"git", b"hg", b"svn"))  # git@host is how a repository is reached, not a mailbox
_PROTOCOL_DOMAINS = frozenset(
    (b"openssh.com", b"libssh.org", b"ssh.com")
)  # name@domain is an SSH algorithm (RFC 4251, 6)

# BigCode pii/ner/pii_redaction/utils.py (14 addresses), and the same operators' IPv6 addresses.
PUBLIC_RESOLVERS = frozenset(
    ipaddress.ip_address(address)
    for address in (
        *("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "76.76.19.19", "76.223.122.150", "9.9.9.9"),
        *("149.112.112.112", "208.67.222.222", "208.67.220.220", "8.26.56.26", "8.20.247.20"),
        *("94.140.14.14", "94.140.15.15", "2001:4860:4860::8888", "2001:4860:4860::8844"),
        *("2606:4700:4700::1111", "2606:4700:4700::1001", "2620:fe::fe", "2620:fe::9"),
    )
)

_IN_URL = re.compile(rb"://[^\s/]*$")
_VERSION_WORD = re.compile(
    rb"version|\bver\b|\bv\b|release|\brev|\brfc|section|chapter|clause|oid\b|object.?identifier|asn\.?1|\bbuild\b|changelog",
    re.I,
)
_ADDRESS_WORD = re.compile(
    rb"(?i:addr|dns|server|host|gateway|subnet|inet|socket|proxy|cidr|ipv4)|(?<![A-Za-z])(?i:ip|peer|ping)|Ip"
)
_REQUIREMENT = re.compile(rb"(?:==|>=|<=|~=|!=) ?$|[~^]$")
_HASH_WORD = re.compile(rb"sha\d|\bsha\b|md5|hash|digest|checksum|integrity|fingerprint|commit|revision|crc", re.I)
# What a name says that holds no secret: where a listing goes on, half of a pair that is public, an identifier.
_HARMLESS_NAME = re.compile(
    rb"(?:(?i:next|page|paginat|continuation|cursor|public)[\w-]{0,30}|(?:_id|_ID|I[Dd])s?)[\"'`\]]{0,2}[^\w\n]{0,25}$"
)
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_SEQUENCES = (
    b"0123456789abcdef" * 13,
    b"0123456789abcdefghijklmnopqrstuvwxyz" * 6,
    b"abcdefghijklmnopqrstuvwxyz0123456789" * 6,
)
_HEX = re.compile(rb"[0-9a-fA-F]+")
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/=]{20,}")
_PUNCTUATION = bytes(byte for byte in range(256) if not chr(byte).isalnum() or byte > 127)
_LOWER, _UPPER, _DIGIT, _OTHER = range(4)
_CHARACTER_CLASS = bytes(
    _LOWER if chr(byte).islower() else _UPPER if chr(byte).isupper() else _DIGIT if chr(byte).isdigit() else _OTHER
    for byte in range(128)
).ljust(256, bytes((_OTHER,)))

MIN_HEX_KEY_CHARS = 24
"""A shorter hexadecimal string is rather an identifier than a key."""

MIN_CLASS_CHANGES = 0.28
"""Changes between lower case, upper case and digits per character, a capital before its word not counted: 0.45 in
drawn base64, 0.2 in identifiers such as PKCS7PrivateKeyTypes. Of drawn strings of 32 characters this accepts 97
percent of base64 and 89 percent of base36."""


def entropy_bits(value: bytes) -> float:
    """Shannon entropy per byte of the byte frequencies in `value`; 0 for an empty one."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def line_before(text: bytes, start: int) -> bytes:
    """What stands before `start` on its line, at most CONTEXT_BYTES of it."""
    left = text[max(0, start - CONTEXT_BYTES) : start]
    return left[left.rfind(b"\n") + 1 :]


def line_after(text: bytes, end: int) -> bytes:
    """What stands from `end` on its line, at most CONTEXT_BYTES of it."""
    return text[end : end + CONTEXT_BYTES].partition(b"\n")[0]


def _email(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    start, end = span
    before, after = line_before(text, start), text[end : end + 1]
    if before.endswith(b"\\") and text[start : start + 1] in b"nrt":
        start += 1  # the letter belongs to an escape sequence: "\njane@..."
    local, _, domain = text[start:end].rpartition(b"@")
    labels = domain.lower().split(b".")
    is_known = (len(labels[-1]) == 2 and labels[-1].isalpha()) or labels[-1] in _TOP_LEVEL_DOMAINS
    if not local or not is_known or _RESERVED_LABELS.intersection(labels) or after in (b"(", b"_"):
        return None
    if domain.lower() in _PROTOCOL_DOMAINS:
        return None
    if local.lower() in _REPOSITORY_USERS or before.endswith((b"%", b"$")) or _IN_URL.search(before):
        return None
    return start, end


def _ipv4(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    before, after = line_before(text, span[0]), line_after(text, span[1])
    if re.search(rb"[\w.]$|[A-Za-z][-/]$", before) or re.match(rb"\w|\.\w|-[A-Za-z]", after):
        return None
    if _REQUIREMENT.search(before) or not _is_public(text[span[0] : span[1]], after):
        return None
    if _VERSION_WORD.search(before[-NEAR_BYTES:]):
        return None
    if before.endswith((b"://", b"@", b"@[")) or _ADDRESS_WORD.search(before) or _ADDRESS_WORD.search(after):
        return span
    octets = [int(octet) for octet in text[span[0] : span[1]].split(b".")]
    looks_like_version = octets[0] < 10 or (octets[0] <= 20 and max(octets) < 100)
    return None if looks_like_version or _VERSION_WORD.search(before) else span


def _ipv6(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    before, after = line_before(text, span[0]), line_after(text, span[1])
    if re.search(rb"[\w:.]$", before) or re.match(rb"\w|:\w", after):
        return None
    return span if _is_public(text[span[0] : span[1]], after) else None


def _is_public(value: bytes, after: bytes) -> bool:
    """Whether it is the address of a host out there; a network, written with its mask, is none."""
    try:
        address = ipaddress.ip_address(value.decode("ascii"))
    except ValueError:
        return False
    mask = re.match(rb"/(\d{1,3})\b", after)
    if mask and _is_network(address, int(mask[1])):
        return False
    return address.is_global and not address.is_multicast and address not in PUBLIC_RESOLVERS


def _is_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, mask_bits: int) -> bool:
    host_bits = address.max_prefixlen - mask_bits
    return host_bits > 0 and int(address) % (1 << host_bits) == 0


def _issued_key(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    value = text[span[0] : span[1]]
    return span if entropy_bits(value) >= min_entropy_bits and b"EXAMPLE" not in value else None


def _private_key(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    runs = list(_BASE64_RUN.finditer(text, *span))
    if not runs:
        return None
    start, end = runs[0].start(), runs[-1].end()
    return (start, end) if entropy_bits(text[start:end]) >= min_entropy_bits else None


def _assigned_key(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    value = text[span[0] : span[1]]
    if entropy_bits(value) < min_entropy_bits or b"EXAMPLE" in value or _UUID.fullmatch(value):
        return None
    if any(value.lower() in sequence for sequence in _SEQUENCES):
        return None
    if _HARMLESS_NAME.search(line_before(text, span[0])):
        return None
    if not _HEX.fullmatch(value):
        return span if looks_random(value) else None
    line = line_before(text, span[0]) + line_after(text, span[1])
    is_long = len(value) >= MIN_HEX_KEY_CHARS and not value.isdigit() and not value.isalpha()
    return span if is_long and not _HASH_WORD.search(line) else None


def looks_random(value: bytes) -> bool:
    """Whether `value` reads like drawn characters rather than words: letters and digits that take turns."""
    classes = value.translate(_CHARACTER_CLASS, _PUNCTUATION)
    if _DIGIT not in classes or len(set(classes)) < 2:
        return False
    changes = sum(left != right and (left, right) != (_UPPER, _LOWER) for left, right in pairwise(classes))
    return changes / len(classes) >= MIN_CLASS_CHANGES


# A letter of a mailbox: ASCII, or U+00C0 to U+024F (Latin with diacritics) in UTF-8.
_LOCAL = rb"(?:[A-Za-z0-9._+-]|[\xc3-\xc9][\x80-\xbf])"
_LABEL = rb"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_OCTET = rb"[0-9]{1,3}"
_SECRET_WORD = rb"(?i:key|secret|token|passw(?:or)?d|passwd|pwd|credential|auth)"
_ASSIGNED = _SECRET_WORD + rb"[A-Za-z0-9_-]{0,20}[\"'`\]]{0,2} {0,20}(?::=|=>|=|:)[ (]{0,20}"

RULES: tuple[SecretRule, ...] = (
    SecretRule("email", "email", _LOCAL + rb"+@" + _LABEL + rb"(?:\." + _LABEL + rb")+", _email),
    SecretRule("ip_address", "ipv4", rb"\.".join([_OCTET] * 4), _ipv4),
    # Only 2000::/3 is globally routable: the first group has four digits and begins with 2 or 3.
    SecretRule("ip_address", "ipv6", rb"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]+(?:\.[0-9]{1,3}){0,3}", _ipv6),
    SecretRule(
        "key",
        "private_key",
        rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----([^<]*?)-----END [A-Z0-9 ]*PRIVATE KEY",
        _private_key,
        b"-----BEGIN",
    ),
    SecretRule("key", "aws_access_key", rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", _issued_key),
    SecretRule("key", "github_token", rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})", _issued_key),
    SecretRule("key", "gitlab_token", rb"\bglpat-[A-Za-z0-9_-]{20,}", _issued_key),
    SecretRule("key", "slack_token", rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}", _issued_key),
    SecretRule("key", "slack_webhook", rb"hooks\.slack\.com/services/([A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+)", _issued_key),
    SecretRule("key", "google_key", rb"\b(?:AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28})", _issued_key),
    SecretRule("key", "stripe_key", rb"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}", _issued_key),
    SecretRule("key", "npm_token", rb"\bnpm_[A-Za-z0-9]{36}", _issued_key),
    SecretRule("key", "hugging_face_token", rb"\bhf_[A-Za-z0-9]{30,}", _issued_key),
    SecretRule("key", "sendgrid_key", rb"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", _issued_key),
    SecretRule(
        "key", "json_web_token", rb"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", _issued_key
    ),
    SecretRule(
        "key", "assigned_quoted", _ASSIGNED + rb"[rbuf]?[\"'`]([A-Za-z0-9+/=_.~!@#^&*-]{12,200})[\"'`]", _assigned_key
    ),
    SecretRule("key", "assigned_bare", _ASSIGNED + rb"([A-Za-z0-9+/=_-]{20,200})(?:[\s,;]|\z)", _assigned_key),
)
"""Every rule, in the order of precedence among spans that begin together."""
