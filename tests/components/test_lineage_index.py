"""The lineage index on SQLite and on PostgreSQL: the same answers, grown or made anew, whoever else writes."""

import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from components.config import load_config
from components.errors import CorruptArtifactError, StorageError
from components.fingerprint import digest_of
from components.lineage import StepRecord, archive_record, send_records, write_record
from components.lineage_index import LINEAGE_DATABASE, Downstream, IndexedModel, Standing, current_index
from components.registry.ledger import open_ledger
from components.settings import Settings
from components.store import FileDigest, digest_files
from components.training.start_model import find_start
from tests.components import index_askers
from tests.components.made_up_records import record_of
from tests.postgres_server import PostgresServer, live_postgres, private_postgres, system_programs

ROOT = Path(__file__).parents[2]
WEIGHTS = {
    name: FileDigest(sha256=digit * 64, size_bytes=1) for name, digit in (("a.safetensors", "1"), ("b.txt", "2"))
}
TOKENIZER = {"tokenizer.json": FileDigest(sha256="3" * 64, size_bytes=1)}
TABLES = "record, known_as, stands_on, model_version, promotion"

RAW = record_of("raw_files", digest="a" * 64)
CORPUS = record_of("corpus_splits", RAW, digest="b" * 64)
TOKENS = record_of("tokenizer", CORPUS, files=TOKENIZER)
SHARDS = record_of("token_shards", CORPUS, TOKENS)
CHECKPOINT = record_of("checkpoint", SHARDS)
BUNDLE = record_of("bundle", CHECKPOINT, files=WEIGHTS)
EVALUATED = record_of("eval_report", BUNDLE, CORPUS)
CHAIN = (RAW, CORPUS, TOKENS, SHARDS, CHECKPOINT, BUNDLE, EVALUATED)

OTHER_RAW = record_of("raw_files", digest="c" * 64)
OTHER_SHARDS = record_of("token_shards", OTHER_RAW)
TUNED = record_of("checkpoint", OTHER_SHARDS, sources={"start_from": digest_of({"a.safetensors": "1" * 64})})
TUNED_EVALUATED = record_of("eval_report", TUNED)
BORROWED = record_of("tokenizer", OTHER_RAW, sources={"take_from": "3" * 64})
OTHERS = (OTHER_RAW, OTHER_SHARDS, TUNED, TUNED_EVALUATED, BORROWED)


@dataclass(frozen=True)
class Database:
    """Where the indexes of a test lie; empty at its start."""

    url: SecretStr | None
    server: PostgresServer | None = None

    def workspace(self, place: Path, **more: str) -> Settings:
        return Settings(workspace=place, database_url=self.url, **more)

    def drop(self, settings: Settings) -> None:
        if self.server is None:
            settings.lineage_index.unlink()
            return
        self.server.query(LINEAGE_DATABASE, f"DROP TABLE IF EXISTS {TABLES}")


@pytest.fixture(scope="module")
def private() -> Iterator[PostgresServer]:
    programs = system_programs()
    if programs is None:
        pytest.skip("no /usr/lib/postgresql: install Debian's postgresql, or set STARLOOM_TEST_DATABASE_URL")
    with private_postgres(programs) as server:
        server.query("postgres", f"CREATE DATABASE {LINEAGE_DATABASE}")
        yield server


@pytest.fixture(scope="module")
def live() -> PostgresServer:
    server = live_postgres()
    if server is None:
        pytest.skip("no PostgreSQL server: set STARLOOM_TEST_DATABASE_URL to postgresql://USER:PASSWORD@HOST:PORT")
    return server


@pytest.fixture(params=["sqlite", "private", pytest.param("live", marks=pytest.mark.pg_live)])
def database(request: pytest.FixtureRequest) -> Database:
    if request.param == "sqlite":
        return Database(None)
    server: PostgresServer = request.getfixturevalue(request.param)
    database = Database(SecretStr(server.url), server)
    database.drop(Settings(workspace=Path("/nowhere")))
    return database


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return database.workspace(tmp_path / "workspace")


def keep(settings: Settings, *records: StepRecord) -> None:
    for record in records:
        archive_record(record, settings)


def ask(settings: Settings, start: StepRecord, registered: list[tuple[str, int, str]] | None = None) -> Downstream:
    with current_index(settings, registered or ()) as index:
        assert index.notes == []
        return index.downstream([start.record_digest()])


def digests(*records: StepRecord) -> set[str]:
    return {record.record_digest() for record in records}


def arrows(below: Downstream) -> set[tuple[str, str]]:
    return {(upstream, one.digest) for upstream, standing in below.standing_on.items() for one in standing}


