import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from components.errors import EmptyArtifactError, ParamsError, SourceError
from components.markup import mark
from components.tokens.config import TrainTokenizerConfig
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer
from components.tokens.train_tokenizer import resolve_sources, run, train_bpe
from model.reporting import ListSink, reporting_to
from model.special_tokens import FAMILIES, STARCODER, STARCODER2

TableOf = Callable[..., Path]
CorpusOf = Callable[[Sequence[tuple[str, str, str]]], Path]
Program = Callable[[int], str]


NOWHERE = Path("/nowhere")
"""The workspace, for tests that take nothing from it."""


def _config(
    vocab_size: int = 300,
    sample_bytes: int = 1 << 20,
    special_tokens: str = "starcoder",
    take_from: str | None = None,
) -> TrainTokenizerConfig:
    return TrainTokenizerConfig.model_validate(
        {
            "recipe": 2,
            "take_from": take_from,
            "special_tokens": special_tokens,
            "vocab_size": vocab_size,
            "min_frequency": 2,
            "sample_bytes": sample_bytes,
            "seed": 7,
        }
    )


@pytest.fixture
def corpus(corpus_of: CorpusOf, program: Program) -> Path:
    files = [("train", f"pkg/m{number}.py", program(number)) for number in range(40)]
    return corpus_of([*files, ("validation", "v.py", "zqj" * 400), ("test", "t.py", "zqj" * 400)])


def _out(tmp_path: Path, name: str) -> Path:
    place = tmp_path / name
    place.mkdir()
    return place


