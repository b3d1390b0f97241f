"""What every object store promises, on each of them. A real server: see conftest.py."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from components.errors import CorruptArtifactError, MissingInputError, StorageError
from components.storage import s3_store
from components.storage.object_store import MAX_KEY_CHARS, ObjectStat, ObjectStore
from tests.components.storage import racers
from tests.components.storage.conftest import Place

MEBIBYTE = 1 << 20
HOSTILE = [
    *("", "/", "/etc/passwd", "..", "../up", "a/../../up", "a/..", ".", "./a", "a//b", "a/", ".hidden", "a/.hidden"),
    *("a\x00b", "a\nb", "a\rb", "a\x7fb", "a b", "a,b", "a\\b", "C:\\a", "~/a", "a%2fb", "a?b", "a#b", "-rf", "\u0430"),
    "k" * (MAX_KEY_CHARS + 1),
]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_put_is_there(store: ObjectStore) -> None:
    assert store.stat("runs/a.json") is None
    store.put("runs/a.json", b"one")
    assert store.get("runs/a.json") == b"one"
    assert store.stat("runs/a.json") == ObjectStat(3, sha256(b"one"))
    store.put("runs/a.json", b"another")
    assert store.get("runs/a.json") == b"another"


@pytest.mark.parametrize("content", [b"", b"\n", bytes(range(256)) * 9, b"0" * 64 + b"\n"])
def test_any_bytes_will_do(store: ObjectStore, content: bytes) -> None:
    store.put("any", content)
    assert store.get("any") == content
    assert store.stat("any") == ObjectStat(len(content), sha256(content))


def test_a_key_is_no_path(store: ObjectStore) -> None:
    longest = "k" * MAX_KEY_CHARS
    for key in ("a", "a/b", "a/b/c", "a.b", "A", "_record.json", longest):
        store.put(key, key.encode())
    assert list(store.keys()) == sorted(("a", "a/b", "a/b/c", "a.b", "A", "_record.json", longest))
    assert [store.get(key).decode() for key in store.keys("a")] == ["a", "a.b", "a/b", "a/b/c"]
    store.delete("a/b")
    assert store.get("a/b/c") == b"a/b/c"


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_a_hostile_key_is_refused(tmp_path: Path, kind: str) -> None:
    store = Place(str(tmp_path / "store") if kind == "directory" else "s3://nobody-is-asked/prefix").store()
    uses = (store.get, store.stat, store.delete, lambda key: store.put(key, b""), lambda key: store.put_once(key, b""))
    for key, use in product(HOSTILE, uses):
        with pytest.raises(StorageError, match=r"is no key of an object; give at most 200 characters"):
            use(key)
    assert list(tmp_path.iterdir()) == []


def test_what_is_put_once_stays(store: ObjectStore) -> None:
    assert store.put_once("once", b"first")
    assert not store.put_once("once", b"second")
    assert not store.put_once("once", b"first")
    assert store.get("once") == b"first"
    store.delete("once")
    store.delete("once")
    assert store.put_once("once", b"third")


def test_what_is_not_there_is_told(store: ObjectStore, place: Place, tmp_path: Path) -> None:
    for get in (lambda: store.get("gone/x"), lambda: store.get_file("gone/x", tmp_path / "x")):
        with pytest.raises(MissingInputError) as told:
            get()
        assert str(told.value) == f"{place.url} holds no object gone/x; put it there or mend the key"
    assert not list(tmp_path.glob("x*"))


def test_files_go_and_come_whole(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * (12 * MEBIBYTE // 256) + b"end"
    (tmp_path / "model").write_bytes(content)
    assert store.put_file("bundles/model", tmp_path / "model") == ObjectStat(len(content), sha256(content))
    (tmp_path / "copy").write_bytes(b"what was there")
    assert store.get_file("bundles/model", tmp_path / "copy") == ObjectStat(len(content), sha256(content))
    assert (tmp_path / "copy").read_bytes() == content
    assert not list(tmp_path.glob("*.unfinished"))
    assert store.get("bundles/model") == content


def test_faults_of_the_disk_are_told(store: ObjectStore, tmp_path: Path) -> None:
    store.put("a", b"1")
    with pytest.raises(StorageError, match=r"absent/copy.* \(No such file or directory\); make room there or mend its"):
        store.get_file("a", tmp_path / "absent" / "copy")
    with pytest.raises(StorageError, match=r"missing cannot be .* \(No such file or directory\); .*mend its path"):
        store.put_file("a", tmp_path / "missing")
    assert store.get("a") == b"1"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda content: content[:-1], id="truncated"),
        pytest.param(lambda content: b"", id="emptied"),
        pytest.param(lambda content: b"\x01" + content[1:], id="damaged"),
        pytest.param(lambda content: content + b"0", id="lengthened"),
    ],
)
def test_damage_is_seen_by_who_reads(
    store: ObjectStore, place: Place, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    content = bytes(3 * MEBIBYTE)
    store.put("weights/part-0", content)
    place.damage("weights/part-0", spoil(content))
    told = r"^object weights/part-0 of .* is damaged: its bytes have sha256 [0-9a-f]{12}, which is not what was put"
    with pytest.raises(CorruptArtifactError, match=told):
        store.get("weights/part-0")
    (tmp_path / "copy").write_bytes(b"what was there")
    with pytest.raises(CorruptArtifactError, match=told):
        store.get_file("weights/part-0", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"what was there"
    assert not list(tmp_path.glob("*.unfinished"))


def test_what_another_program_put_is_not_taken_for_ours(store: ObjectStore, place: Place) -> None:
    store.put("ours", b"1")
    place.put_foreign("foreign")
    with pytest.raises(CorruptArtifactError):
        store.get("foreign")
    place.put_foreign("white space")
    assert list(store.keys()) == ["foreign", "ours"]


def test_keys_come_in_pages_and_in_order(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "_PAGE_KEYS", 3)
    assert list(store.keys()) == []
    for number in range(10):
        store.put(f"records/{number}.json", b"{}")
    store.put("recorded", b"")
    assert list(store.keys("records/")) == [f"records/{number}.json" for number in range(10)]
    assert list(store.keys("record")) == ["recorded", *(f"records/{number}.json" for number in range(10))]
    assert list(store.keys("records/7")) == ["records/7.json"]


def test_the_prefix_of_a_store_parts_it_from_others(store: ObjectStore, place: Place) -> None:
    other = Place(f"{place.url}-2", place.server).store()
    store.put("a", b"1")
    other.put("b", b"2")
    assert (list(store.keys()), list(other.keys())) == (["a"], ["b"])
    assert store.url == place.url


def test_of_sixteen_processes_that_put_at_once_one_is_first(place: Place, store: ObjectStore) -> None:
    won = racers.race(racers.put_once, place, 16)
    assert sum(won) == 1
    assert store.get("prize") == b"won by %d" % won.index(True)


def test_no_change_by_compare_and_swap_is_lost(place: Place, store: ObjectStore) -> None:
    racers.race(racers.count_up, place, 8)
    names = list(store.keys("counter/"))
    assert names == [f"counter/{number:08}.json" for number in range(1, 9)]
    assert [int(store.get(name)) for name in names] == list(range(1, 9))


def test_a_killed_put_leaves_nothing_to_be_seen(tmp_path: Path) -> None:
    # A pipe that is never closed holds the writer in the middle of its work. For S3 see test_s3_store.py.
    place = Place(str(tmp_path / "store"))
    place.store().put("model", b"the old one")
    os.mkfifo(tmp_path / "pipe")
    program = (
        "import sys; from pathlib import Path; from components.storage.directory_store import DirectoryStore\n"
        "DirectoryStore(Path(sys.argv[1])).put_file('model', Path(sys.argv[2]))"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, place.url, str(tmp_path / "pipe")])
    with (tmp_path / "pipe").open("wb") as pipe:
        pipe.write(bytes(4 * MEBIBYTE))
        pipe.flush()
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
    store = place.store()
    assert store.get("model") == b"the old one"
    assert list(store.keys()) == ["model"]
    assert store.remove_unfinished(3600) == 0
    assert store.remove_unfinished(0) == 1
    assert store.remove_unfinished(0) == 0
