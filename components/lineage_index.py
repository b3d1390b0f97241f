"""The lineage index: what stands on this? A projection of records, ledgers and registry into SQL, and never the truth.

    record         what each record is of
    known_as       the names under which others may stand on it: its record's digest, a model's digest, a tokenizer's
    stands_on      the names that a record stands on: its inputs' records, its sources
    model_version  which record each registered version was evaluated in
    promotion      the entries of the ledgers

It lies in the workspace (SQLite), or for all workspaces on the PostgreSQL server of STARLOOM_DATABASE_URL. It is
written where it is asked, before the answer: each question first adds what the archive, the record store, the ledgers
and the registry have and the index has not. So no step, pod or promotion needs the database, nobody hands them its
password, and one that is away stops nothing but the question. It can be deleted at any time.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from components.errors import StorageError
from components.fingerprint import digest_of
from components.lineage import (
    StepRecord,
    archive_record,
    archived_digests,
    archived_record,
    read_record,
    record_store,
    stored_digests,
    stored_record,
)
from components.registry.ledger import all_ledgers
from components.settings import DATABASE_VARIABLE, RECORD_STORE_VARIABLE, Settings
from components.store import RECORD_FILE, holds_model, storage_errors_told
from model.text_codec import TOKENIZER_FILE

LINEAGE_DATABASE = "starloom_lineage"

_NAMES_OF_A_QUESTION = 500
"""Of one IN list; SQLite took 999 variables before 3.32."""
_CONNECT_SECONDS = 10
_CREATE_LOCK = 0x57A41006
"""Any number of our own: PostgreSQL's CREATE TABLE IF NOT EXISTS fails when two do it at once."""
_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_tables = sql.MetaData()
_record = sql.Table(
    "record",
    _tables,
    sql.Column("digest", sql.Text, primary_key=True),
    sql.Column("artifact", sql.Text, nullable=False),
    sql.Column("step", sql.Text, nullable=False),
    sql.Column("bytes_digest", sql.Text, nullable=False, index=True),
)
_known_as = sql.Table(
    "known_as",
    _tables,
    sql.Column("record", sql.Text, primary_key=True),
    sql.Column("name", sql.Text, primary_key=True, index=True),
)
_stands_on = sql.Table(
    "stands_on",
    _tables,
    sql.Column("record", sql.Text, primary_key=True),
    sql.Column("name", sql.Text, primary_key=True, index=True),
)
_model_version = sql.Table(
    "model_version",
    _tables,
    sql.Column("model_name", sql.Text, primary_key=True),
    sql.Column("version", sql.Integer, primary_key=True),
    sql.Column("lineage", sql.Text, primary_key=True, index=True),
)
_promotion = sql.Table(
    "promotion",
    _tables,
    sql.Column("ledger", sql.Text, primary_key=True),  # digest of its first entry: a model's name may have several
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("model_name", sql.Text, nullable=False),
    sql.Column("version", sql.Integer, nullable=False),
    sql.Column("lineage", sql.Text, nullable=False, index=True),
)


class Standing(Enum):
    """What a model version is or was."""

    CHAMPION = "champion"
    WAS_CHAMPION = "was champion"
    NEVER = "never champion"


@dataclass(frozen=True, order=True)
class IndexedRecord:
    """A record, as far as the index knows it."""

    artifact: str
    step: str
    bytes_digest: str
    digest: str
    """Of the record."""


@dataclass(frozen=True)
class IndexedModel:
    """A registered model version."""

    name: str
    version: int
    standing: Standing


@dataclass(frozen=True)
class Downstream:
    """All that stands on some records, them included. Sorted, so that equal indexes give equal answers."""

    records: Mapping[str, IndexedRecord]
    """By record digest."""
    standing_on: Mapping[str, tuple[IndexedRecord, ...]]
    """By record digest, what stands on it without anything between."""
    models: Mapping[str, tuple[IndexedModel, ...]]
    """By the digest of the record that they were registered with."""


