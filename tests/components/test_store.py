import os
from pathlib import Path

import pytest

from components.errors import CorruptArtifactError, StorageError
from components.store import RECORD_FILE, digest_files, digest_of_files, publish, storage_errors_told, verify_files


def _artifact(place: Path, **files: str) -> Path:
    for name, text in files.items():
        path = place / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def test_the_digest_depends_on_paths_and_bytes_alone(tmp_path: Path) -> None:
    one = _artifact(tmp_path / "one", a="1", deep__b="2")
    other = _artifact(tmp_path / "other", deep__b="2", a="1")
    os.utime(other / "a", (0, 0))
    assert digest_of_files(digest_files(one)) == digest_of_files(digest_files(other))
    _artifact(other, a="2")
    assert digest_of_files(digest_files(one)) != digest_of_files(digest_files(other))


def test_the_record_is_no_part_of_the_digest(tmp_path: Path) -> None:
    artifact = _artifact(tmp_path / "one", a="1")
    before = digest_files(artifact)
    (artifact / RECORD_FILE).write_text("{}")
    assert digest_files(artifact) == before


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda place: (place / "a").write_text("9"), "a has sha256"),
        (lambda place: (place / "a").unlink(), "a is missing"),
        (lambda place: (place / "c").write_text("9"), "c does not belong to it"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: object, told: str) -> None:
    artifact = _artifact(tmp_path / "one", a="1", b="2")
    recorded = digest_files(artifact)
    verify_files(artifact, recorded)
    damage(artifact)  # type: ignore[operator]
    with pytest.raises(CorruptArtifactError, match=f"artifact one is damaged: {told}"):
        verify_files(artifact, recorded)


def test_publishing_replaces_an_artifact_whole(tmp_path: Path) -> None:
    place = _artifact(tmp_path / "artifacts" / "x", old="1", both="1")
    staged = _artifact(tmp_path / "staging", new="2", both="2")
    publish(staged, place)
    assert sorted(path.name for path in place.iterdir()) == ["both", "new"]
    assert not staged.exists()


def test_publishing_makes_the_place_it_needs(tmp_path: Path) -> None:
    publish(_artifact(tmp_path / "staging", a="1"), tmp_path / "artifacts" / "x")
    assert (tmp_path / "artifacts" / "x" / "a").read_text() == "1"


def test_a_full_disk_is_told_in_one_sentence() -> None:
    with pytest.raises(StorageError, match="the disk is full; free some space"), storage_errors_told(Path("/dev")):
        # /dev/full is the kernel's own full disk.
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")


def test_other_faults_of_the_system_keep_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storage_errors_told(tmp_path):
        (tmp_path / "missing").read_text()
