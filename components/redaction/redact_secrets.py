"""Replace secrets and personal data inside the text; no file is dropped for them.

What counts as one stands in `secret_rules.py` and `personal_rules.py`; the trained tagger, where it is enabled, adds
what nothing announces. A text is scanned again after its replacements (`replaced_text.py`) until nothing more is found,
so redacting twice equals redacting once whatever the rules look at around a span. Outside the spans no byte changes;
no mark of a structured document is ever part of one.
"""

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute
import re2

from components.markup import between_marks
from components.redaction.config import RedactSecretsConfig
from components.redaction.personal_rules import PERSONAL_RULES
from components.redaction.pii_tagger import PiiTagger
from components.redaction.replaced_text import Finding, ReplacedText
from components.redaction.secret_rules import RULES, Entity, SecretRule, Span
from components.redaction.tagged_rules import TAGGED_RULES
from components.section import Summary
from components.shard_map import Mapped, map_shards
from components.store import digest_files, digest_of_files
from components.tables import FilesCounts, text_buffers
from data_contracts.columns import REDACTIONS

# The functions of this module are made when it is loaded, unseen by a type checker.
_compute: Any = pyarrow.compute


class RedactSummary(Summary):
    """What was replaced."""

    files: FilesCounts
    touched_files: int
    redactions_by_entity: dict[str, int]
    redactions_by_rule: dict[str, int]
    """Both in alphabetical order; a rule that found nothing is left out."""


MAX_CHECKED_ROUNDS = 32
"""What honest text hides shows after two or three rounds. On a hostile line each replacement can show the next secret,
a hundred thousand times: after so many rounds all that the patterns match on it goes at once."""

_AUTOMATON_BYTES = 64 * 2**20
"""With less, the automaton of all rules is thrown away and begun anew every few megabytes."""


class Spotter(Protocol):
    """What finds spans by more than a pattern; the trained tagger does."""

    def spans(self, texts: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        """Of each text the spans with `start_byte`, `end_byte` and `entity` in the tagger's spelling."""
        ...


def run(
    config: RedactSecretsConfig, *, permitted_files: Path, pii_tagger: Path, out: Path, work_dir: Path
) -> RedactSummary:
    """Write redacted_files and, beside the table, `redactions-*.parquet`; every row is kept, in its order.

    A touched row has a new content, content_sha256 and size_bytes and keeps its file_id.
    """
    tagger_digest = digest_of_files(digest_files(pii_tagger))
    function = partial(redact_batch, config=config, pii_tagger=str(pii_tagger), tagger_digest=tagger_digest)
    outcome = map_shards(function, [permitted_files], out, work_dir)
    by_entity = dict.fromkeys(config.entities, 0) | _named(outcome.counts, "entity ")
    return RedactSummary(
        files=outcome.files,
        touched_files=outcome.counts.get("touched files", 0),
        redactions_by_entity=dict(sorted(by_entity.items())),
        redactions_by_rule=_named(outcome.counts, "rule "),
    )


def redact_batch(batch: pa.RecordBatch, config: RedactSecretsConfig, pii_tagger: str, tagger_digest: str) -> Mapped:
    """The batch with its secrets replaced, and a row of REDACTIONS for each."""
    redactor = _redactor(config.entities, config.min_key_entropy_bits, pii_tagger, tagger_digest)
    data, starts = text_buffers(batch)
    originals = [data[start:end].tobytes() for start, end in pairwise(starts.tolist())]
    touched = np.zeros(batch.num_rows, dtype=np.bool_)
    contents: list[bytes] = []
    rows: list[tuple[Any, ...]] = []
    for row in redactor.suspects(originals):
        redacted, findings = redactor.redact(originals[row])
        if findings:
            touched[row] = True
            contents.append(redacted)
            file_id = batch.column("file_id")[row].as_py()
            rows += [(file_id, f.rule.entity, f.start_byte, f.end_byte, f.rule.name) for f in findings]
    counts: Counter[str] = Counter({"touched files": len(contents)})
    counts.update(f"entity {entity}" for _, entity, *_ in rows)
    counts.update(f"rule {rule}" for *_, rule in rows)
    columns = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), REDACTIONS, strict=False)]
    found = {"redactions": pa.RecordBatch.from_arrays(columns, schema=REDACTIONS)} if rows else {}
    return Mapped(_with_contents(batch, touched, contents), counts=counts, tables=found)


@lru_cache(maxsize=1)
def _redactor(
    entities: tuple[Entity, ...], min_key_entropy_bits: float, pii_tagger: str, tagger_digest: str
) -> "Redactor":
    """Made once per worker; the digest tells a tagger that was trained anew from the one loaded before."""
    del tagger_digest
    return Redactor(entities, min_key_entropy_bits, PiiTagger.load(Path(pii_tagger)))


