"""Promotions through ledger and registry, with a real MLflow: the alias is where the ledger says, whatever happens."""

import multiprocessing
import re
import sqlite3
import time
from pathlib import Path

import mlflow
import pytest

from components.errors import RegistryError
from components.registry.ledger import open_ledger
from components.registry.promote_model import reconcile
from components.settings import Settings
from tests.components.registry.registry_house import CONFIG, NAME, RegistryHouse, new_registry, promote_at_once


@pytest.fixture(scope="module")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a registry without models; making one takes seconds."""
    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def house(empty_registry: Path, tmp_path: Path) -> RegistryHouse:
    uri = new_registry(empty_registry, tmp_path / "mlflow")
    return RegistryHouse(Settings(workspace=tmp_path / "workspace", tracking_uri=uri))


def test_a_promotion_is_an_entry_and_then_the_alias(house: RegistryHouse) -> None:
    house.register(1.5)
    assert house.promote(1).promoted
    house.register(1.4)
    decision = house.promote(2)
    assert (decision.promoted, decision.champion_before, decision.settled) == (True, 1, None)
    assert house.promotions() == [("promoted", 1, None), ("promoted", 2, 1)]
    assert house.alias() == 2
    newest = open_ledger(NAME, house.settings).read().entries[-1]
    assert newest.checks == decision.checks
    assert "1.4000 against 1.5000 bits per byte" in {check.why for check in newest.checks}
    champion = house.registry.champion()
    assert champion
    assert (champion.lineage, champion.ledger_entry) == (newest.lineage, newest.digest())


def test_what_is_champion_and_what_may_not_be_add_nothing(house: RegistryHouse) -> None:
    house.register(1.5)
    house.register(1.6)
    house.promote(1)
    assert house.promote(1).promoted
    assert not house.promote(2).promoted
    assert house.promotions() == [("promoted", 1, None)]
    assert house.alias() == 1


@pytest.mark.parametrize("by", ["reconcile", "the next promotion"])
def test_an_alias_that_was_moved_by_hand_is_put_back(house: RegistryHouse, by: str) -> None:
    for bits in (1.5, 1.4, 1.6):
        house.register(bits)
    house.promote(1)
    house.promote(2)
    house.move_alias(3)
    told = reconcile(CONFIG, house.settings) if by == "reconcile" else house.promote(3).settled
    assert told == (
        f"the champion's alias of {NAME} stood on version 3; it is back on version 2, as entry 2 of the ledger says"
    )
    assert house.alias() == 2
    assert reconcile(CONFIG, house.settings) is None
    assert house.promotions() == [("promoted", 1, None), ("promoted", 2, 1)]


def test_a_champion_from_before_there_was_a_ledger_is_its_first_entry(house: RegistryHouse) -> None:
    house.register(1.5)
    house.register(1.4)
    house.move_alias(1)
    decision = house.promote(2)
    assert decision.settled == "version 1, champion before there was a ledger, is now its first entry"
    assert house.promotions() == [("adopted", 1, None), ("promoted", 2, 1)]
    assert house.alias() == 2


def test_a_model_without_a_champion_has_no_ledger(house: RegistryHouse) -> None:
    house.register(1.5)
    assert reconcile(CONFIG, house.settings) is None
    assert house.promotions() == []


def test_a_process_that_dies_between_entry_and_alias_is_made_good(house: RegistryHouse) -> None:
    house.register(1.5)
    house.register(1.4)
    house.promote(1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([promote_at_once.__module__])
    locked = sqlite3.connect(house.database, isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")  # MLflow can be read and not be written: the alias has to wait
    try:
        start = context.Barrier(1)
        dying = context.Process(target=promote_at_once, args=(start, house.settings, 2))
        dying.start()
        deadline = time.monotonic() + 60
        while len(list(house.settings.ledger_dir.glob("*.json"))) < 2:
            assert dying.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        dying.kill()
        dying.join(10)
    finally:
        locked.rollback()
        locked.close()
    assert (house.alias(), house.promotions()[-1]) == (1, ("promoted", 2, 1))
    told = reconcile(CONFIG, house.settings)
    assert told
    assert told.endswith("stood on version 1; it is back on version 2, as entry 2 of the ledger says")
    assert house.alias() == 2


def test_workspaces_that_promote_at_once_leave_the_best_model_as_champion(house: RegistryHouse, tmp_path: Path) -> None:
    shared = house.settings.model_copy(update={"record_store": str(tmp_path / "records")})
    sharing = RegistryHouse(shared)
    for bits in (1.5, 1.1, 1.2, 1.3):
        sharing.register(bits)
    sharing.promote(1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([promote_at_once.__module__])
    start = context.Barrier(3)
    racing = [
        context.Process(
            target=promote_at_once,
            args=(start, shared.model_copy(update={"workspace": tmp_path / f"workspace-{version}"}), version),
        )
        for version in (2, 3, 4)
    ]
    for process in racing:
        process.start()
    for process in racing:
        process.join(60)
    assert [process.exitcode for process in racing] == [0, 0, 0]
    promotions = sharing.promotions()
    # Whoever came after the best one was refused by it: 1.5, perhaps 1.3, perhaps 1.2, then 1.1.
    assert [version for _, version, _ in promotions] in ([1, 2], [1, 3, 2], [1, 4, 2], [1, 4, 3, 2])
    assert sharing.alias() == 2
    assert reconcile(CONFIG, shared) is None


def test_a_workspace_that_looks_for_the_ledger_elsewhere_moves_nothing(house: RegistryHouse, tmp_path: Path) -> None:
    sharing = RegistryHouse(house.settings.model_copy(update={"record_store": str(tmp_path / "records")}))
    for bits in (1.5, 1.4, 1.3):
        sharing.register(bits)
    house.promote(1)
    sharing.promote(2)
    told = (
        rf"^{NAME} version 2 was made champion by entry [0-9a-f]{{12}} of another ledger than the one in "
        rf"{re.escape(str(house.settings.ledger_dir))}; set STARLOOM_RECORD_STORE to where that one lies, or, "
    )
    for act in (lambda: house.promote(3), lambda: reconcile(CONFIG, house.settings)):
        with pytest.raises(RegistryError, match=told):
            act()
    assert (house.alias(), len(house.promotions())) == (2, 1)
    assert sharing.promote(3).promoted


def test_a_ledger_whose_end_was_cut_off_is_noticed(house: RegistryHouse) -> None:
    for bits in (1.5, 1.4):
        house.register(bits)
    house.promote(1)
    house.promote(2)
    (house.settings.ledger_dir / f"ledger,{NAME},00000002.json").unlink()
    with pytest.raises(
        RegistryError, match=f"^{NAME} version 2 was made champion by entry [0-9a-f]+ of another ledger"
    ):
        house.promote(1)
    assert house.alias() == 2


def test_a_ledger_of_another_registry_is_told_and_moves_nothing(
    house: RegistryHouse, empty_registry: Path, tmp_path: Path
) -> None:
    store = {"record_store": str(tmp_path / "records")}
    RegistryHouse(house.settings.model_copy(update=store)).register(1.5)
    RegistryHouse(house.settings.model_copy(update=store)).promote(1)
    uri = new_registry(empty_registry, tmp_path / "other mlflow")
    other = RegistryHouse(Settings(workspace=tmp_path / "other", tracking_uri=uri, **store))
    with pytest.raises(RegistryError, match="and the registry has no such version; set STARLOOM_TRACKING_URI to the"):
        reconcile(CONFIG, other.settings)
    other.register(1.4)
    with pytest.raises(
        RegistryError, match=r"and the registry has version 1 with the lineage [0-9a-f]{12}; set STARLO"
    ):
        other.promote(1)
    assert other.alias() is None
    assert len(other.promotions()) == 1
