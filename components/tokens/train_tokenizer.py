"""Train the tokenizer: byte-level BPE by the recipe of StarCoder and StarCoder2.

Text is split into single digits, then by GPT-2's pattern without a prefix space, and the bytes of each piece are merged
(bigcode-tokenizer, `starcoder/train_bpe_tokenizer.py`). The special tokens of the family take the first
ids, the bytes the next 256. No merge crosses a piece and each special token spans several, so no merge can ever make
one; the marks of structured documents are left out of what is learned from.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from components.errors import CorruptArtifactError, EmptyArtifactError, ParamsError, SourceError
from components.file_sample import choose_files, rows_of
from components.markup import STRUCTURED_KINDS, split_marks
from components.section import Summary
from components.tokens.config import TrainTokenizerConfig
from components.tokens.tokenizer_files import load_text_tokenizer, save_tokenizer
from model.reporting import current_sink, track
from model.special_tokens import FAMILIES, STARCODER
from model.text_codec import TOKENIZER_FILE, family_of

_NUM_BYTES = 256


class TrainTokenizerSummary(Summary):
    """What the tokenizer has and has seen."""

    vocab_size: int
    """Entries in all; below the parameter only if the sample has too few repeated pairs."""
    num_merges: int
    sample_files: int
    """None if the tokenizer was taken from somewhere."""
    sample_bytes: int


def resolve_sources(config: TrainTokenizerConfig, workspace: Path) -> dict[str, str]:
    """sha256 of the tokenizer to be taken, if one is named; SourceError if it cannot be read."""
    if config.take_from is None:
        return {}
    return {"take_from": hashlib.sha256(_read(workspace / config.take_from / TOKENIZER_FILE)).hexdigest()}


def run(config: TrainTokenizerConfig, *, corpus_splits: Path, workspace: Path, out: Path) -> TrainTokenizerSummary:
    """Train on a seeded sample of whole files of the train split, or take a tokenizer that is there.

    EmptyArtifactError if no file fits the sample; SourceError or ParamsError if what is there is not what was asked.
    """
    if config.take_from is not None:
        return _take(config, workspace / config.take_from, out)
    chosen = choose_files(corpus_splits, "train", config.sample_bytes, config.seed)
    if not chosen:
        raise EmptyArtifactError(
            f"no file of the train split fits train_tokenizer.sample_bytes {config.sample_bytes}; "
            "raise it, or add sources"
        )
    rows = rows_of(corpus_splits, "train", ["file_id", "kind", "content"])
    texts = [list(_texts(row)) for row in track(rows, None, "files read") if row["file_id"] in chosen]
    special_tokens = FAMILIES[config.special_tokens]
    learned_from = (text for parts in texts for text in parts)
    tokenizer = train_bpe(learned_from, config.vocab_size, config.min_frequency, special_tokens)
    save_tokenizer(tokenizer, out)
    vocab_size = tokenizer.get_vocab_size()
    if vocab_size < config.vocab_size:
        current_sink().note(
            f"the tokenizer has {vocab_size} entries, not {config.vocab_size}: the sample has no further pair that "
            f"occurs {config.min_frequency} times; the model gets the smaller vocabulary"
        )
    return TrainTokenizerSummary(
        vocab_size=vocab_size,
        num_merges=vocab_size - len(special_tokens) - _NUM_BYTES,
        sample_files=len(texts),
        sample_bytes=sum(len(text.encode()) for parts in texts for text in parts),
    )


def _take(config: TrainTokenizerConfig, directory: Path, out: Path) -> TrainTokenizerSummary:
    """The tokenizer of a model that is trained further."""
    _read(directory / TOKENIZER_FILE)
    try:
        tokenizer = load_text_tokenizer(directory)
    except CorruptArtifactError as error:
        raise SourceError(f"train_tokenizer.take_from: {error}") from None
    found = {"special_tokens": family_of(tokenizer), "vocab_size": tokenizer.get_vocab_size()}
    for name, value in found.items():
        if getattr(config, name) != value:
            raise ParamsError(
                f"train_tokenizer.{name} is {getattr(config, name)}, but the tokenizer in {directory} has {value}; "
                "say so"
            )
    tokenizer.encode_special_tokens = False
    save_tokenizer(tokenizer, out)
    num_merges = tokenizer.get_vocab_size() - len(FAMILIES[config.special_tokens]) - _NUM_BYTES
    return TrainTokenizerSummary(
        vocab_size=tokenizer.get_vocab_size(), num_merges=num_merges, sample_files=0, sample_bytes=0
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"train_tokenizer.take_from: {path} cannot be read ({error.strerror}); name the directory of a model, or "
            "say null to train a tokenizer"
        ) from None


def _texts(row: dict[str, Any]) -> Iterator[str]:
    """The content, of a structured document without its marks."""
    if row["kind"] in STRUCTURED_KINDS:
        yield from (piece for piece in split_marks(row["content"]) if isinstance(piece, str))
    else:
        yield row["content"]


def train_bpe(
    texts: Iterable[str], vocab_size: int, min_frequency: int, special_tokens: Sequence[str] = STARCODER
) -> Tokenizer:
    """A tokenizer of at most `vocab_size` entries; the same texts in any order give the same one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = piece_splitter()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def piece_splitter() -> pre_tokenizers.PreTokenizer:
    """Single digits, then GPT-2's pattern: no merge crosses a border of these pieces."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