def _named(counts: dict[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}


class Redactor:
    """The rules of some entities, compiled. `redact` is pure; one instance serves any number of texts."""

    def __init__(
        self, entities: tuple[Entity, ...], min_key_entropy_bits: float, spotter: Spotter | None = None
    ) -> None:
        self._min_entropy_bits = min_key_entropy_bits
        self._entities = entities
        self._spotter = spotter
        rules = [rule for rule in (*RULES, *PERSONAL_RULES) if rule.entity in entities]
        self._long = [(rule, _compiled(rule.pattern)) for rule in rules if rule.begins]
        short = [rule for rule in rules if not rule.begins]
        self._short = [(rule, _compiled(rule.pattern)) for rule in short]
        # One alternation, not re2.Set: a Set that runs out of memory reports no match, a pattern falls back to its NFA.
        self._any_short = _compiled(b"|".join(b"(?:" + rule.pattern + b")" for rule in short)) if short else None
        begins = [re2.escape(rule.begins) for rule in rules if rule.begins]
        self._any = _compiled(b"|".join([b"(?:" + rule.pattern + b")" for rule in short] + begins))
        self._which_short = re2.Set.SearchSet(_options())
        for rule in short:
            self._which_short.Add(rule.pattern)
        self._which_short.Compile()

    def suspects(self, contents: Sequence[bytes]) -> list[int]:
        """The indices of the contents in which something may be found, ascending.

        One search over all of them: most have nothing, and a call for each would take longer than the search.
        """
        if self._spotter is not None:
            return list(range(len(contents)))
        texts = b"\n".join(contents)  # no pattern that is searched for here goes over a line's end
        starts = [0, *accumulate(len(content) + 1 for content in contents)]
        found: list[int] = []
        place = 0
        while place < len(texts) and (match := self._any.search(texts, place)) is not None:
            found.append(bisect_right(starts, match.start()) - 1)
            place = starts[found[-1] + 1]
        return found

    def redact(self, content: bytes) -> tuple[bytes, list[Finding]]:
        """The content with its secrets replaced, and what was replaced, in the order of the text."""
        replaced = ReplacedText(content)
        lines: list[Span] = [(0, len(content))]
        rounds = 0
        # Ends: no rule accepts a replacement alone, so each round takes at least one more byte of the original.
        while spans := self._spans(replaced.text, lines, is_checked=rounds != MAX_CHECKED_ROUNDS):
            lines = replaced.replace(spans)
            rounds += 1
        return replaced.text, replaced.findings

    def _spans(self, text: bytes, lines: Sequence[Span], is_checked: bool) -> list[tuple[Span, SecretRule]]:
        """What the rules accept; of overlapping spans the first, then the longest, then the earlier rule.

        Rules that stay on a line are asked of the given lines only: elsewhere nothing has changed since they were.
        Where it is not checked, they accept whatever their patterns match.
        """
        accepted = [*self._matched(text, lines, is_checked), *self._spotted(text)]
        accepted.sort(key=lambda found: (found[0][0], -found[0][1]))
        chosen: list[tuple[Span, SecretRule]] = []
        for span, rule in accepted:
            if not chosen or span[0] >= chosen[-1][0][1]:
                chosen.append((span, rule))
        return chosen

    def _matched(self, text: bytes, lines: Sequence[Span], is_checked: bool) -> Iterator[tuple[Span, SecretRule]]:
        for rule, pattern in self._long:
            if rule.begins and rule.begins in text:
                yield from self._checked(rule, pattern.finditer(text), text, True)
        for start, end in self._suspect_lines(text, lines):
            # Some rule matches here, so a Set without an answer has run out of memory: then each is asked.
            matching = sorted(self._which_short.Match(text[start:end]) or range(len(self._short)))
            for rule, pattern in (self._short[index] for index in matching):
                yield from self._checked(rule, pattern.finditer(text, start, end), text, is_checked)

    def _checked(
        self, rule: SecretRule, matches: Any, text: bytes, is_checked: bool
    ) -> Iterator[tuple[Span, SecretRule]]:
        """What passes the rule's check; of a match with marks in it, what lies between them."""
        for match in matches:
            for piece in between_marks(text, *match.span(match.re.groups)):
                span = rule.check(text, piece, self._min_entropy_bits) if is_checked else piece
                if span is not None:
                    yield span, rule

    def _suspect_lines(self, text: bytes, lines: Sequence[Span]) -> Iterator[Span]:
        """Lines, with their ends, in which some rule matches; a match of these rules never leaves its line.

        A rule's match begins where the alternation's does, or inside it, so no other line can hold one.
        """
        if self._any_short is None:
            return
        for place, last in lines:
            end = place
            while end < last and (match := self._any_short.search(text, end, last)) is not None:
                start = text.rfind(b"\n", 0, match.start()) + 1
                end = text.find(b"\n", match.end()) + 1 or len(text)
                yield start, end

    def _spotted(self, text: bytes) -> Iterator[tuple[Span, SecretRule]]:
        """What the tagger finds, held to the same checks; never what a replacement put there."""
        if self._spotter is None:
            return
        for tagged in self._spotter.spans([text])[0]:
            rule = TAGGED_RULES[tagged.entity]
            pieces = between_marks(text, tagged.start_byte, tagged.end_byte) if rule.entity in self._entities else ()
            for piece in pieces:
                span = rule.check(text, piece, self._min_entropy_bits)
                if span is not None:
                    yield span, rule


def _compiled(pattern: bytes) -> Any:
    return re2.compile(pattern, _options())


def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # the pattern is over bytes
    options.max_mem = _AUTOMATON_BYTES
    return options


def _with_contents(batch: pa.RecordBatch, touched: Any, contents: list[bytes]) -> pa.RecordBatch:
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
