"""The whole pipeline, raw Parquet to token shards, stage by stage and against the sum of the peers' stages.

Ours are the steps themselves, one after the other in one process: each reads the Parquet of the one before and writes
its own, its dropped rows with their reasons, and its pieces for a resume. A peer is given what the step before made of
the sample, as texts in memory (datatrove and Daft: as Parquet), and writes nothing. Steps that no peer has count for
ours alone. The tokenizer and the list of 3,000 benchmark texts are made beforehand.

There are two sums. The usual peers are those that StarCoder's pipeline is made of or stands for. The fastest peer of a
stage does less: addresses but no secrets, signatures but no duplicates, the first text found but no spans or n-grams.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks import decontamination, deduplication, encode_text, quality_filters, redaction
from benchmarks.comparison import Comparison, Finding, Work, take_turns
from benchmarks.source_files import PACKAGES, SourceFile, at_most, megabytes, source_files, write_table
from components.config import load_config
from components.corpus import decontaminate, deduplicate, filter_quality, permit_files, split_corpus
from components.evaluation.problem_table import write_problems
from components.redaction import redact_secrets
from components.tables import read_files
from components.tokens import tokenize_corpus
from components.tokens.tokenizer_files import save_tokenizer

ROOT = Path(__file__).parents[1]
SAMPLE_BYTES, LEARNED_BYTES = 100_000_000, 24_000_000
REPETITIONS = 3
CONFIG = load_config(ROOT / "params.yaml")
QUALITY = quality_filters.starcoder_rules()

Files = Sequence[SourceFile]


@dataclass(frozen=True)
class Peers:
    """Who does the work of a stage: several together as StarCoder's pipeline has it, or the fastest for most of it."""

    usual: tuple[Work, ...] = ()
    fastest: tuple[Work, ...] = ()

    @property
    def all(self) -> list[Work]:
        """Each once."""
        return list(dict.fromkeys((*self.usual, *self.fastest)))


@dataclass(frozen=True)
class Prepared:
    """What there is before the first step."""

    place: Path
    tokenizer: Tokenizer
    texts: Sequence[str]
    """Of benchmarks."""


@dataclass(frozen=True)
class Stage:
    """One step, called with the artifact that goes in, the folder of the one that comes out and a working directory."""

    name: str
    run: Callable[[Path, Path, Path], object]
    peers: Callable[[Files, Path], Peers] = lambda files, artifact: Peers()
    """Called with what goes in."""


def compare() -> list[Comparison | Finding]:
    """A row for each step and peer, and one for each sum."""
    files = source_files(SAMPLE_BYTES, places=(PACKAGES,), suffixes=quality_filters.NO_PAGES)
    rows: list[Comparison | Finding] = []
    ours, usual, fastest = 0.0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        prepared = prepare(Path(name), files, encode_text.VOCABULARY, decontamination.NUM_TEXTS)
        artifact = write_table(files, prepared.place / "raw")
        for stage in stages_of(prepared):
            given = files_of(artifact)
            peers = stage.peers(given, artifact)
            works = [run_anew(stage, artifact, prepared.place), *(peer.run for peer in peers.all)]
            step, *others = take_turns(works, REPETITIONS)
            seconds = dict(zip(peers.all, (other.seconds for other in others), strict=True))
            rows += _rows_of(stage.name, megabytes(given), step.seconds, seconds)
            ours += step.seconds
            usual += _for_all(peers.usual, seconds, megabytes(given))
            fastest += _for_all(peers.fastest, seconds, megabytes(given))
            artifact = step.result
    what = f"whole pipeline, raw Parquet to token shards, {len(files):,} files"
    return [
        *rows,
        Comparison(what, "MB/s", megabytes(files), "the usual peers' stages together", ours, usual),
        Comparison(what, "MB/s", megabytes(files), "the fastest peers' stages together", ours, fastest),
    ]


def _rows_of(name: str, amount: float, ours: float, seconds: dict[Work, float]) -> Iterable[Comparison | Finding]:
    what = f"pipeline: {name}, {amount:.1f} MB"
    if not seconds:
        yield Finding(what, f"{amount / ours:,.1f} MB/s", "", "no peer")
    for peer, taken in seconds.items():
        yield Comparison(what, "MB/s", amount, peer.name, ours, taken, peer.amount)


def _for_all(peers: Iterable[Work], seconds: dict[Work, float], amount: float) -> float:
    """What the peers would take for all that goes into the stage."""
    return sum(seconds[peer] * amount / peer.amount for peer in peers)


def run_anew(stage: Stage, artifact: Path, place: Path) -> Callable[[], Path]:
    """The step with nothing to resume from; gives the folder of what it makes."""
    runs = count()

    def run() -> Path:
        out = place / f"{stage.name}-{next(runs)}"
        out.mkdir()
        stage.run(artifact, out, out.with_suffix(".work"))
        return out

    return run


def files_of(artifact: Path) -> list[SourceFile]:
    batches = read_files(artifact, ["path", "content"])
    return [SourceFile(row["path"], row["content"].encode()) for batch in batches for row in batch.to_pylist()]


