"""From corpus to token shards: every document, in order, the same bytes whoever encodes it and after whatever kill."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.errors import EmptyArtifactError, ParamsError
from components.file_sample import rows_of
from components.markup import mark, visible
from components.runner import PoolRunner, use_runner
from components.tables import shards_of
from components.tokens.config import TokenizeCorpusConfig
from components.tokens.tokenize_corpus import TokenizeCorpusSummary, run
from components.tokens.tokenizer_files import TOKENIZER_FILES, load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe
from model.reporting import ListSink, reporting_to
from model.special_tokens import END_OF_TEXT, STARCODER, names_of
from model.token_shards import TokenShards

TableOf = Callable[..., Path]
CorpusOf = Callable[[Sequence[tuple[str, str, str]]], Path]
Program = Callable[[int], str]
ArtifactOf = Callable[[str], Path]
V1 = names_of(STARCODER)


def _config(probability: float = 0.0, **changes: Any) -> TokenizeCorpusConfig:
    said = {
        "recipe": 4,
        "shard_tokens": 1024,
        "layout": "files",
        "prefix_probabilities": {"repository": probability, "path": probability, "stars": probability},
        "repository_documents": {"order": "dependency", "named_probability": 0.5, "max_document_bytes": 4096},
        "encoder_check_bytes": 4096,
        "seed": 5,
    }
    return TokenizeCorpusConfig.model_validate(said | changes)


@pytest.fixture
def tokenizer(program: Program, tmp_path: Path) -> Path:
    """Few merges, so that documents are long. One of its own, as bytes are pinned that depend on it."""
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


@pytest.fixture
def mixed(table_of: TableOf, program: Program) -> Path:
    """Several shards of files, scripts, notebooks and issues of three repositories."""
    rows: list[dict[str, Any]] = []
    for number in range(36):
        row = {
            "kind": ("file", "file", "notebook_script", "issue", "file", "notebook")[number % 6],
            "repository": f"owner/r{number % 3}",
            "path": f"m{number}.py",
            "content": program(number),
            "stars": number * 40,
            "split": ("train", "train", "validation", "test")[number % 4],
        }
        if row["kind"] == "issue":
            row["content"] = f"{mark('issue_start')}Title: {number}{mark('issue_comment')}username_0: <issue_start>"
        if row["kind"] == "notebook":
            row["content"] = (
                f"{mark('jupyter_start')}{mark('jupyter_code')}x{mark('jupyter_output')}{mark('empty_output')}"
            )
        rows.append(row)
    return table_of(rows, shard_bytes=900)


def _documents(shards: Path, split: str, source: str) -> list[list[int]]:
    store = TokenShards(shards)
    stream = store.window(split, source, 0, store.num_tokens(split, source))
    borders = np.flatnonzero(stream == END_OF_TEXT)
    starts = [0, *(borders[:-1] + 1)][: len(borders)]
    return [stream[start:end].tolist() for start, end in zip(starts, borders, strict=True)]


def _by_source(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each source, in the order of the corpus."""
    streams: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        streams.setdefault("python" if row["kind"] == "file" else row["kind"], []).append(row)
    return streams


def _run(config: TokenizeCorpusConfig, corpus: Path, tokenizer: Path, out: Path) -> TokenizeCorpusSummary:
    out.mkdir()
    return run(config, corpus_splits=corpus, tokenizer=tokenizer, out=out, work_dir=out.with_name(f"{out.name} work"))


def _digests(out: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(out.iterdir())}