def test_the_vocabulary_has_the_asked_size_with_special_tokens_first_and_all_bytes(
    corpus: Path, tmp_path: Path
) -> None:
    out = _out(tmp_path, "out")
    summary = run(_config(), corpus_splits=corpus, workspace=NOWHERE, out=out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    assert summary.vocab_size == tokenizer.get_vocab_size() == 300
    assert summary.num_merges == 300 - 19 - 256
    assert [tokenizer.id_to_token(token_id) for token_id in range(19)] == list(STARCODER)


def test_the_tokens_of_starcoder2_come_first_in_its_family(corpus: Path, tmp_path: Path) -> None:
    out = _out(tmp_path, "out")
    summary = run(_config(special_tokens="starcoder2"), corpus_splits=corpus, workspace=NOWHERE, out=out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    assert (summary.vocab_size, summary.num_merges) == (300, 300 - 38 - 256)
    assert [tokenizer.id_to_token(token_id) for token_id in range(38)] == list(STARCODER2)


def test_a_vocabulary_too_small_for_its_family_is_refused() -> None:
    assert _config(vocab_size=294, special_tokens="starcoder2").vocab_size == 294
    with pytest.raises(ValidationError, match=r"vocab_size 293 does not hold .* starcoder2 .* raise it to 294"):
        _config(vocab_size=293, special_tokens="starcoder2")


def test_marks_of_structured_documents_are_not_learned(table_of: TableOf, tmp_path: Path) -> None:
    content = "".join(f"{mark('issue_comment')}the same text\n" for _ in range(200))
    tables = [table_of([{"kind": kind, "content": content, "split": "train"}]) for kind in ("issue", "file")]
    merges: list[set[str]] = []
    for name, table in zip(("issue", "file"), tables, strict=True):
        out = _out(tmp_path, name)
        run(_config(vocab_size=330), corpus_splits=table, workspace=NOWHERE, out=out)
        pairs = json.loads((out / "tokenizer.json").read_text())["model"]["merges"]
        merges.append({"".join(pair) for pair in pairs})
    assert "comment" not in merges[0]
    assert "\u0120text" in merges[0]
    assert "comment" in merges[1], "the marks of a plain file are text, so the test shows nothing"


def test_the_same_corpus_gives_the_same_bytes_in_any_order_of_files(
    corpus: Path, corpus_of: CorpusOf, program: Program, tmp_path: Path
) -> None:
    backward = corpus_of([("train", f"pkg/m{number}.py", program(number)) for number in reversed(range(40))])
    outs = [_out(tmp_path, name) for name in ("first", "second", "third")]
    summaries = [
        run(_config(), corpus_splits=each, workspace=NOWHERE, out=out)
        for each, out in zip((corpus, corpus, backward), outs, strict=True)
    ]
    assert summaries[0] == summaries[1]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert len({(out / name).read_bytes() for out in outs}) == 1


def test_recipe_2_makes_these_bytes(corpus: Path, tmp_path: Path) -> None:
    out = _out(tmp_path, "out")
    run(_config(), corpus_splits=corpus, workspace=NOWHERE, out=out)
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in out.iterdir()}
    expected = {"tokenizer.json": "194b8485dcb67f13", "tokenizer_config.json": "9304ecd22e1e90de"}
    assert digests == expected, "other bytes mean another recipe: raise train_tokenizer.recipe and renew this test"


def test_only_the_train_split_and_no_more_than_the_sample_is_read(corpus: Path, tmp_path: Path) -> None:
    out = _out(tmp_path, "out")
    summary = run(_config(sample_bytes=2000), corpus_splits=corpus, workspace=NOWHERE, out=out)
    assert 0 < summary.sample_bytes <= 2000
    assert 0 < summary.sample_files < 40
    merges = json.loads((out / "tokenizer.json").read_text())["model"]["merges"]
    assert "zq" not in {"".join(pair) for pair in merges}, "a pair of the held-out files was merged"


def test_a_corpus_with_too_few_pairs_gives_a_smaller_vocabulary_and_says_so(corpus: Path, tmp_path: Path) -> None:
    sink = ListSink()
    with reporting_to(sink):
        summary = run(_config(vocab_size=60_000), corpus_splits=corpus, workspace=NOWHERE, out=_out(tmp_path, "out"))
    assert 275 < summary.vocab_size < 60_000
    assert f"the tokenizer has {summary.vocab_size} entries, not 60000" in sink.notes[0]


def test_a_corpus_without_training_files_is_refused(corpus_of: CorpusOf, tmp_path: Path) -> None:
    corpus = corpus_of([("test", "t.py", "x = 1\n")])
    with pytest.raises(EmptyArtifactError, match=r"train_tokenizer\.sample_bytes 1048576"):
        run(_config(), corpus_splits=corpus, workspace=NOWHERE, out=_out(tmp_path, "out"))


def test_digits_stand_alone_and_no_space_is_put_before_text(tmp_path: Path) -> None:
    tokenizer = train_bpe(["12345 12345 12345 the the the the"] * 50, 400, 2)
    assert tokenizer.encode("12345 the").tokens == ["1", "2", "3", "4", "5", "\u0120the"]
    assert tokenizer.encode("the").tokens == ["the"]


@pytest.mark.parametrize("tokens", FAMILIES.values(), ids=FAMILIES.keys())
def test_special_tokens_repeated_in_the_source_are_learned_as_ordinary_text(tokens: tuple[str, ...]) -> None:
    text = "".join(f"x = '{token}'\n" for token in tokens)
    tokenizer = train_bpe([text] * 500, 2000, 2, tokens)
    assert [tokenizer.id_to_token(token_id) for token_id in range(len(tokens))] == list(tokens)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    assert not {"".join(pair) for pair in merges} & set(tokens), "BPE made a special token out of text"


def test_transformers_loads_it_with_the_same_ids_and_reads_special_tokens(corpus: Path, tmp_path: Path) -> None:
    out = _out(tmp_path, "out")
    run(_config(), corpus_splits=corpus, workspace=NOWHERE, out=out)
    peer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    text = "def area_12(radius):\r\n\treturn 3.14159 , 'caf\u00e9 \u4e2d' # don't\n"
    assert peer(text)["input_ids"] == encode_text(load_text_tokenizer(out), text)
    assert peer.decode(peer(text)["input_ids"]) == text
    assert peer("<fim_prefix>a<fim_suffix>b<fim_middle>")["input_ids"][0] == 1
    assert (peer.bos_token_id, peer.eos_token_id, peer.unk_token_id) == (0, 0, 0)
    assert set(STARCODER) <= set(peer.all_special_tokens)


@pytest.fixture
def workspace(corpus: Path, tmp_path: Path) -> Path:
    """With a tokenizer of 300 entries in `models/base`."""
    place = tmp_path / "workspace" / "models" / "base"
    place.mkdir(parents=True)
    run(_config(), corpus_splits=corpus, workspace=NOWHERE, out=place)
    return tmp_path / "workspace"


def test_a_tokenizer_is_taken_as_it_is(corpus_of: CorpusOf, workspace: Path, tmp_path: Path) -> None:
    other = corpus_of([("train", "a.py", "other text, other merges\n" * 50)])
    out = _out(tmp_path, "taken")
    summary = run(_config(take_from="models/base"), corpus_splits=other, workspace=workspace, out=out)
    assert (summary.vocab_size, summary.num_merges, summary.sample_files) == (300, 300 - 19 - 256, 0)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (out / file).read_bytes() == (workspace / "models" / "base" / file).read_bytes()


def test_what_is_taken_is_a_source_by_its_bytes(workspace: Path) -> None:
    digest = hashlib.sha256((workspace / "models" / "base" / "tokenizer.json").read_bytes()).hexdigest()
    assert resolve_sources(_config(take_from="models/base"), workspace) == {"take_from": digest}
    assert resolve_sources(_config(), workspace) == {}


@pytest.mark.parametrize(
    ("config", "error", "sentence"),
    [
        (_config(take_from="models/none"), SourceError, r"take_from: .*models/none.*cannot be read"),
        (_config(take_from="models/base", vocab_size=301), ParamsError, r"vocab_size is 301, but .* has 300; say so"),
        (
            _config(take_from="models/base", special_tokens="starcoder2"),
            ParamsError,
            r"special_tokens is starcoder2, but .* has starcoder; say so",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_taken_is_named(
    corpus: Path, workspace: Path, tmp_path: Path, config: TrainTokenizerConfig, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        run(config, corpus_splits=corpus, workspace=workspace, out=_out(tmp_path, "out"))