class LineageIndex:
    """The index within one transaction, as new as its sources."""

    def __init__(self, connection: sql.Connection) -> None:
        self._connection = connection
        self.notes: list[str] = []
        """What could not be looked at, for the person who asks."""

    def find(self, digest_prefix: str) -> list[IndexedRecord]:
        """Every record whose digest, or whose artifact's digest, begins so."""
        begins = sql.or_(*(column.startswith(digest_prefix) for column in (_record.c.digest, _record.c.bytes_digest)))
        return _records(self._connection.execute(sql.select(_record).where(begins)))

    def downstream(self, starts: Iterable[str]) -> Downstream:
        """What stands on the records of these digests, however far down."""
        chosen = sql.select(_record.c.digest).where(_record.c.digest.in_(sorted(starts)))
        below = chosen.cte("below", recursive=True)
        below = below.union(  # not UNION ALL: two ways to a record are one
            sql.select(_stands_on.c.record)
            .join(_known_as, _known_as.c.name == _stands_on.c.name)
            .join(below, below.c.digest == _known_as.c.record)
        )
        ask = self._connection.execute
        records = _records(ask(sql.select(_record).join(below, below.c.digest == _record.c.digest)))
        by_digest = {record.digest: record for record in records}
        arrows = ask(
            sql.select(_known_as.c.record, _stands_on.c.record)
            .distinct()
            .join(_stands_on, _stands_on.c.name == _known_as.c.name)
            .join(below, below.c.digest == _known_as.c.record)
        )
        standing_on: dict[str, list[IndexedRecord]] = {}
        for upstream, record in arrows:
            standing_on.setdefault(upstream, []).append(by_digest[record])
        return Downstream(by_digest, {key: tuple(sorted(of)) for key, of in standing_on.items()}, self._models(below))

    def _models(self, below: sql.CTE) -> dict[str, tuple[IndexedModel, ...]]:
        newest = sql.select(_promotion.c.ledger, sql.func.max(_promotion.c.number).label("number"))
        newest_of = newest.group_by(_promotion.c.ledger).subquery()
        was = sql.select(_promotion.c.number).where(
            *(_promotion.c[name] == _model_version.c[name] for name in ("model_name", "version", "lineage"))
        )
        stands = was.join(
            newest_of,
            sql.and_(newest_of.c.ledger == _promotion.c.ledger, newest_of.c.number == _promotion.c.number),
        )
        standing = sql.case(
            (stands.exists(), Standing.CHAMPION.value),
            (was.exists(), Standing.WAS_CHAMPION.value),
            else_=Standing.NEVER.value,
        )
        found = self._connection.execute(
            sql.select(_model_version, standing).join(below, below.c.digest == _model_version.c.lineage)
        )
        models: dict[str, list[IndexedModel]] = {}
        for name, version, lineage, told in sorted(found):
            models.setdefault(lineage, []).append(IndexedModel(name, version, Standing(told)))
        return {lineage: tuple(of) for lineage, of in models.items()}


@contextmanager
def current_index(settings: Settings, registered: Iterable[tuple[str, int, str]] = ()) -> Generator[LineageIndex]:
    """The index, brought up to date, for as long as the block runs; `registered` as `model_registry.lineages` gives it.

    StorageError if the database cannot be used, CorruptArtifactError if a record or a ledger was altered: an answer
    that leaves something out unsaid would be worse than none.
    """
    url, place, mend = _database(settings)
    options = {"connect_timeout": _CONNECT_SECONDS} if url.drivername.startswith("postgresql") else {"timeout": 60}
    engine = sql.create_engine(url, poolclass=sql.NullPool, connect_args=options)
    try:
        with storage_errors_told(settings.workspace):
            settings.state_dir.mkdir(parents=True, exist_ok=True)
        with engine.begin() as connection:
            _make_tables(connection)
            index = LineageIndex(connection)
            index.notes += _add_records(connection, settings)
            index.notes += _add_promotions(connection, settings)
            _insert(connection, _model_version, registered)
            yield index
    except SQLAlchemyError as error:
        told = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise StorageError(f"the lineage index {place} cannot be used ({told}); {mend}") from error


