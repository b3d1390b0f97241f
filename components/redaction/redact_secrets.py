"""Replace e-mail addresses, IP addresses and keys inside the text; no file is dropped for them.

What counts as one stands in `secret_rules.py`. A text is scanned again after its replacements until nothing more is
found, so redacting twice equals redacting once whatever the rules look at around a span. Outside the spans no byte
changes.

Placeholders are StarCoder's (BigCode pii/ner/pii_redaction/utils.py): `<EMAIL>`, `<KEY>`, and for an IP address one
of five private ones of its family, given out in order of appearance so that up to five addresses stay different.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import re2

from components.redaction.config import RedactSecretsConfig
from components.redaction.secret_rules import RULES, Entity, SecretRule, Span
from components.section import Summary
from components.tables import FilesCounts, FilesWriter, text_buffers, track_files

# The functions of this module are made when it is loaded, unseen by a type checker.
_compute: Any = pyarrow.compute

IPV4_REPLACEMENTS = (b"172.16.31.10", b"172.16.58.3", b"172.16.17.32", b"192.168.127.12", b"192.168.3.11")
IPV6_REPLACEMENTS = (
    b"fd00:c2b6:b24b:be67:2827:688d:e6a1:6a3b",
    b"fd00:a516:7c1b:17cd:6d81:2137:bd2a:2c5b",
    b"fc00:e968:6179::de52:7100",
    b"fc00:db20:35b:7399::5",
    b"fdf8:f53e:61e4::18",
)

REDACTIONS: pa.Schema = pa.schema(
    [
        pa.field("file_id", pa.string(), nullable=False),
        # "email", "ip_address" or "key".
        pa.field("entity", pa.string(), nullable=False),
        # Where it stood in the content before redaction: UTF-8 bytes, the end excluded. The secret itself is not kept.
        pa.field("start_byte", pa.int64(), nullable=False),
        pa.field("end_byte", pa.int64(), nullable=False),
        # Name of the rule in `secret_rules.py`.
        pa.field("rule", pa.string(), nullable=False),
    ]
)
"""Columns of `redactions.parquet`, in the order of the files, then of the text."""


class RedactSummary(Summary):
    """What was replaced."""

    files: FilesCounts
    touched_files: int
    redactions_by_entity: dict[str, int]
    redactions_by_rule: dict[str, int]
    """Both in alphabetical order; a rule that found nothing is left out."""


@dataclass(frozen=True)
class Finding:
    """One replaced span of a content, [start_byte, end_byte) before redaction, and what stands there now."""

    start_byte: int
    end_byte: int
    rule: SecretRule
    replacement: bytes


@dataclass
class _Findings:
    """The rows of `redactions.parquet`, gathered."""

    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in REDACTIONS.names})
    touched_files: int = 0

    def add(self, file_id: str, findings: list[Finding]) -> None:
        self.touched_files += 1
        for finding in findings:
            row = (file_id, finding.rule.entity, finding.start_byte, finding.end_byte, finding.rule.name)
            for name, value in zip(REDACTIONS.names, row, strict=True):
                self.columns[name].append(value)


def run(config: RedactSecretsConfig, *, quality_files: Path, out: Path) -> RedactSummary:
    """Write redacted_files and, beside the table, `redactions.parquet`; every row is kept, in its order.

    A touched row has a new content, content_sha256 and size_bytes and keeps its file_id.
    """
    redactor = Redactor(config.entities, config.min_key_entropy_bits)
    found = _Findings()
    with FilesWriter(out) as writer:
        for batch in track_files(quality_files):
            writer.keep(_redact_batch(batch, redactor, found))
    pq.write_table(pa.table(found.columns, schema=REDACTIONS), out / "redactions.parquet", compression="zstd")
    by_entity = Counter(dict.fromkeys(config.entities, 0))
    by_entity.update(found.columns["entity"])
    return RedactSummary(
        files=writer.counts,
        touched_files=found.touched_files,
        redactions_by_entity=dict(sorted(by_entity.items())),
        redactions_by_rule=dict(sorted(Counter(found.columns["rule"]).items())),
    )


class Redactor:
    """The rules of some entities, compiled. `redact` is pure; one instance serves any number of texts."""

    def __init__(self, entities: tuple[Entity, ...], min_key_entropy_bits: float) -> None:
        self._min_entropy_bits = min_key_entropy_bits
        rules = [rule for rule in RULES if rule.entity in entities]
        self._rules = [(rule, _compiled(rule.pattern)) for rule in rules]
        # One alternation, not re2.Set: a Set that runs out of memory reports no match, a pattern falls back to its NFA.
        self._any_rule = _compiled(b"|".join(b"(?:" + rule.pattern + b")" for rule in rules))

    def redact(self, content: bytes) -> tuple[bytes, list[Finding]]:
        """The content with its secrets replaced, and what was replaced, in the order of the text."""
        findings: list[Finding] = []
        replacements: dict[bytes, bytes] = {}
        text = content
        # Ends: no rule accepts a replacement alone, so each round takes at least one more byte of the original.
        while spans := self._spans(text):
            findings = _merge(findings, spans, text, replacements)
            text = _apply(content, findings)
        return text, findings

    def _spans(self, text: bytes) -> list[tuple[Span, SecretRule]]:
        """What the rules accept; of overlapping spans the first, then the longest, then the earlier rule."""
        if self._any_rule.search(text) is None:
            return []
        accepted: list[tuple[Span, SecretRule]] = []
        for rule, pattern in self._rules:
            for match in pattern.finditer(text):
                span = rule.check(text, match.span(pattern.groups), self._min_entropy_bits)
                if span is not None:
                    accepted.append((span, rule))
        accepted.sort(key=lambda found: (found[0][0], -found[0][1]))
        chosen: list[tuple[Span, SecretRule]] = []
        for span, rule in accepted:
            if not chosen or span[0] >= chosen[-1][0][1]:
                chosen.append((span, rule))
        return chosen


def _compiled(pattern: bytes) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # the pattern is over bytes
    return re2.compile(pattern, options)


def _merge(
    earlier: list[Finding], spans: list[tuple[Span, SecretRule]], text: bytes, replacements: dict[bytes, bytes]
) -> list[Finding]:
    """Add spans of the redacted `text` to the findings; one that covers earlier findings takes their place."""
    added = [
        Finding(
            _in_original(earlier, span[0], is_end=False),
            _in_original(earlier, span[1], is_end=True),
            rule,
            _replacement(rule, text[slice(*span)], replacements),
        )
        for span, rule in spans
    ]
    untouched = [
        old for old in earlier if all(old.end_byte <= new.start_byte or new.end_byte <= old.start_byte for new in added)
    ]
    return sorted([*untouched, *added], key=lambda finding: finding.start_byte)


def _in_original(findings: list[Finding], position: int, *, is_end: bool) -> int:
    """Where a position of the redacted text lies in the original; inside a replacement, at that end of its span."""
    shift = 0
    for finding in findings:
        start = finding.start_byte - shift
        end = start + len(finding.replacement)
        if position <= start:
            break
        if position < end:
            return finding.end_byte if is_end else finding.start_byte
        shift = finding.end_byte - end
    return position + shift


def _replacement(rule: SecretRule, value: bytes, replacements: dict[bytes, bytes]) -> bytes:
    """`replacements` remembers what each address of the document became."""
    if rule.entity != "ip_address":
        return b"<EMAIL>" if rule.entity == "email" else b"<KEY>"
    pool = IPV6_REPLACEMENTS if b":" in value else IPV4_REPLACEMENTS
    if value not in replacements:
        given_out = sum(replacement in pool for replacement in replacements.values())
        replacements[value] = pool[given_out % len(pool)]
    return replacements[value]


def _apply(content: bytes, findings: list[Finding]) -> bytes:
    pieces: list[bytes] = []
    end = 0
    for finding in findings:
        pieces += (content[end : finding.start_byte], finding.replacement)
        end = finding.end_byte
    return b"".join([*pieces, content[end:]])


def _redact_batch(batch: pa.RecordBatch, redactor: Redactor, found: _Findings) -> pa.RecordBatch:
    texts, starts = text_buffers(batch)
    touched = np.zeros(batch.num_rows, dtype=np.bool_)
    contents: list[bytes] = []
    for row in range(batch.num_rows):
        redacted, findings = redactor.redact(texts[starts[row] : starts[row + 1]].tobytes())
        if findings:
            touched[row] = True
            contents.append(redacted)
            found.add(batch.column("file_id")[row].as_py(), findings)
    if not contents:
        return batch
    changed = {
        "content": [content.decode("utf-8") for content in contents],
        "content_sha256": [hashlib.sha256(content).hexdigest() for content in contents],
        "size_bytes": [len(content) for content in contents],
    }
    return _with_changed(batch, pa.array(touched), changed)


def _with_changed(batch: pa.RecordBatch, rows: Any, changed: dict[str, list[Any]]) -> pa.RecordBatch:
    """The batch with the values of the given columns replaced in the rows where the mask is true."""
    columns = [
        _compute.replace_with_mask(column, rows, pa.array(changed[name], column.type)) if name in changed else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