def test_what_stands_on_a_record_is_all_below_it_and_nothing_else(settings: Settings) -> None:
    keep(settings, *CHAIN, *OTHERS)
    below = ask(settings, SHARDS)
    assert set(below.records) == digests(SHARDS, CHECKPOINT, BUNDLE, EVALUATED, TUNED, TUNED_EVALUATED)
    assert below.records[BUNDLE.record_digest()].artifact == "bundle"
    assert set(ask(settings, TUNED_EVALUATED).records) == digests(TUNED_EVALUATED)
    assert ask(settings, record_of("never_made")).records == {}


def test_two_ways_to_a_record_are_two_arrows_and_one_record(settings: Settings) -> None:
    keep(settings, *CHAIN)
    below = ask(settings, CORPUS)
    assert set(below.records) == digests(*CHAIN[1:])
    assert arrows(below) == {
        (one.record_digest(), other.record_digest())
        for one, other in (
            *((CORPUS, TOKENS), (CORPUS, SHARDS), (CORPUS, EVALUATED), (TOKENS, SHARDS), (SHARDS, CHECKPOINT)),
            *((CHECKPOINT, BUNDLE), (BUNDLE, EVALUATED)),
        )
    }


def test_what_was_begun_with_a_model_or_took_a_tokenizer_stands_on_it(settings: Settings) -> None:
    keep(settings, *OTHERS, *CHAIN)
    assert set(ask(settings, BUNDLE).records) == digests(BUNDLE, EVALUATED, TUNED, TUNED_EVALUATED)
    assert digests(BORROWED) <= set(ask(settings, TOKENS).records)
    assert not digests(BORROWED) & set(ask(settings, SHARDS).records)


def test_a_training_knows_a_model_by_the_name_that_the_index_gives_it(settings: Settings) -> None:
    for name in ("config.json", "model.safetensors", "README.md", "_record.json"):
        (settings.artifacts_dir / "bundle").mkdir(parents=True, exist_ok=True)
        (settings.artifacts_dir / "bundle" / name).write_text(name)
    bundle = record_of("bundle", CHECKPOINT, files=digest_files(settings.artifacts_dir / "bundle"))
    write_record(bundle, settings.artifacts_dir / "bundle")
    pretrain = load_config(ROOT / "params.yaml").pretrain.model_copy(update={"start_from": "artifacts/bundle"})
    start = find_start(pretrain, settings.workspace)
    assert start
    tuned = record_of("checkpoint", OTHER_SHARDS, sources={"start_from": start.digest})
    keep(settings, *CHAIN, tuned)
    assert set(ask(settings, bundle).records) == digests(bundle, tuned)


def test_model_versions_stand_at_the_end_and_say_what_they_are(settings: Settings) -> None:
    keep(settings, *CHAIN, *OTHERS)
    ledger = open_ledger("tiny", settings)
    for version, record in ((1, EVALUATED), (3, TUNED_EVALUATED)):
        assert ledger.append(ledger.read(), "promoted", version, record.record_digest(), (), "Ada")
    registered = [("tiny", 2, EVALUATED.record_digest()), ("tiny", 3, TUNED_EVALUATED.record_digest())]
    below = ask(settings, RAW, registered)
    assert below.models == {
        EVALUATED.record_digest(): (
            IndexedModel("tiny", 1, Standing.WAS_CHAMPION),
            IndexedModel("tiny", 2, Standing.NEVER),
        ),
        TUNED_EVALUATED.record_digest(): (IndexedModel("tiny", 3, Standing.CHAMPION),),
    }
    assert ledger.append(ledger.read(), "promoted", 1, EVALUATED.record_digest(), (), "Ada")
    models = ask(settings, RAW).models  # the index remembers version 2
    assert [one.standing for one in models[EVALUATED.record_digest()]] == [Standing.CHAMPION, Standing.NEVER]
    assert [one.standing for one in models[TUNED_EVALUATED.record_digest()]] == [Standing.WAS_CHAMPION]


def test_grown_in_any_order_is_as_made_anew(settings: Settings, database: Database) -> None:
    registered = [("tiny", 1, EVALUATED.record_digest())]
    for record in (EVALUATED, *OTHERS, SHARDS, *CHAIN):
        keep(settings, record)
        ask(settings, RAW)
    grown = ask(settings, RAW, registered)
    assert len(grown.records) == len(CHAIN) + 3
    database.drop(settings)
    assert ask(settings, RAW, registered) == grown


def test_a_long_line_of_descent_is_followed_to_its_end(settings: Settings) -> None:
    line = [RAW]
    while len(line) < 600:
        line.append(record_of("checkpoint", line[-1]))
    keep(settings, *line)
    assert len(ask(settings, RAW).records) == 600


def test_a_digest_is_found_by_its_beginning(settings: Settings) -> None:
    keep(settings, *CHAIN)
    with current_index(settings) as index:
        for digest in (RAW.digest, RAW.record_digest()):
            assert [one.artifact for one in index.find(digest[:12])] == ["raw_files"]
        assert index.find("0" * 64) == []