def prepare(place: Path, files: Files, vocabulary: int, num_texts: int) -> Prepared:
    """A tokenizer learned from some of the files, the library's texts as problems, and nobody who opted out."""
    learned = at_most(LEARNED_BYTES, files)
    tokenizer = encode_text.learn([file.content.decode() for file in learned], vocabulary)
    texts = decontamination.library_texts(num_texts)
    for folder in ("tokenizer", "problems"):
        (place / folder).mkdir()
    save_tokenizer(tokenizer, place / "tokenizer")
    write_problems(decontamination.problems(texts), place / "problems")
    write_table([], place / "nothing")
    (place / "opt_outs.json").write_text('{"repositories": [], "users": []}')
    (place / "tagger.json").write_text('{"enabled": false, "encoder": null, "overlap_tokens": 0}')
    return Prepared(place, tokenizer, texts)


def stages_of(prepared: Prepared) -> list[Stage]:
    """The steps in their order."""
    place, nothing = prepared.place, prepared.place / "nothing"
    return [
        Stage(
            "filter_quality",
            lambda given, out, work: filter_quality.run(
                QUALITY.config, raw_files=given, workspace=place, out=out, work_dir=work
            ),
            _quality_peers,
        ),
        Stage(
            "permit_files",
            lambda given, out, work: permit_files.run(
                CONFIG.permit_files,
                quality_files=given,
                **dict.fromkeys(("notebook_files", "issue_files", "commit_files"), nothing),
                opt_outs=place,
                out=out,
                work_dir=work,
            ),
        ),
        Stage(
            "redact_secrets",
            lambda given, out, work: redact_secrets.run(
                CONFIG.redact_secrets, permitted_files=given, pii_tagger=place, out=out, work_dir=work
            ),
            _redaction_peers,
        ),
        Stage(
            "deduplicate",
            lambda given, out, work: deduplicate.run(CONFIG.deduplicate, redacted_files=given, out=out, work_dir=work),
            lambda files, artifact: _deduplication_peers(files, artifact, place),
        ),
        Stage(
            "decontaminate",
            lambda given, out, work: decontaminate.run(
                CONFIG.decontaminate, unique_files=given, eval_problems=place / "problems", out=out, work_dir=work
            ),
            lambda files, artifact: _decontamination_peers(files, prepared.texts),
        ),
        Stage(
            "split_corpus",
            lambda given, out, work: split_corpus.run(CONFIG.split_corpus, clean_files=given, out=out, work_dir=work),
        ),
        Stage(
            "tokenize_corpus",
            lambda given, out, work: _tokenize(given, place / "tokenizer", out, work),
            lambda files, artifact: _encoding_peers(files, prepared.tokenizer),
        ),
    ]


def _tokenize(given: Path, tokenizer: Path, out: Path, work: Path) -> object:
    work.mkdir()
    return tokenize_corpus.run(CONFIG.tokenize_corpus, corpus_splits=given, tokenizer=tokenizer, out=out, work_dir=work)


def _quality_peers(files: Files, artifact: Path) -> Peers:
    run = quality_filters.polars_work(quality_filters.batches_of(files), QUALITY)
    polars = Work("Polars expressions", megabytes(files), run)
    return Peers((polars,), (polars,))


def _redaction_peers(files: Files, artifact: Path) -> Peers:
    few, some = at_most(redaction.DETECT_SECRETS_BYTES, files), at_most(redaction.REGEX_BYTES, files)
    keys = Work("detect-secrets, as BigCode asks it", megabytes(few), redaction.detect_secrets_work(few))
    addresses = Work("BigCode's regexes, re", megabytes(some), redaction.regex_work(some))
    return Peers((keys, addresses), (addresses,))


def _deduplication_peers(files: Files, artifact: Path, place: Path) -> Peers:
    some = at_most(deduplication.DATATROVE_BYTES, files)
    table = write_table(some, place / "datatrove")
    datatrove = Work("datatrove, four stages", megabytes(some), deduplication.datatrove_work(table, place))
    daft = Work("Daft minhash, signatures only", megabytes(files), deduplication.daft_work(artifact, place))
    return Peers((datatrove,), (daft,))


def _decontamination_peers(files: Files, texts: Sequence[str]) -> Peers:
    some = at_most(decontamination.SEARCHED_BYTES, files)
    loop = Work("substring loop", megabytes(some), decontamination.substring_work(texts, some))
    automaton = Work("pyahocorasick", megabytes(files), decontamination.automaton_work(texts, files))
    return Peers((loop,), (automaton,))


def _encoding_peers(files: Files, tokenizer: Tokenizer) -> Peers:
    some = at_most(encode_text.ENCODED_BYTES, files)
    library = Work("tokenizers encode_batch_fast", megabytes(some), encode_text.library_work(tokenizer, some))
    fast = Work("fastokens encode_ordinary", megabytes(some), encode_text.fastokens_work(tokenizer, some))
    return Peers((library,), (fast,))
