"""The ledger of a model: who made which version its champion, when and by which checks. Entries are only ever added.

    ledger/MODEL/00000001.json   the first entry: canonical JSON, its own digest among it
    ledger/MODEL/00000002.json   names the digest of the first, and so on: a hash chain

It lies in the record store, so that all who promote the model add to one chain, or without one in the workspace. It is
the truth; the alias in MLflow is its projection (`champion.py`).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from components.errors import CorruptArtifactError, MissingInputError, RegistryError
from components.fingerprint import canonical_json, digest_of
from components.lineage import record_store
from components.registry.promotion import Check
from components.settings import Settings
from components.storage.directory_store import DirectoryStore
from components.storage.generations import Generation, Generations
from components.storage.object_store import ObjectStore

_KEPT_UNDER = "ledger/"
_DIGEST = "digest"


class LedgerEntry(BaseModel):
    """One change of the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    model_name: str
    number: int
    """From 1, without a gap."""
    before: str | None
    """Digest of the entry before; null in the first."""
    event: Literal["promoted", "adopted"]
    """`adopted`: it was the champion before there was a ledger."""
    version: int
    lineage: str
    """Digest of the version's eval_report record."""
    champion_before: int | None
    checks: tuple[Check, ...]
    """Of the decision."""
    who: str
    """As the workspace says it, not proven."""
    when: str
    """UTC, ISO 8601."""

    def digest(self) -> str:
        """sha256 of the whole; pins every entry before."""
        return digest_of(self.model_dump(mode="json"))


@dataclass(frozen=True)
class History:
    """A ledger as it was read, its chain verified, the oldest entry first."""

    entries: tuple[LedgerEntry, ...]

    @property
    def champion(self) -> LedgerEntry | None:
        """The entry that made the champion what it is; None while there never was one."""
        return self.entries[-1] if self.entries else None


class Ledger:
    """The ledger of one model in one store. StorageError if the store cannot be used."""

    def __init__(self, store: ObjectStore, model_name: str) -> None:
        """Reads nothing yet."""
        self.url = store.url
        self.model_name = model_name
        self._generations = Generations(store, f"{_KEPT_UNDER}{model_name}")

    def read(self) -> History:
        """All entries; CorruptArtifactError names the first that is missing, was altered or stands in no chain."""
        entries: list[LedgerEntry] = []
        for number in self._generations.numbers():
            if number != len(entries) + 1:
                self._refuse(len(entries) + 1, "is missing")
            entries.append(self._entry(number, entries[-1].digest() if entries else None))
        return History(tuple(entries))

    def append(
        self,
        seen: History,
        event: Literal["promoted", "adopted"],
        version: int,
        lineage: str,
        checks: Iterable[Check],
        who: str,
    ) -> LedgerEntry | None:
        """Add to the history that was `seen`; None if somebody else was faster: read again and decide again."""
        champion = seen.champion
        entry = LedgerEntry(
            model_name=self.model_name,
            number=len(seen.entries) + 1,
            before=champion.digest() if champion else None,
            event=event,
            version=version,
            lineage=lineage,
            champion_before=champion.version if champion else None,
            checks=tuple(checks),
            who=who,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return entry if self._put(entry) else None

    def take_over(self, other: "Ledger") -> None:
        """Add what `other` has beyond this one; RegistryError, and nothing added, if the two tell different stories."""
        theirs = other.read().entries
        if not theirs:
            return
        ours = self.read().entries
        if any(mine != other_one for mine, other_one in zip(ours, theirs, strict=False)):
            raise RegistryError(
                f"the ledgers of {self.model_name} in {other.url} and in {self.url} tell different histories; name the "
                "model otherwise in register_model.model_name, or remove the ledger that shall not count"
            )
        for entry in theirs[len(ours) :]:
            if not self._put(entry):
                self.take_over(other)  # somebody else was faster: read again and compare again
                return

    def _put(self, entry: LedgerEntry) -> bool:
        content = canonical_json(entry.model_dump(mode="json") | {_DIGEST: entry.digest()}) + b"\n"
        seen = Generation(entry.number - 1, b"") if entry.number > 1 else None
        return self._generations.swap(seen, content) is not None

    def _entry(self, number: int, before: str | None) -> LedgerEntry:
        try:
            told: Any = json.loads(self._generations.at(number).content)
            digest = told.pop(_DIGEST, None) if isinstance(told, dict) else None
            is_whole = digest == digest_of(told)
        except MissingInputError:
            self._refuse(number, "is missing")
        except (CorruptArtifactError, ValueError):
            self._refuse(number, "was damaged")
        if not is_whole:
            self._refuse(number, "was altered")
        try:
            entry = LedgerEntry.model_validate(told)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            self._refuse(number, f"is none that this starloom knows ({fault['loc'][0]}: {fault['msg']})")
        if (entry.model_name, entry.number, entry.before) != (self.model_name, number, before):
            self._refuse(number, "was exchanged: it does not follow the one before it")
        return entry

    def _refuse(self, number: int, fault: str) -> NoReturn:
        raise CorruptArtifactError(
            f"entry {number} of the ledger of {self.model_name} {fault}; bring {self._generations.name(number)} of "
            f"{self.url} back from a backup, since no promotion can stand on it"
        )


def open_ledger(model_name: str, settings: Settings) -> Ledger:
    """The ledger of a model; what was written in the workspace before it named a record store is taken along."""
    own, shared = _own_store(settings), record_store(settings)
    if shared is None:
        return Ledger(own, model_name)
    ledger = Ledger(shared, model_name)
    ledger.take_over(Ledger(own, model_name))
    return ledger


def all_ledgers(settings: Settings) -> list[Ledger]:
    """Of every model that has one in the workspace or the record store; the same one twice, if it was taken along."""
    stores = [store for store in (_own_store(settings), record_store(settings)) if store is not None]
    return [Ledger(store, name) for store in stores for name in _models(store)]


def _models(store: ObjectStore) -> list[str]:
    return sorted({key.removeprefix(_KEPT_UNDER).partition("/")[0] for key in store.keys(_KEPT_UNDER)})


def _own_store(settings: Settings) -> ObjectStore:
    return DirectoryStore(settings.ledger_dir)