def test_every_document_decodes_to_its_file_in_the_order_of_the_corpus(
    corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    summary = _run(_config(), corpus, tokenizer, tmp_path / "out")
    text_tokenizer = load_text_tokenizer(tokenizer)
    for split in ("train", "validation", "test"):
        decoded = [text_tokenizer.decode(ids) for ids in _documents(tmp_path / "out", split, "python")]
        assert decoded == [row["content"] for row in rows_of(corpus, split, ["content"])]
        assert summary.splits[split].documents == len(decoded)
        assert summary.splits[split].bytes == sum(len(text.encode()) for text in decoded)
        assert summary.splits[split].tokens == TokenShards(tmp_path / "out").num_tokens(split)
        assert summary.splits[split].tokens_by_source == {"python": summary.splits[split].tokens}
    TokenShards(tmp_path / "out").verify()
    assert (summary.encoder, summary.special_tokens) == ("compiled", "starcoder")
    assert 0 < summary.encoder_check_bytes <= 4096


def test_recipe_4_makes_these_bytes(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    """Of an index the rows are hashed, so that a new release of Parquet's writer changes nothing here."""
    _run(_config(probability=0.5), corpus, tokenizer, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))  # names the digest of every shard
    for stream in (stream for split in manifest["splits"].values() for stream in split["sources"].values()):
        stream["index"]["sha256"] = pq.read_table(tmp_path / "out" / stream["index"]["file"]).to_pylist()
    told = json.dumps(manifest, sort_keys=True).encode()
    assert hashlib.sha256(told).hexdigest()[:16] == "0ed79adf38688714", (
        "other bytes mean another recipe: raise tokenize_corpus.recipe and renew this test"
    )


@pytest.mark.parametrize("layout", ["files", "repositories"])
def test_the_index_tells_where_every_document_comes_from(
    mixed: Path, artifact_of: ArtifactOf, layout: str, tmp_path: Path
) -> None:
    named = {"order": "random", "named_probability": 1.0, "max_document_bytes": 4096}
    _run(_config(layout=layout, repository_documents=named), mixed, artifact_of("starcoder2"), tmp_path / "out")
    shards, text_tokenizer = TokenShards(tmp_path / "out"), load_text_tokenizer(artifact_of("starcoder2"))
    shards.verify()
    rows = {
        row["path"]: row for split in shards.splits for row in rows_of(mixed, split, ["repository", "path", "content"])
    }
    files = 0
    for split, source in [(name, source) for name in shards.splits for source in shards.sources(name)]:
        for document in shards.documents(split, source, 0, shards.num_tokens(split, source)):
            ids = shards.window(split, source, document.start, document.tokens)
            assert [place for place, number in enumerate(ids) if number == END_OF_TEXT] == [len(ids) - 1]
            told, origin = text_tokenizer.decode(ids[:-1].tolist(), skip_special_tokens=False), document.origin
            assert origin.repository == rows[origin.path]["repository"]
            if "<file_sep>" in told:
                assert told.startswith(f"<repo_name>{origin.repository}<file_sep>{origin.path}\n")
                assert told.count("<file_sep>") == origin.files
            else:
                assert told.endswith(visible(rows[origin.path]["content"]))
            files += origin.files
    assert files == len(rows) == 36


def test_bytes_per_token_leaves_prefixes_and_borders_out(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    bare = _run(_config(0.0), corpus, tokenizer, tmp_path / "bare")
    prefixed = _run(_config(1.0), corpus, tokenizer, tmp_path / "prefixed")
    tokens, documents, num_bytes = (
        sum(getattr(split, field) for split in bare.splits.values()) for field in ("tokens", "documents", "bytes")
    )
    assert bare.bytes_per_token == pytest.approx(num_bytes / (tokens - documents))
    assert prefixed.bytes_per_token == bare.bytes_per_token
    assert prefixed.splits["train"].tokens > bare.splits["train"].tokens


def test_a_prefix_names_repository_path_and_stars_by_special_tokens(
    mixed: Path, tokenizer: Path, tmp_path: Path
) -> None:
    summary = _run(_config(1.0), mixed, tokenizer, tmp_path / "out")
    text_tokenizer = load_text_tokenizer(tokenizer)
    columns = ["kind", "repository", "path", "content"]
    streams = _by_source(rows_of(mixed, "test", columns))
    assert set(streams) == set(TokenShards(tmp_path / "out").sources("test")) > {"python", "issue"}
    for row, ids in (
        pair
        for source, rows in streams.items()
        for pair in zip(rows, _documents(tmp_path / "out", "test", source), strict=True)
    ):
        told = text_tokenizer.decode(ids, skip_special_tokens=False)
        if row["kind"] in ("issue", "notebook"):
            assert told == visible(row["content"])
            assert ids[0] in (V1["issue_start"], V1["jupyter_start"])
            continue
        prefix = f"<reponame>{row['repository']}<filename>{row['path']}<gh_stars>"
        assert told.startswith(prefix)
        assert told.endswith(f"\n{row['content']}")
        assert [number for number in ids if number < 19] == [V1["reponame"], V1["filename"], V1["gh_stars"]]
    assert sum(split.documents for split in summary.splits.values()) == 36


def test_a_pool_of_workers_writes_the_same_bytes(mixed: Path, artifact_of: ArtifactOf, tmp_path: Path) -> None:
    """Of repositories, which are dealt by the pool too; a layout of files takes the same way without."""
    config = _config(layout="repositories")
    tokenizer = artifact_of("starcoder2")
    assert len(shards_of(mixed)) > 4
    alone = _run(config, mixed, tokenizer, tmp_path / "alone")
    with use_runner(PoolRunner(2, inline_bytes=0)):
        together = _run(config, mixed, tokenizer, tmp_path / "together")
    assert alone == together
    assert _digests(tmp_path / "alone") == _digests(tmp_path / "together")


def test_repositories_become_documents_and_what_stands_alone_stays_alone(
    mixed: Path, artifact_of: ArtifactOf, tmp_path: Path
) -> None:
    summary = _run(_config(layout="repositories"), mixed, artifact_of("starcoder2"), tmp_path / "out")
    text_tokenizer = load_text_tokenizer(artifact_of("starcoder2"))
    rows = [row for split in summary.splits for row in rows_of(mixed, split, ["kind", "content"])]
    told = [
        text_tokenizer.decode(ids, skip_special_tokens=False)
        for split in summary.splits
        for source in summary.splits[split].tokens_by_source
        for ids in _documents(tmp_path / "out", split, source)
    ]
    assert set(summary.splits["train"].tokens_by_source) == {"issue", "notebook", "notebook_script", "repository"}
    for row in rows:
        alone = {"issue": "", "notebook": "", "notebook_script": "<jupyter_script>"}.get(row["kind"])
        if alone is not None:
            assert f"{alone}{visible(row['content'])}" in told
        else:
            assert sum("<file_sep>" in text and row["content"] in text for text in told) == 1
    assert sum(text.count("<file_sep>") for text in told) == sum(row["kind"] == "file" for row in rows)
    shared = sum("<file_sep>" in text for text in told)
    assert shared < 18
    assert sum(split.bytes for split in summary.splits.values()) == sum(
        len(row["content"].encode()) for row in rows if row["kind"] in ("file", "notebook_script")
    ) + sum(len(_text_of(row["content"])) for row in rows if row["kind"] in ("issue", "notebook"))


def _text_of(content: str) -> str:
    for name in ("issue_start", "issue_comment", "jupyter_start", "jupyter_code", "jupyter_output", "empty_output"):
        content = content.replace(mark(name), "")
    return content


def test_what_was_encoded_before_a_kill_is_taken_and_what_is_damaged_or_half_written_is_not(
    mixed: Path, tokenizer: Path, tmp_path: Path
) -> None:
    config, work = _config(0.5), tmp_path / "work"
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    run(config, corpus_splits=mixed, tokenizer=tokenizer, out=tmp_path / "first", work_dir=work)
    encoded = sorted(work.iterdir())
    kept, damaged, lost = encoded[:4], encoded[4], encoded[5:]
    before = {path: path.stat().st_mtime_ns for path in kept}
    (damaged / "ids.bin").write_bytes((damaged / "ids.bin").read_bytes()[:-2])
    for path in lost:
        path.rename(path.with_name(f"{path.name}.123.part"))
        (path.with_name(f"{path.name}.123.part") / "ids.bin").write_bytes(b"half")
    run(config, corpus_splits=mixed, tokenizer=tokenizer, out=tmp_path / "second", work_dir=work)
    assert _digests(tmp_path / "first") == _digests(tmp_path / "second")
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    other = _config(0.5, seed=6)
    run(other, corpus_splits=mixed, tokenizer=tokenizer, out=tmp_path / "third", work_dir=work)
    assert _digests(tmp_path / "first") != _digests(tmp_path / "third"), "the draws of another seed were taken for ours"


def test_a_tokenizer_that_we_cannot_compile_is_used_by_the_library_and_the_note_says_why(
    mixed: Path, tokenizer: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    shutil.copytree(tokenizer, slow)
    said = json.loads((slow / TOKENIZER_FILES[0]).read_text("utf-8"))
    # The pieces of a text that is split at digits only once more are the same.
    said["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "Digits", "individual_digits": True})
    (slow / TOKENIZER_FILES[0]).write_text(json.dumps(said), "utf-8")
    sink = ListSink()
    with reporting_to(sink):
        by_library = _run(_config(0.5), mixed, slow, tmp_path / "slow out")
    compiled = _run(_config(0.5), mixed, tokenizer, tmp_path / "out")
    assert (by_library.encoder, compiled.encoder) == ("tokenizers", "compiled")
    assert "ids come from the library tokenizers" in sink.notes[0]
    assert "its pre_tokenizer is" in sink.notes[0]
    assert _digests(tmp_path / "slow out") == _digests(tmp_path / "out")


def test_repositories_need_the_tokens_of_starcoder2(mixed: Path, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"layout repositories needs <file_sep>.*starcoder2"):
        _run(_config(layout="repositories"), mixed, tokenizer, tmp_path / "out")


def test_a_corpus_without_text_is_refused(corpus_of: CorpusOf, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(EmptyArtifactError, match="no text to tokenize"):
        _run(_config(), corpus_of([("train", "empty.py", "")]), tokenizer, tmp_path / "out")
