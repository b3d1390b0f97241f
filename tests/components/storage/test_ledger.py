"""The ledger of promotions, on each kind of store: one chain whoever adds to it, and every change of it found."""

import json
import math
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from components.errors import CorruptArtifactError, RegistryError
from components.fingerprint import digest_of
from components.registry.ledger import Ledger, all_ledgers, open_ledger
from components.registry.promotion import Check
from components.settings import Settings
from components.storage.directory_store import DirectoryStore
from tests.components.storage import racers
from tests.components.storage.conftest import Place

CHECKS = (Check(name="contracts hold", passed=True, why="every artifact upstream kept its contract"),)


def promote(ledger: Ledger, *versions: int, who: str = "Ada") -> None:
    for version in versions:
        assert ledger.append(ledger.read(), "promoted", version, f"{version:064}", CHECKS, who)


def key(number: int) -> str:
    return f"ledger/tiny/{number:08}.json"


def test_a_ledger_tells_who_promoted_what_over_what(place: Place) -> None:
    ledger = Ledger(place.store(), "tiny")
    assert ledger.read().champion is None
    assert ledger.append(ledger.read(), "adopted", 4, "a" * 64, (), "Grace")
    promote(ledger, 7)
    history = Ledger(place.store(), "tiny").read()
    assert [(one.number, one.event, one.version, one.champion_before, one.who) for one in history.entries] == [
        (1, "adopted", 4, None, "Grace"),
        (2, "promoted", 7, 4, "Ada"),
    ]
    assert history.champion == history.entries[1]
    assert history.champion.checks == CHECKS
    assert history.champion.before == history.entries[0].digest()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", history.champion.when)


def test_who_decided_on_an_older_history_adds_nothing(place: Place) -> None:
    ledger = Ledger(place.store(), "tiny")
    seen = ledger.read()
    promote(ledger, 1)
    assert ledger.append(seen, "promoted", 2, "b" * 64, (), "late") is None
    assert [entry.version for entry in ledger.read().entries] == [1]


def test_racing_promotions_make_one_chain(place: Place) -> None:
    numbers = racers.race(racers.promote, place, 4)
    entries = Ledger(place.store(), "tiny").read().entries
    assert sorted(numbers) == [entry.number for entry in entries] == list(range(1, 5))
    assert {entry.version for entry in entries} == set(range(4))
    assert [entry.champion_before for entry in entries] == [None, *(entry.version for entry in entries[:-1])]


def _altered(told: dict[str, Any]) -> dict[str, Any]:
    return told | {"who": "Mallory"}


def _forged(told: dict[str, Any]) -> dict[str, Any]:
    """With a digest that fits."""
    changed = {name: value for name, value in told.items() if name != "digest"} | {"who": "Mallory"}
    return changed | {"digest": digest_of(changed)}


def _of_another_time(told: dict[str, Any]) -> dict[str, Any]:
    changed = {name: value for name, value in told.items() if name != "digest"} | {"event": "crowned"}
    return changed | {"digest": digest_of(changed)}


@pytest.mark.parametrize(
    ("change", "named", "fault"),
    [
        (_altered, 2, "was altered"),
        (_forged, 3, "was exchanged: it does not follow the one before it"),
        (_of_another_time, 2, r"is none that this starloom knows \(event: .*\)"),
        (lambda told: [told], 2, "was altered"),
        (lambda told: told | {"version": math.nan}, 2, "was damaged"),
    ],
)
def test_an_entry_that_was_changed_is_named(
    place: Place, change: Callable[[dict[str, Any]], Any], named: int, fault: str
) -> None:
    ledger, store = Ledger(place.store(), "tiny"), place.store()
    promote(ledger, 1, 2, 3)
    store.put(key(2), json.dumps(change(json.loads(store.get(key(2))))).encode())
    told = (
        rf"^entry {named} of the ledger of tiny {fault}; bring {key(named)} of {re.escape(place.url)} back from a bac"
    )
    with pytest.raises(CorruptArtifactError, match=told):
        ledger.read()
    with pytest.raises(CorruptArtifactError):
        promote(ledger, 4)
    assert len(list(store.keys("ledger/"))) == 3


def test_an_entry_that_is_damaged_missing_or_of_another_model_is_named(place: Place) -> None:
    store = place.store()
    ledger = Ledger(store, "tiny")
    promote(ledger, 1, 2, 3)
    second = store.get(key(2))
    place.damage(key(2), second[:-9])
    with pytest.raises(CorruptArtifactError, match=r"^entry 2 of the ledger of tiny was damaged;"):
        ledger.read()
    store.delete(key(2))
    with pytest.raises(CorruptArtifactError, match=r"^entry 2 of the ledger of tiny is missing;"):
        ledger.read()
    other = Ledger(store, "other")
    promote(other, 1, 2)
    store.put(key(2), store.get("ledger/other/00000002.json"))
    with pytest.raises(CorruptArtifactError, match=r"^entry 2 of the ledger of tiny was exchanged:"):
        ledger.read()
    store.put(key(2), second)
    assert len(ledger.read().entries) == 3


def test_what_a_workspace_wrote_before_it_named_a_store_is_taken_along(tmp_path: Path, place: Place) -> None:
    alone = Settings(workspace=tmp_path / "workspace")
    promote(open_ledger("tiny", alone), 1, 2)
    assert len(list(alone.ledger_dir.glob("ledger,tiny,*.json"))) == 2
    sharing = alone.model_copy(update={"record_store": place.url})
    shared = open_ledger("tiny", sharing)
    assert shared.url == place.url
    assert shared.read() == open_ledger("tiny", alone).read()
    promote(shared, 3)
    assert [entry.version for entry in open_ledger("tiny", sharing).read().entries] == [1, 2, 3]
    assert [(ledger.url, ledger.model_name) for ledger in all_ledgers(sharing)] == [
        (str(alone.ledger_dir), "tiny"),
        (place.url, "tiny"),
    ]


def test_two_histories_of_one_model_are_not_mixed(tmp_path: Path, place: Place) -> None:
    here, there = (Settings(workspace=tmp_path / name) for name in ("here", "there"))
    promote(open_ledger("tiny", here), 1, 2)
    promote(open_ledger("tiny", there), 1, who="Grace")
    open_ledger("tiny", here.model_copy(update={"record_store": place.url}))
    before = list(place.store().keys())
    with pytest.raises(RegistryError, match=r"^the ledgers of tiny in .*there.* tell different histories; name the"):
        open_ledger("tiny", there.model_copy(update={"record_store": place.url}))
    assert list(place.store().keys()) == before


def test_of_two_histories_that_come_at_once_one_stays_whole(tmp_path: Path) -> None:
    workspaces = [Settings(workspace=tmp_path / who) for who in ("Ada", "Grace")]
    for settings in workspaces:
        promote(open_ledger("tiny", settings), *range(1, 9), who=settings.workspace.name)
    start = threading.Barrier(2)

    def share(settings: Settings) -> int:
        start.wait(10)
        try:
            return len(
                open_ledger("tiny", settings.model_copy(update={"record_store": str(tmp_path / "s")})).read().entries
            )
        except RegistryError:
            return 0

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(share, workspaces)) == [0, 8]
    entries = Ledger(DirectoryStore(tmp_path / "s"), "tiny").read().entries
    assert len({entry.who for entry in entries}) == 1
