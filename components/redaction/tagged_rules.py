"""What becomes of the tagger's spans: each entity with the checks that its findings must pass (StarPII's redaction).

BigCode's `pii/ner/pii_redaction/utils.py` leaves alone values of up to three characters, names of one word, keys of up
to eight characters or that are no gibberish, and addresses that are private or public resolvers.
"""

import ipaddress
import re
from collections.abc import Callable

from components.redaction.secret_rules import PUBLIC_RESOLVERS, SecretRule, Span, entropy_bits, looks_random

MIN_VALUE_CHARS = 4
MIN_KEY_CHARS = 9

_PLACEHOLDER = re.compile(rb"<(?:EMAIL|KEY|PASSWORD|NAME|USERNAME|ID)>|(?:EMAIL|KEY|PASSWORD|NAME|USERNAME|ID)")
_NEVER = rb"[^\x00-\xff]"  # a tagger's rule has no pattern of its own

Check = Callable[[bytes, Span, float], Span | None]


def _any_value(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    value = text[slice(*span)]
    return None if len(value) < MIN_VALUE_CHARS or b"<" in value or _PLACEHOLDER.fullmatch(value) else span


def _full_name(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    return _any_value(text, span, min_entropy_bits) if len(text[slice(*span)].split()) > 1 else None


def _random_key(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    value = text[slice(*span)]
    is_random = len(value) >= MIN_KEY_CHARS and entropy_bits(value) >= min_entropy_bits and looks_random(value)
    return _any_value(text, span, min_entropy_bits) if is_random else None


def _public_address(text: bytes, span: Span, min_entropy_bits: float) -> Span | None:
    try:
        address = ipaddress.ip_address(text[slice(*span)].decode("ascii"))
    except ValueError:
        return None
    return span if address.is_global and not address.is_multicast and address not in PUBLIC_RESOLVERS else None


TAGGED_RULES: dict[str, SecretRule] = {
    "NAME": SecretRule("name", "tagged_name", _NEVER, _full_name),
    "EMAIL": SecretRule("email", "tagged_email", _NEVER, _any_value),
    "USERNAME": SecretRule("username", "tagged_username", _NEVER, _any_value),
    "PASSWORD": SecretRule("password", "tagged_password", _NEVER, _any_value),
    "KEY": SecretRule("key", "tagged_key", _NEVER, _random_key),
    "IP_ADDRESS": SecretRule("ip_address", "tagged_ip_address", _NEVER, _public_address),
}
"""By the tagger's spelling of the entity. No placeholder passes a check, so what was replaced is not found again."""
