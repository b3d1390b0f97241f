"""A text while spans of it are replaced, round after round: what it reads now, and where each span stood at first.

Placeholders are StarCoder's (BigCode pii/ner/pii_redaction/utils.py): `<EMAIL>`, `<KEY>`, ..., and for an IP address
one of five private ones of its family, given out in order of appearance so that up to five addresses stay different.
A round costs no more than one look at the text and at the findings, however many there are.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from components.redaction.secret_rules import Entity, SecretRule, Span

IPV4_REPLACEMENTS = (b"172.16.31.10", b"172.16.58.3", b"172.16.17.32", b"192.168.127.12", b"192.168.3.11")
IPV6_REPLACEMENTS = (
    b"fd00:c2b6:b24b:be67:2827:688d:e6a1:6a3b",
    b"fd00:a516:7c1b:17cd:6d81:2137:bd2a:2c5b",
    b"fc00:e968:6179::de52:7100",
    b"fc00:db20:35b:7399::5",
    b"fdf8:f53e:61e4::18",
)

PLACEHOLDERS: dict[Entity, bytes] = {
    "email": b"<EMAIL>",
    "key": b"<KEY>",
    "password": b"<PASSWORD>",
    "name": b"<NAME>",
    "username": b"<USERNAME>",
    "id": b"<ID>",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One replaced span of a content, [start_byte, end_byte) before redaction, and what stands there now."""

    start_byte: int
    end_byte: int
    rule: SecretRule
    replacement: bytes

    @property
    def shift(self) -> int:
        """By how much the text behind it moved to the left."""
        return self.end_byte - self.start_byte - len(self.replacement)


class ReplacedText:
    """A content, what it reads with the replacements so far, and these, in the order of the text."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.text = content
        self.findings: list[Finding] = []
        self._addresses: dict[tuple[bytes, ...], dict[bytes, bytes]] = {IPV4_REPLACEMENTS: {}, IPV6_REPLACEMENTS: {}}

    def replace(self, spans: Sequence[tuple[Span, SecretRule]]) -> list[Span]:
        """Replace spans of `text`, which ascend and lie apart; a finding that one of them touches becomes part of it.

        Returns the lines of the new text in which something was replaced.
        """
        starts = self._starts()
        added = [
            Finding(
                self._in_content(span[0], starts, is_end=False),
                self._in_content(span[1], starts, is_end=True),
                rule,
                self._replacement(rule, self.text[slice(*span)]),
            )
            for span, rule in spans
        ]
        ends = [finding.end_byte for finding in added]
        untouched = [old for old in self.findings if not _meets(old, added, ends)]
        self.findings = sorted([*untouched, *added], key=lambda finding: finding.start_byte)
        self.text = self._applied()
        return self._lines_of({finding.start_byte for finding in added})

    def _starts(self) -> list[int]:
        """Where each replacement begins in `text`."""
        starts: list[int] = []
        shift = 0
        for finding in self.findings:
            starts.append(finding.start_byte - shift)
            shift += finding.shift
        return starts

    def _in_content(self, position: int, starts: Sequence[int], *, is_end: bool) -> int:
        """Where a position of `text` lies in the content; inside a replacement, at that end of its span."""
        index = bisect_left(starts, position) - 1
        if index < 0:
            return position
        finding, behind = self.findings[index], starts[index] + len(self.findings[index].replacement)
        if position < behind:
            return finding.end_byte if is_end else finding.start_byte
        return finding.end_byte + position - behind

    def _replacement(self, rule: SecretRule, value: bytes) -> bytes:
        """Of an address always the same in one text."""
        if rule.entity != "ip_address":
            return PLACEHOLDERS[rule.entity]
        pool = IPV6_REPLACEMENTS if b":" in value else IPV4_REPLACEMENTS
        known = self._addresses[pool]
        return known.setdefault(value, pool[len(known) % len(pool)])

    def _applied(self) -> bytes:
        pieces: list[bytes] = []
        end = 0
        for finding in self.findings:
            pieces += (self._content[end : finding.start_byte], finding.replacement)
            end = finding.end_byte
        return b"".join([*pieces, self._content[end:]])

    def _lines_of(self, chosen: set[int]) -> list[Span]:
        """The lines of `text`, with their ends, that hold the findings which begin at the chosen bytes."""
        lines: list[Span] = []
        end = 0
        for finding, start in zip(self.findings, self._starts(), strict=True):
            if finding.start_byte in chosen and start >= end:
                end = self.text.find(b"\n", start) + 1 or len(self.text)
                lines.append((self.text.rfind(b"\n", 0, start) + 1, end))
        return lines


def _meets(old: Finding, added: Sequence[Finding], ends: Sequence[int]) -> bool:
    """Whether a finding shares a byte with one of `added`, whose ends ascend."""
    index = bisect_right(ends, old.start_byte)
    return index < len(added) and added[index].start_byte < old.end_byte
