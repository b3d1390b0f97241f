import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from components.errors import EmptyArtifactError
from components.file_sample import rows_of
from components.tokens.config import TokenizeCorpusConfig
from components.tokens.tokenize_corpus import metadata_prefix, run
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe
from model.special_tokens import END_OF_TEXT, FILENAME, REPONAME
from model.token_shards import TokenShards

CorpusOf = Callable[[Sequence[tuple[str, str, str]]], Path]
Program = Callable[[int], str]


def _config(probability: float = 0.0, shard_tokens: int = 1024, seed: int = 5) -> TokenizeCorpusConfig:
    return TokenizeCorpusConfig(recipe=1, shard_tokens=shard_tokens, metadata_probability=probability, seed=seed)


@pytest.fixture
def tokenizer(program: Program, tmp_path: Path) -> Path:
    place = tmp_path / "tokenizer"
    place.mkdir()
    save_tokenizer(train_bpe([program(number) for number in range(10)], 300, 2), place)
    return place


@pytest.fixture
def corpus(corpus_of: CorpusOf, program: Program) -> Path:
    splits = {8: "validation", 9: "test"}
    files = [(splits.get(number % 10, "train"), f"m{number}.py", program(number)) for number in range(40)]
    odd = "# \u00e9\u4e2d\U0001f600\r\nend = '<|endoftext|>' + '<fim_middle>' + '<reponame>'\n\x00\x0c\n"
    return corpus_of([*files, ("train", "odd.py", odd), ("train", "empty.py", "")])


def _documents(shards: Path, split: str) -> list[list[int]]:
    store = TokenShards(shards)
    stream = store.window(split, 0, store.num_tokens(split))
    borders = np.flatnonzero(stream == END_OF_TEXT)
    starts = [0, *(borders[:-1] + 1)]
    return [stream[start:end].tolist() for start, end in zip(starts, borders, strict=True)]


def _run(config: TokenizeCorpusConfig, corpus: Path, tokenizer: Path, out: Path):
    out.mkdir()
    return run(config, corpus_splits=corpus, tokenizer=tokenizer, out=out)


def test_every_document_decodes_to_its_file_in_the_order_of_the_corpus(
    corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    summary = _run(_config(), corpus, tokenizer, tmp_path / "out")
    text_tokenizer = load_text_tokenizer(tokenizer)
    for split in ("train", "validation", "test"):
        decoded = [text_tokenizer.decode(ids) for ids in _documents(tmp_path / "out", split)]
        assert decoded == [row["content"] for row in rows_of(corpus, split, ["content"])]
        assert summary.splits[split].documents == len(decoded)
        assert summary.splits[split].bytes == sum(len(text.encode()) for text in decoded)
        assert summary.splits[split].tokens == TokenShards(tmp_path / "out").num_tokens(split)
    TokenShards(tmp_path / "out").verify()


def test_the_same_corpus_gives_the_same_bytes(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    digests = []
    for name in ("first", "second"):
        _run(_config(probability=0.5), corpus, tokenizer, tmp_path / name)
        files = sorted((tmp_path / name).iterdir())
        digests.append([(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])
    assert digests[0] == digests[1]
    assert len(digests[0]) > 4, "the shards were not cut, so the test shows little"


def test_recipe_1_makes_these_bytes(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    _run(_config(probability=0.5), corpus, tokenizer, tmp_path / "out")
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()  # names the digest of every shard
    assert hashlib.sha256(manifest).hexdigest()[:16] == "8959a8953d4091b3", (
        "other bytes mean another recipe: raise tokenize_corpus.recipe and renew this test"
    )


def test_bytes_per_token_leaves_prefixes_and_borders_out(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    bare = _run(_config(0.0), corpus, tokenizer, tmp_path / "bare")
    prefixed = _run(_config(1.0), corpus, tokenizer, tmp_path / "prefixed")
    tokens, documents, num_bytes = (
        sum(getattr(split, field) for split in bare.splits.values()) for field in ("tokens", "documents", "bytes")
    )
    assert bare.bytes_per_token == pytest.approx(num_bytes / (tokens - documents))
    assert prefixed.bytes_per_token == bare.bytes_per_token
    assert prefixed.splits["train"].tokens > bare.splits["train"].tokens


def test_a_prefix_names_repository_and_path_by_special_tokens(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    _run(_config(1.0), corpus, tokenizer, tmp_path / "out")
    text_tokenizer = load_text_tokenizer(tokenizer)
    for row, ids in zip(
        rows_of(corpus, "test", ["path", "content"]), _documents(tmp_path / "out", "test"), strict=True
    ):
        assert ids[0] == REPONAME
        assert ids.count(FILENAME) == 1
        told = text_tokenizer.decode(ids, skip_special_tokens=False)
        assert told == f"<reponame>owner/project<filename>{row['path']}\n{row['content']}"


def test_prefixes_are_drawn_separately_by_seed_and_file_alone(tokenizer: Path) -> None:
    text_tokenizer = load_text_tokenizer(tokenizer)
    rows = [{"file_id": f"{number:032x}", "repository": "a/b", "path": "c.py"} for number in range(2000)]
    prefixes = [metadata_prefix(text_tokenizer, row, 0.2, 1) for row in rows]
    assert prefixes == [metadata_prefix(text_tokenizer, row, 0.2, 1) for row in rows]
    assert prefixes != [metadata_prefix(text_tokenizer, row, 0.2, 2) for row in rows]
    assert sum(REPONAME in ids for ids in prefixes) / 2000 == pytest.approx(0.2, abs=0.03)
    assert sum(FILENAME in ids for ids in prefixes) / 2000 == pytest.approx(0.2, abs=0.03)
    assert sum({REPONAME, FILENAME} <= set(ids) for ids in prefixes) / 2000 == pytest.approx(0.04, abs=0.015)
    newline = encode_text(text_tokenizer, "\n")
    assert all(ids == [] or ids[-1:] == newline for ids in prefixes)


def test_the_number_of_threads_changes_nothing(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(_config(0.5), corpus, tokenizer, tmp_path / "parallel")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    _run(_config(0.5), corpus, tokenizer, tmp_path / "alone")
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("parallel", "alone")]
    assert manifests[0] == manifests[1]


def test_a_corpus_without_text_is_refused(corpus_of: CorpusOf, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(EmptyArtifactError, match="no text to tokenize"):
        _run(_config(), corpus_of([("train", "empty.py", "")]), tokenizer, tmp_path / "out")
