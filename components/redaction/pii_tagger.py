"""The trained tagger at work: text in, spans of personal data out, each exact to the byte.

A text is read in blocks, a block in windows that overlap, and each piece takes its label probabilities from the window
in which it stands farthest from an edge. They are put together to words, so that a word is tagged whole or not at all,
and words to spans; last, marks at a span's ends are trimmed (BigCode `pii/ner`: leading punctuation, and trailing
characters that are not of a word except for keys). What is said of a text depends on that text alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from components.errors import CorruptArtifactError
from components.redaction.pii_labels import NUM_LABELS, PERSONAL, Entity, LabelledSpan, spans_of
from components.redaction.pii_pieces import Pieces, split_pieces
from model.encoder_config import EncoderConfig

if TYPE_CHECKING:
    from model.encoder import TokenClassifier

SETTINGS_FILE, WEIGHTS_FILE, SCORES_FILE = "tagger.json", "weights.safetensors", "scores.json"

BLOCK_BYTES = 1 << 16
"""A text is read in blocks of at most so many bytes, so a long one takes little memory beyond its own."""

_BLANKS = b" \t\r\n\f\v\0"
_QUOTES = b"\"'`"
_MARKS = bytes(byte for byte in range(33, 127) if not chr(byte).isalnum())
_TRIMMED: dict[Entity, tuple[bytes, bytes]] = {
    **dict.fromkeys(PERSONAL, (_BLANKS + _MARKS, _BLANKS + _MARKS.replace(b"_", b""))),
    "KEY": (_BLANKS + _QUOTES, _BLANKS + _QUOTES),
    "PASSWORD": (_BLANKS + _QUOTES, _BLANKS + _QUOTES),
}
"""What does not belong to an entity at its left end and at its right. Marks may well belong to a key or a password."""


class TaggerSettings(BaseModel):
    """`tagger.json`: the shape of the tagger; null says that there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool
    encoder: EncoderConfig | None
    overlap_tokens: int


@dataclass(frozen=True, order=True)
class TaggedSpan:
    """Bytes [start_byte, end_byte) of a text that are `entity`; the score is the mean probability of its words."""

    start_byte: int
    end_byte: int
    entity: Entity
    score: float


@dataclass(frozen=True)
class PiiTagger:
    """A trained network with the way it reads."""

    network: "TokenClassifier"
    overlap_tokens: int

    @classmethod
    def load(cls, artifact: Path) -> "PiiTagger | None":
        """The tagger of a `pii_tagger` artifact; None if it was not enabled. CorruptArtifactError if it is damaged.

        torch is loaded only if there is a tagger.
        """
        try:
            settings = TaggerSettings.model_validate_json((artifact / SETTINGS_FILE).read_bytes())
            if not settings.enabled or settings.encoder is None:
                return None
            encoder: Any = import_module("model.encoder")
            network = encoder.load_classifier(settings.encoder, NUM_LABELS, artifact / WEIGHTS_FILE)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CorruptArtifactError(f"{artifact} holds no tagger ({reason}); make the artifact anew") from None
        return cls(network, settings.overlap_tokens)

    def spans(self, texts: Sequence[bytes]) -> list[list[TaggedSpan]]:
        """The personal data of each text, in order and without overlap."""
        return [[span for span in self._tag(text) if span.entity in PERSONAL] for text in texts]

    def _tag(self, text: bytes) -> Iterator[TaggedSpan]:
        start = 0
        while start < len(text):
            end = block_end(text, start)
            found = self._tag_block(text[start:end])
            if end < len(text) and found and found[-1].end_byte == end - start and found[-1].start_byte > 0:
                end = start + found.pop().start_byte  # it may go on: the next block reads it whole
            for span in found:
                yield TaggedSpan(start + span.start_byte, start + span.end_byte, span.entity, span.score)
            start = end

    def _tag_block(self, text: bytes) -> list[TaggedSpan]:
        pieces = split_pieces(text, self.network.config.num_features)
        if pieces.starts.size == 0:
            return []
        return list(_spans_of_words(text, pieces, self._log_probabilities(pieces.features_TK)))

    def _log_probabilities(self, features_TK: NDArray[np.int64]) -> NDArray[np.float32]:
        """[T, L], each row from the window in which its piece has most context on its poorer side."""
        windows = windows_of(len(features_TK), self.network.config.context_length_tokens, self.overlap_tokens)
        read = [self.network.log_probabilities(features_TK[w.start : w.end])[w.kept] for w in windows]
        return np.concatenate(read)


@dataclass(frozen=True)
class Window:
    """Pieces [start, end) are read together; of the result the rows `kept` are used."""

    start: int
    end: int
    kept: slice


def windows_of(num_tokens: int, length: int, overlap: int) -> list[Window]:
    """Windows of at most `length` tokens, neighbours sharing `overlap`; each token is kept once, in order."""
    stride = length - overlap
    starts = range(0, max(1, num_tokens - overlap), stride)
    windows: list[Window] = []
    for start in starts:
        end = min(start + length, num_tokens)
        first = 0 if start == 0 else overlap // 2
        after = end - start if end == num_tokens else stride + overlap // 2
        windows.append(Window(start, end, slice(first, after)))
    return windows


def block_end(text: bytes, start: int) -> int:
    """Where the block that begins at `start` ends: after a line, else after a blank, else after a character."""
    end = start + BLOCK_BYTES
    if end >= len(text):
        return len(text)
    for border in (b"\n", b" "):
        found = text.rfind(border, start, end)
        if found >= 0:
            return found + 1
    while end > start + BLOCK_BYTES - 3 and text[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _spans_of_words(text: bytes, pieces: Pieces, log_TL: NDArray[np.float32]) -> Iterator[TaggedSpan]:
    """Label words by the mean of what their pieces say, join words to spans, and trim these."""
    firsts = np.flatnonzero(np.diff(pieces.words, prepend=-1))
    counts = np.diff(firsts, append=len(log_TL))
    begins_TE, continues_TE = log_TL[:, 1::2], log_TL[:, 2::2]
    entities_TE = np.concatenate([log_TL[:, :1], np.logaddexp(begins_TE, continues_TE)], axis=1)
    words_WE = np.add.reduceat(entities_TE.astype(np.float64), firsts) / counts[:, None]
    kinds = words_WE.argmax(1)
    entity = np.maximum(kinds - 1, 0)
    rows = np.arange(firsts.size)
    is_inside = continues_TE[firsts, entity] > begins_TE[firsts, entity]
    labels = np.where(kinds == 0, 0, 2 * kinds - 1 + is_inside)
    probabilities = np.exp(words_WE[rows, kinds])
    starts, ends = pieces.starts[firsts], pieces.ends[firsts + counts - 1]
    for span in spans_of(starts, ends, labels):
        words = slice(np.searchsorted(starts, span.start_byte), np.searchsorted(ends, span.end_byte) + 1)
        trimmed = trim(text, span)
        if trimmed.start_byte < trimmed.end_byte:
            score = float(probabilities[words].mean())
            yield TaggedSpan(trimmed.start_byte, trimmed.end_byte, span.entity, score)


def trim(text: bytes, span: LabelledSpan) -> LabelledSpan:
    """The span without what cannot belong to its entity at its ends; maybe empty."""
    left, right = _TRIMMED.get(span.entity, _TRIMMED["EMAIL"])
    value = text[span.start_byte : span.end_byte].rstrip(right)
    end = span.start_byte + len(value)
    return LabelledSpan(end - len(value.lstrip(left)), end, span.entity)
