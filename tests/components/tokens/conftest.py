"""Tokenizers of both families, learned from real files, and a corpus of several kinds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from components.tokens.tokenizer_files import load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe
from model.special_tokens import FAMILIES

_ODD = (
    "  \n\n   x\t\t y  'll don't we've  Stra\u00dfe \u4f60\u597d \u0301\u0301 \u0661\u0662 \u00a0\u00a0 \r\n\r\n ===",
) * 40


@pytest.fixture(scope="session")
def artifact_of(library_files: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Call it with a family: the tokenizer artifact of 2,000 entries, learned from real code and odd strings."""
    made: dict[str, Path] = {}

    def artifact(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            texts = [file["content"] for file in library_files[:40]]
            save_tokenizer(train_bpe([*texts, *_ODD], 2_000, 2, FAMILIES[family]), made[family])
        return made[family]

    return artifact


@pytest.fixture(scope="session")
def tokenizer(artifact_of: Callable[[str], Path]) -> Tokenizer:
    """StarCoder's."""
    return load_text_tokenizer(artifact_of("starcoder"))
