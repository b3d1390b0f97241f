"""The two files of the tokenizer artifact, and how data is encoded with it.

The files declare the family's special tokens special, so that a prompt may spell them out: `transformers` and
editors rely on it. Data may not. Source code that holds `<|endoftext|>` must not end a document, so whoever
encodes data opens the tokenizer with `load_text_tokenizer`, to which such a string is ordinary text. Which family it
is, StarCoder's or StarCoder2's, is said by the vocabulary itself, so no second file can contradict it.
"""

from pathlib import Path

from tokenizers import Tokenizer

from components.errors import CorruptArtifactError
from components.fingerprint import canonical_json
from model.special_tokens import END_OF_TEXT, FAMILIES, names_of
from model.text_codec import TOKENIZER_FILE, ByteLevelCodec, TextCodecError, family_of

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TOKENIZER_FILES: tuple[str, ...] = (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)
"""What the artifact consists of, and what a bundle copies."""


def save_tokenizer(tokenizer: Tokenizer, out: Path) -> None:
    """Write the artifact's files under `out`; `transformers.AutoTokenizer` loads the directory."""
    special_tokens = FAMILIES[family_of(tokenizer)]
    end_of_text = special_tokens[END_OF_TEXT]
    config = {
        # The generic class takes everything from tokenizer.json; GPT-2's own would lose the split of digits.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end_of_text,
        "eos_token": end_of_text,
        "unk_token": end_of_text,
        "additional_special_tokens": list(special_tokens),
        "clean_up_tokenization_spaces": False,
    }
    (out / TOKENIZER_FILE).write_text(tokenizer.to_str(), "utf-8")
    (out / TOKENIZER_CONFIG_FILE).write_bytes(canonical_json(config) + b"\n")


def load_text_tokenizer(artifact: Path) -> Tokenizer:
    """The tokenizer for data: no text encodes to a special id, and decoding its ids gives the text back.

    CorruptArtifactError if its file is missing or damaged, or if training would refuse it.
    """
    try:
        ByteLevelCodec.read(artifact)
    except TextCodecError as error:
        raise CorruptArtifactError(str(error)) from error
    tokenizer: Tokenizer = Tokenizer.from_file(str(artifact / TOKENIZER_FILE))
    tokenizer.encode_special_tokens = True
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The id of each special token by its bare name (`file_sep`), as the tokenizer's own family has them."""
    return names_of(FAMILIES[family_of(tokenizer)])


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of `text` alone, nothing added."""
    return tokenizer.encode(text, add_special_tokens=False).ids