def test_records_that_came_with_their_artifacts_alone_are_there(settings: Settings) -> None:
    place = settings.artifacts_dir / "raw_files" / "_record.json"
    place.parent.mkdir(parents=True)
    place.write_text(RAW.model_dump_json())
    assert set(ask(settings, RAW).records) == digests(RAW)


@pytest.mark.parametrize("tables", ["there", "not there yet"])
def test_two_workspaces_write_at_once(database: Database, tmp_path: Path, tables: str) -> None:
    """On SQLite two processes of one workspace."""
    names = ("here", "there") if database.server else ("here", "here")
    askers = [database.workspace(tmp_path / name) for name in names]
    if tables == "there":
        ask(askers[0], RAW)
    wide = [record_of("quality_files", RAW, summary={"files": number}) for number in range(150)]
    keep(askers[0], RAW, *wide[:100])
    keep(askers[1], RAW, *wide[50:])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([index_askers.__name__])
    start = context.Barrier(2)
    with ProcessPoolExecutor(2, context, index_askers.prepare, (start,)) as pool:
        answers = list(pool.map(index_askers.ask_at_once, askers, [RAW.record_digest()] * 2))
    assert digests(RAW, *wide[:100]) <= set(answers[0])
    assert digests(RAW, *wide[50:]) <= set(answers[1])
    assert set(ask(askers[0], RAW).records) == digests(RAW, *wide)


def test_what_another_workspace_sent_is_there(database: Database, tmp_path: Path) -> None:
    here, there = (database.workspace(tmp_path / name, record_store=str(tmp_path / "store")) for name in ("a", "b"))
    keep(here, *CHAIN)
    send_records(here)
    keep(there, *OTHERS)
    assert digests(*CHAIN, TUNED) <= set(ask(there, RAW).records)
    assert not any((there.records_dir / f"{digest}.json").exists() for digest in digests(*CHAIN))


def test_a_record_store_that_is_away_is_told_with_the_answer(settings: Settings, tmp_path: Path) -> None:
    keep(settings, *CHAIN)
    (tmp_path / "store").write_text("no directory")
    with current_index(settings.model_copy(update={"record_store": str(tmp_path / "store")})) as index:
        assert set(index.downstream(digests(BUNDLE)).records) == digests(BUNDLE, EVALUATED)
    records, promotions = index.notes
    told = f"{tmp_path / 'store'} cannot be used (Not a directory); make room there or mend its path or permissions"
    assert records == f"records that only STARLOOM_RECORD_STORE holds may be missing: {told}"
    assert promotions == f"promotions may be missing: {told}"


def test_an_altered_record_is_no_answer(settings: Settings) -> None:
    keep(settings, RAW)
    (settings.records_dir / f"{RAW.record_digest()}.json").write_text(OTHER_RAW.model_dump_json())
    with pytest.raises(CorruptArtifactError, match="was altered"):
        ask(settings, RAW)


def test_a_file_that_is_no_index_is_told(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path)
    settings.state_dir.mkdir()
    settings.lineage_index.write_bytes(b"no database" * 1000)
    told = rf"^the lineage index {re.escape(str(settings.lineage_index))} cannot be used \(.*\); free some space, or"
    with pytest.raises(StorageError, match=told):
        ask(settings, RAW)


def test_a_database_that_is_away_stops_only_the_question(private: PostgresServer, tmp_path: Path) -> None:
    database = Database(SecretStr(private.url), private)
    settings = database.workspace(tmp_path / "workspace")
    database.drop(settings)
    keep(settings, *CHAIN)
    before = ask(settings, RAW)
    place = private.url.rpartition("@")[2]
    told = rf"^the lineage index starloom_lineage on {place} cannot be used \([^\n]*\); start the server, make that da"

    def ask_while_it_is_stopped() -> None:
        with current_index(settings) as index:
            private.stop()
            index.downstream(digests(RAW))

    with pytest.raises(StorageError, match=told):
        ask_while_it_is_stopped()
    with pytest.raises(StorageError, match=told) as caught:
        ask(settings, RAW)
    password = private.url.removeprefix("postgresql://app:").partition("@")[0]
    assert password not in str(caught.value)
    keep(settings, *OTHERS)  # as a step does, whose work nothing stops
    private.start()
    after = ask(settings, RAW)
    assert set(before.records) == digests(*CHAIN)
    assert set(after.records) == digests(*CHAIN, TUNED, TUNED_EVALUATED, BORROWED)


def test_a_database_that_was_never_made_is_told(private: PostgresServer, tmp_path: Path) -> None:
    private.query("postgres", "ALTER DATABASE starloom_lineage RENAME TO put_aside")
    try:
        with pytest.raises(StorageError, match='database "starloom_lineage" does not exist'):
            ask(Settings(workspace=tmp_path, database_url=SecretStr(private.url)), RAW)
    finally:
        private.query("postgres", "ALTER DATABASE put_aside RENAME TO starloom_lineage")
