"""Records in a store that several workspaces name, on each kind of store."""

import re
from pathlib import Path

import pytest

from components.errors import CorruptArtifactError, MissingInputError
from components.lineage import archive_record, archived_record, send_records
from components.lineage import upstream as upstream_of
from components.settings import Settings
from tests.components.made_up_records import record_of
from tests.components.storage.conftest import Place
from tests.model.s3_server import nobody_answers


@pytest.fixture
def here(tmp_path: Path, place: Place) -> Settings:
    return Settings(workspace=tmp_path / "here", record_store=place.url)


@pytest.fixture
def elsewhere(tmp_path: Path, place: Place) -> Settings:
    return Settings(workspace=tmp_path / "elsewhere", record_store=place.url)


def stored(place: Place) -> list[str]:
    return [key.removeprefix("records/").removesuffix(".json") for key in place.store().keys("records/")]


def test_a_record_is_sent_once_and_read_elsewhere(here: Settings, elsewhere: Settings, place: Place) -> None:
    raw = record_of("raw_files")
    clean = record_of("clean_files", raw)
    for record in (raw, clean):
        archive_record(record, here)
    send_records(here)
    assert stored(place) == sorted((raw.record_digest(), clean.record_digest()))
    place.store().delete(f"records/{raw.record_digest()}.json")
    send_records(here)  # what was sent is not asked about again
    assert stored(place) == [clean.record_digest()]

    place.store().put(f"records/{raw.record_digest()}.json", raw.model_dump_json().encode())
    found = archived_record(clean.record_digest(), elsewhere)
    assert found == clean
    assert [record.artifact for record in upstream_of(found, elsewhere)] == ["clean_files", "raw_files"]
    assert {path.stem for path in elsewhere.records_dir.iterdir()} == {raw.record_digest(), clean.record_digest()}


def test_equal_work_of_two_workspaces_is_one_record(here: Settings, elsewhere: Settings, place: Place) -> None:
    ours, theirs = record_of("raw_files"), record_of("raw_files", host="there")
    archive_record(ours, here)
    archive_record(theirs, elsewhere)
    send_records(here)
    send_records(elsewhere)
    assert stored(place) == [ours.record_digest()] == [theirs.record_digest()]
    assert b'"host":"here"' in place.store().get(f"records/{ours.record_digest()}.json")


@pytest.mark.parametrize("what", ["another record", "no record", "a cut one"])
def test_something_else_under_its_digest_is_refused(
    here: Settings, elsewhere: Settings, place: Place, what: str
) -> None:
    record = record_of("raw_files")
    archive_record(record, here)
    digest, key = record.record_digest(), f"records/{record.record_digest()}.json"
    content = record_of("clean_files").model_dump_json().encode() if what == "another record" else b"{}"
    place.store().put(key, content)
    if what == "a cut one":
        place.damage(key, b"{")
    told = re.escape(
        f"{place.url} holds something else than record {digest[:12]} under {key}, where it was altered or damaged; "
        "remove it there, and a workspace that has the record sends it again"
    )
    with pytest.raises(CorruptArtifactError, match=f"^{told}$"):
        send_records(here)
    with pytest.raises(CorruptArtifactError, match=f"^{told}$"):
        archived_record(digest, elsewhere)
    place.store().delete(key)
    send_records(here)
    assert archived_record(digest, elsewhere) == record


def test_a_record_that_was_altered_here_is_not_sent(here: Settings, place: Place) -> None:
    record = record_of("raw_files")
    archive_record(record, here)
    (here.records_dir / f"{record.record_digest()}.json").write_bytes(record_of("other").model_dump_json().encode())
    with pytest.raises(CorruptArtifactError, match="was altered: it no longer has the digest that names it"):
        send_records(here)
    assert stored(place) == []


def test_what_nobody_has_is_told(here: Settings, place: Place) -> None:
    with pytest.raises(
        MissingInputError, match=rf"^no record {'0' * 12} in .* nor in {place.url}; run any step in the"
    ):
        archived_record("0" * 64, here)
    alone = here.model_copy(update={"record_store": None})
    with pytest.raises(MissingInputError, match="made in another workspace, and no STARLOOM_RECORD_STORE is set"):
        archived_record("0" * 64, alone)


def test_a_store_that_does_not_answer_is_told_and_nothing_is_lost(
    tmp_path: Path, s3_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A directory that cannot be written: test_run_step.py.
    assert s3_place.server
    here = Settings(workspace=tmp_path / "here", record_store=s3_place.url)
    records = [record_of("raw_files"), record_of("clean_files")]
    for record in records:
        archive_record(record, here)
    with nobody_answers() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:password@{address}")
        told = send_records(here)
    assert told
    assert told.startswith(
        f"not sent yet to {s3_place.url}: 2 record(s), kept here and sent next time; the object store"
    )
    assert f"http://{address} does not answer (EndpointConnectionError); start it, or mend AWS_ENDPOINT_URL" in told
    assert s3_place.server.secret_key not in told
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_place.server.endpoint)
    assert send_records(here) is None
    assert stored(s3_place) == sorted(record.record_digest() for record in records)
