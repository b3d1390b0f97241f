"""Train the tokenizer: byte-level BPE by the recipe of StarCoder and StarCoder2.

Text is split into single digits, then by GPT-2's pattern without a prefix space, and the bytes of each piece are merged
(bigcode-tokenizer, `starcoder/train_bpe_tokenizer.py`). The special tokens of the family take the first
ids, the bytes the next 256. No merge crosses a piece and each special token spans several, so no merge can ever make
one; the marks of structured documents are left out of what is learned from.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from components.errors import EmptyArtifactError
from components.file_sample import choose_files, rows_of
from components.markup import STRUCTURED_KINDS, split_marks
from components.section import Summary
from components.tokens.config import TrainTokenizerConfig
from components.tokens.tokenizer_files import save_tokenizer
from model.reporting import current_sink, track
from model.special_tokens import FAMILIES, STARCODER


class TrainTokenizerSummary(Summary):
    """What the tokenizer has and has seen."""

    vocab_size: int
    """Entries in all; below the parameter only if the sample has too few repeated pairs."""
    num_merges: int
    sample_files: int
    sample_bytes: int


def run(config: TrainTokenizerConfig, *, corpus_splits: Path, out: Path) -> TrainTokenizerSummary:
    """Train on a seeded sample of whole files of the train split; EmptyArtifactError if no file fits it."""
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
        num_merges=vocab_size - len(special_tokens) - len(pre_tokenizers.ByteLevel.alphabet()),
        sample_files=len(texts),
        sample_bytes=sum(len(text.encode()) for parts in texts for text in parts),
    )


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
