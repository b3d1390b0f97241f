"""What only S3 has: signatures, parts, links, encryption, and a network on which things go wrong."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from components.errors import CorruptArtifactError, StorageError
from components.storage import s3_store
from components.storage.s3_store import S3Store
from tests.components.storage.conftest import SETTING, Place
from tests.components.storage.faulty_proxy import (
    Fault,
    FaultyProxy,
    Stall,
    answers,
    breaks_off,
    does_and_answers,
    faulty_proxy,
)

MEBIBYTE = 1 << 20


@pytest.fixture
def proxy(s3_place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """What stands before the server; stores that are opened now go through it."""
    assert s3_place.server
    with faulty_proxy(s3_place.server.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        yield running


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the least size that S3 takes."""
    monkeypatch.setattr(s3_store, "_PART_BYTES", 5 * MEBIBYTE)


def test_a_wrong_secret_is_rejected_and_not_told(s3_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    store = s3_place.store()
    for use in (lambda: store.put("a", b""), lambda: store.get("a"), lambda: list(store.keys())):
        with pytest.raises(StorageError) as told:
            use()
        assert f"{os.environ['AWS_ENDPOINT_URL']} refuses " in str(told.value)
        assert str(told.value).endswith("mend the credentials or their rights on the bucket")
        assert "not-the-secret" not in str(told.value)


def test_a_bucket_that_is_not_there_is_told_with_its_mend(s3_place: Place) -> None:
    with pytest.raises(StorageError) as told:
        S3Store("s3://starloom-no-such-bucket/x", SETTING).put("a", b"")
    assert str(told.value) == (
        "the object store s3://starloom-no-such-bucket cannot be used: "
        f"{os.environ['AWS_ENDPOINT_URL']} has no such bucket; create it or mend {SETTING}"
    )


@pytest.mark.usefixtures("small_parts")
def test_a_large_file_goes_up_in_parts(s3_place: Place, tmp_path: Path) -> None:
    assert s3_place.server
    (tmp_path / "model").write_bytes(bytes(11 * MEBIBYTE))
    store = s3_place.store()
    store.put_file("model", tmp_path / "model")
    bucket, _, prefix = s3_place.url.removeprefix("s3://").partition("/")
    assert s3_place.server.client.head_object(Bucket=bucket, Key=f"{prefix}/model")["ETag"].endswith('-3"')
    store.get_file("model", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == bytes(11 * MEBIBYTE)


def test_a_server_that_is_troubled_is_asked_again(s3_place: Place, proxy: FaultyProxy) -> None:
    store = s3_place.store()
    faults = [
        proxy.next(Fault("PUT", "troubled", 1, answers(500, "InternalError"))),
        proxy.next(Fault("GET", "troubled", 1, answers(503, "SlowDown"))),
        proxy.next(Fault("HEAD", "troubled", 1, answers(503, "ServiceUnavailable"))),
    ]
    store.put("troubled", b"1")
    assert store.get("troubled") == b"1"
    assert store.stat("troubled")
    assert [fault.met for fault in faults] == [1, 1, 1]


def test_a_server_that_stays_troubled_is_told_after_three_tries(s3_place: Place, proxy: FaultyProxy) -> None:
    fault = proxy.next(Fault("PUT", "", 99, answers(503, "SlowDown")))
    with pytest.raises(StorageError, match=rf"{proxy.endpoint} answers PutObject with SlowDown; see its log"):
        s3_place.store().put("a", b"1")
    assert fault.met == 3


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_clocks_that_differ_are_told(s3_place: Place, proxy: FaultyProxy, method: str) -> None:
    # The answer to a HEAD has no body, so no code: only the time of the server tells.
    store = s3_place.store()
    proxy.next(Fault(method, "", 1, answers(403, "RequestTimeTooSkewed", date="Wed, 01 Jan 2020 00:00:00 GMT")))
    use = {"GET": store.get, "HEAD": store.stat, "PUT": lambda key: store.put_once(key, b"")}[method]
    told = f"the clock of {proxy.endpoint} and the one of this machine differ by minutes; set the wrong one$"
    with pytest.raises(StorageError, match=told):
        use("a")


def test_a_refusal_without_a_word_is_none_of_the_clock(s3_place: Place, proxy: FaultyProxy) -> None:
    proxy.next(Fault("HEAD", "", 1, answers(403, "", date=formatdate(usegmt=True))))
    with pytest.raises(StorageError, match=r"refuses HeadObject \(403\); mend the credentials or their rights"):
        s3_place.store().stat("a")


def test_who_was_first_is_told_so_though_the_answer_was_lost(s3_place: Place, proxy: FaultyProxy) -> None:
    store = s3_place.store()
    fault = proxy.next(Fault("PUT", "ledger", 1, does_and_answers(500, "InternalError")))
    assert store.put_once("ledger/00000001.json", b"mine")
    assert fault.met == 1
    assert not store.put_once("ledger/00000001.json", b"mine")


def test_puts_that_the_server_finds_in_conflict_are_tried_again(s3_place: Place, proxy: FaultyProxy) -> None:
    proxy.next(Fault("PUT", "once", 1, answers(409, "ConditionalRequestConflict")))
    assert s3_place.store().put_once("once", b"1")


def test_a_line_that_breaks_in_the_middle_of_a_body_is_taken_up_again(
    s3_place: Place, proxy: FaultyProxy, tmp_path: Path
) -> None:
    store, content = s3_place.store(), bytes(range(256)) * 20_000
    store.put("model", content)
    fault = proxy.next(Fault("GET", "model", 2, breaks_off))
    store.get_file("model", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert fault.met == 2


def test_a_line_that_always_breaks_leaves_nothing(s3_place: Place, proxy: FaultyProxy, tmp_path: Path) -> None:
    store = s3_place.store()
    store.put("model", bytes(MEBIBYTE))
    proxy.next(Fault("GET", "model", 99, breaks_off))
    with pytest.raises(
        StorageError, match=rf"{proxy.endpoint} does not answer \(.*\); start it, or mend AWS_ENDPOINT_URL"
    ):
        store.get_file("model", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_parts")
def test_a_file_that_fails_half_way_up_is_taken_back(s3_place: Place, proxy: FaultyProxy, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(bytes(11 * MEBIBYTE))
    store = s3_place.store()
    proxy.next(Fault("PUT", "partNumber=2", 99, answers(500, "InternalError")))
    with pytest.raises(StorageError, match=r"answers UploadPart with InternalError; see its log"):
        store.put_file("model", tmp_path / "model")
    assert store.stat("model") is None
    assert store.remove_unfinished(0) == 0  # ended by who began it


_UPLOAD = """
import sys
from pathlib import Path
from components.storage import s3_store
s3_store._PART_BYTES = 5 << 20
s3_store.S3Store(sys.argv[1], "STARLOOM_RECORD_STORE").put_file("model", Path(sys.argv[2]))
"""


def test_a_put_that_is_killed_leaves_nothing_to_be_seen(s3_place: Place, proxy: FaultyProxy, tmp_path: Path) -> None:
    store, stall = s3_place.store(), Stall()
    store.put("model", b"the old one")
    proxy.next(Fault("PUT", "partNumber=3", 1, stall))
    (tmp_path / "model").write_bytes(bytes(11 * MEBIBYTE))
    uploader = subprocess.Popen([sys.executable, "-c", _UPLOAD, s3_place.url, str(tmp_path / "model")])
    assert stall.reached.wait(60)
    uploader.kill()
    uploader.wait(10)
    stall.let_go.set()
    assert store.get("model") == b"the old one"
    assert list(store.keys()) == ["model"]
    assert store.remove_unfinished(1e9) == 0  # moto says that every upload began in 2010
    assert store.remove_unfinished(0) == 1
    assert store.remove_unfinished(0) == 0


def test_a_link_shows_one_object_for_a_while(live_place: Place) -> None:
    store = live_place.store()
    store.put("report.html", b"<p>warp</p>")
    store.put("secret", b"weft")
    link, short = store.link("report.html", 60), store.link("report.html", 1)
    assert link
    assert short
    assert httpx.get(link).content == b"<p>warp</p>"
    assert httpx.get(link.replace("report.html", "secret")).status_code == 403
    time.sleep(2.5)
    assert httpx.get(short).status_code == 403
    assert httpx.get(link).status_code == 200


def test_a_link_bears_its_end_and_no_secret(moto_place: Place) -> None:
    # moto takes no signature in an address: what a link does is tested on a real server, above.
    assert moto_place.server
    store = moto_place.store()
    store.put("report.html", b"<p>warp</p>")
    link = store.link("report.html", 3600)
    assert link
    assert "X-Amz-Expires=3600" in link
    assert "X-Amz-Signature=" in link
    assert moto_place.server.secret_key not in link
    assert httpx.get(link.partition("?")[0]).status_code == 403
    for seconds in (0, -1, 604_801):
        with pytest.raises(StorageError, match=f"cannot be valid for {seconds} seconds; give 1 to 604800"):
            store.link("report.html", seconds)


@pytest.mark.parametrize(
    ("encryption", "asked"),
    [
        (None, {}),
        ("AES256", {"ServerSideEncryption": "AES256"}),
        ("aws:kms", {"ServerSideEncryption": "aws:kms"}),
        ("aws:kms:alias/records", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/records"}),
    ],
)
def test_every_kind_of_put_asks_for_the_encryption_of_the_settings(
    encryption: str | None, asked: dict[str, str], moto_place: Place, tmp_path: Path
) -> None:
    assert moto_place.server
    (tmp_path / "c").write_bytes(b"3")
    store = S3Store(moto_place.url, SETTING, encryption)
    store.put("a", b"1")
    store.put_once("b", b"2")
    store.put_file("c", tmp_path / "c")
    bucket, _, prefix = moto_place.url.removeprefix("s3://").partition("/")
    for key in ("a", "b", "c"):
        kept = moto_place.server.client.head_object(Bucket=bucket, Key=f"{prefix}/{key}")
        assert {name: kept[name] for name in ("ServerSideEncryption", "SSEKMSKeyId") if name in kept} == asked
        assert store.get(key)


def test_an_object_without_a_digest_is_not_ours(s3_place: Place) -> None:
    s3_place.put_foreign("foreign")
    with pytest.raises(
        CorruptArtifactError, match=r"^object foreign of s3://.* bears no sha256, so another program put"
    ):
        s3_place.store().get("foreign")


@pytest.mark.parametrize("endpoint", ["not an address", "http://", "ftp://127.0.0.1", "http://127.0.0.1:99999"])
def test_an_endpoint_that_is_no_address_is_told(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StorageError, match=r"^AWS_ENDPOINT_URL is no address; give http://HOST:PORT or https://HOST$"):
        S3Store("s3://bucket/x", SETTING)