def _database(settings: Settings) -> tuple[sql.URL, str, str]:
    """Where it lies, for the driver and for a person, and what mends it."""
    if settings.database_url is None:
        path = settings.lineage_index
        return (
            sql.URL.create("sqlite", database=str(path)),
            str(path),
            "free some space, or delete the file: it is made anew",
        )
    server = sql.make_url(settings.database_url.get_secret_value())
    url = server.set(drivername="postgresql+psycopg", database=LINEAGE_DATABASE)
    place = f"{LINEAGE_DATABASE} on {url.host}:{url.port or 5432}"
    return url, place, f"start the server, make that database anew, or mend {DATABASE_VARIABLE}"


def _make_tables(connection: sql.Connection) -> None:
    last = _tables.sorted_tables[-1]
    if sql.inspect(connection).has_table(last.name):
        return
    if connection.dialect.name == "postgresql":
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_CREATE_LOCK)))
    for table in _tables.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _add_records(connection: sql.Connection, settings: Settings) -> list[str]:
    """Index each record that is not yet; what could not be looked at."""
    with storage_errors_told(settings.workspace):
        for path in settings.artifacts_dir.glob(f"*/{RECORD_FILE}"):  # DVC may have brought what nobody archived
            archive_record(read_record(path), settings)
    unknown = _unknown(connection, archived_digests(settings))
    records = [archived_record(digest, settings) for digest in unknown]
    notes: list[str] = []
    store = record_store(settings)
    if store is not None:
        try:
            elsewhere = _unknown(connection, set(stored_digests(store)) - set(unknown))
            records += [stored_record(digest, store) for digest in elsewhere]
        except StorageError as error:
            notes.append(f"records that only {RECORD_STORE_VARIABLE} holds may be missing: {error}")
    _insert(connection, _record, ((r.record_digest(), r.artifact, r.step, r.digest) for r in records))
    _insert(connection, _known_as, ((r.record_digest(), name) for r in records for name in _names_of(r)))
    _insert(connection, _stands_on, ((r.record_digest(), name) for r in records for name in _names_below(r)))
    return notes


def _names_of(record: StepRecord) -> set[str]:
    """The names under which a record downstream may have this one: see `pretrain.start_from` and `take_from`."""
    names = {record.record_digest()}
    if record.artifact == "bundle":
        model = {name: file.sha256 for name, file in record.files.items() if holds_model(name)}
        names.add(digest_of(model))
    if record.artifact == "tokenizer":
        names |= {file.sha256 for name, file in record.files.items() if name == TOKENIZER_FILE}
    return names


def _names_below(record: StepRecord) -> set[str]:
    return {reference.record for reference in record.inputs.values()} | set(record.sources.values())


def _add_promotions(connection: sql.Connection, settings: Settings) -> list[str]:
    try:
        entries = [
            (history.entries[0].digest(), entry)
            for history in (ledger.read() for ledger in all_ledgers(settings))
            for entry in history.entries
        ]
    except StorageError as error:
        return [f"promotions may be missing: {error}"]
    _insert(connection, _promotion, ((first, e.number, e.model_name, e.version, e.lineage) for first, e in entries))
    _insert(connection, _model_version, ((e.model_name, e.version, e.lineage) for _, e in entries))
    return []


def _unknown(connection: sql.Connection, digests: Iterable[str]) -> list[str]:
    """Those that the index has no record of."""
    asked, unknown = sorted(digests), list[str]()
    for start in range(0, max(1, len(asked)), _NAMES_OF_A_QUESTION):
        some = asked[start : start + _NAMES_OF_A_QUESTION]
        known = set(connection.scalars(sql.select(_record.c.digest).where(_record.c.digest.in_(some))))
        unknown += [digest for digest in some if digest not in known]
    return unknown


def _insert(connection: sql.Connection, table: sql.Table, rows: Iterable[Sequence[Any]]) -> None:
    """Add the rows that are not there. In one order for all: who waits for another is never waited for by that one."""
    names = [column.name for column in table.columns]
    values = [dict(zip(names, row, strict=True)) for row in sorted(set(map(tuple, rows)))]
    if values:
        connection.execute(_INSERT[connection.dialect.name](table).on_conflict_do_nothing(), values)


def _records(rows: Iterable[Any]) -> list[IndexedRecord]:
    return sorted(IndexedRecord(row.artifact, row.step, row.bytes_digest, row.digest) for row in rows)
