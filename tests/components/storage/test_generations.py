"""A value that changes by compare-and-swap. Processes that race for it: see test_object_store.py."""

from pathlib import Path

from components.storage.directory_store import DirectoryStore
from components.storage.generations import Generation, Generations


def test_a_value_has_a_history(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    ledger = Generations(store, "ledger")
    assert ledger.newest() is None
    first = ledger.swap(None, b"one")
    assert first == Generation(1, b"one") == ledger.newest()
    second = ledger.swap(first, b"two")
    assert second == Generation(2, b"two") == Generations(store, "ledger").newest()
    assert list(store.keys()) == ["ledger/00000001.json", "ledger/00000002.json"]


def test_who_has_seen_an_older_one_changes_nothing(tmp_path: Path) -> None:
    ledger = Generations(DirectoryStore(tmp_path), "ledger")
    first = ledger.swap(None, b"one")
    second = ledger.swap(first, b"two")
    assert ledger.swap(first, b"too late") is None
    assert ledger.swap(None, b"too late") is None
    assert ledger.newest() == second


def test_the_tenth_is_newer_than_the_ninth_and_other_objects_are_no_generations(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    ledger, newest = Generations(store, "ledger"), None
    for key in ("ledger", "ledger/note.json", "ledger/00000099.txt", "ledger/7.json", "ledger-2/00000050.json"):
        store.put(key, b"")
    for number in range(1, 12):
        newest = ledger.swap(newest, b"%d" % number)
    assert ledger.newest() == Generation(11, b"11")
