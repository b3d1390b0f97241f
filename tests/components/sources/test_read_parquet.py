"""Tables of code: The Stack's columns from disk, from a real S3 and from a hub, and what is damaged in them."""

import http.server
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from components.errors import SourceError
from components.sources.config import IngestSourcesConfig
from components.sources.ingest_sources import resolve_sources, run
from components.tables import read_dropped, read_files
from tests.components.storage.faulty_proxy import Fault, answers, faulty_proxy

STACK = pa.table(
    {
        "content": ["x = 1\n", "int main() { return 0; }\n", None, "\u00fcber = 2\n"],
        "max_stars_repo_path": ["a/x.py", "main.c", "null.py", "c.py"],
        "max_stars_repo_name": ["ada/engine", "grace/compiler", "ada/engine", "gone/away"],
        "max_stars_count": [12, None, 3, 1],
        "max_forks_count": [None, 7, 1, 1],
        "max_stars_repo_licenses": [["MIT"], ["MIT", "Apache-2.0"], ["MIT"], []],
        "max_stars_repo_head_hexsha": ["c0ffee", "decade", "c0ffee", "facade"],
        "hexsha": ["1", "2", "3", "4"],
    }
)


def config(path, **changes):
    source = {"name": "stack", "kind": "parquet", "path": str(path), "repository": "the/stack", "license": None}
    return IngestSourcesConfig.model_validate(
        {"recipe": 1, "sources": [source | {"exclude": []} | changes], "max_file_bytes": 1000, "shard_bytes": 4096}
    )


def ingest(tmp_path, parameters):
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    out.mkdir()
    (tmp_path / "opt_outs.json").write_text('{"repositories": ["gone/away"], "users": []}')
    run(parameters, opt_outs=tmp_path, workspace=tmp_path, out=out)
    kept = [row for batch in read_files(out) for row in batch.to_pylist()]
    return kept, [row for batch in read_dropped(out) for row in batch.to_pylist()]


def test_a_row_of_the_stack_brings_its_own_origin(tmp_path):
    pq.write_table(STACK, tmp_path / "part.parquet")
    kept, dropped = ingest(tmp_path, config("part.parquet", license="ISC"))
    told = ["repository", "path", "commit", "license", "stars", "forks", "language", "extension"]
    assert [[row[name] for name in told] for row in kept] == [
        ["ada/engine", "a/x.py", "c0ffee", "MIT", 12, None, "python", ".py"],
        ["grace/compiler", "main.c", "decade", "Apache-2.0 AND MIT", None, 7, "c", ".c"],
    ]
    assert [(row["repository"], row["path"], row["rule"]) for row in dropped] == [
        ("ada/engine", "null.py", "no_content"),
        ("gone/away", "c.py", "opted_out_repository"),
    ]


def test_the_second_version_of_the_stack_is_understood(tmp_path):
    table = pa.table(
        {
            "content": ["y\n"],
            "path": ["/src/y.go"],
            "repo_name": ["ada/y"],
            "detected_licenses": [["BSD-3-Clause"]],
            "star_events_count": [5],
            "fork_events_count": [2],
            "revision_id": ["f00d"],
            "committer_date": [datetime(2020, 1, 2, tzinfo=UTC)],
        }
    )
    (tmp_path / "deep").mkdir()
    pq.write_table(table, tmp_path / "deep/part.parquet")
    [row], _ = ingest(tmp_path, config("."))
    assert (row["stars"], row["forks"], row["updated_at"]) == (5, 2, 1577923200)
    assert (row["path"], row["license"], row["commit"]) == ("src/y.go", "BSD-3-Clause", "f00d")


def test_what_is_damaged_is_refused_and_the_rest_is_read(tmp_path):
    (tmp_path / "tables").mkdir()
    pq.write_table(STACK, tmp_path / "tables/a-good.parquet")
    whole = (tmp_path / "tables/a-good.parquet").read_bytes()
    (tmp_path / "tables/b-truncated.parquet").write_bytes(whole[:-40])
    (tmp_path / "tables/c-text.parquet").write_bytes(b"no parquet at all")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "tables/d-columns.parquet")
    pq.write_table(pa.table({"content": [1]}), tmp_path / "tables/d-numbers.parquet")
    two = pa.concat_tables([STACK.slice(0, 1), STACK.slice(1, 1)])
    pq.write_table(two, tmp_path / "tables/e-page.parquet", row_group_size=1, compression="none")
    content = bytearray((tmp_path / "tables/e-page.parquet").read_bytes())
    content[4:24] = b"\xff" * 20
    (tmp_path / "tables/e-page.parquet").write_bytes(bytes(content))
    kept, dropped = ingest(tmp_path, config("tables"))
    assert [row["path"] for row in kept] == ["a/x.py", "main.c"]  # the second group of e is the same row again
    rules = {row["path"]: row["rule"] for row in dropped}
    assert rules["b-truncated.parquet"] == rules["c-text.parquet"] == "unreadable"
    assert rules["d-columns.parquet"] == rules["d-numbers.parquet"] == "no_content_column"
    assert rules["e-page.parquet#row-group-0"] == "unreadable"
    assert rules["main.c"] == "duplicate_file"


def test_where_no_table_is_found_the_mend_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no Parquet file"):
        resolve_sources(config("empty"), tmp_path)
    with pytest.raises(SourceError, match="no file or directory"):
        resolve_sources(config("nowhere"), tmp_path)


def test_the_digest_is_of_the_bytes(tmp_path):
    pq.write_table(STACK, tmp_path / "part.parquet")
    before = resolve_sources(config("part.parquet"), tmp_path)
    os.utime(tmp_path / "part.parquet", (0, 0))
    assert resolve_sources(config("part.parquet"), tmp_path) == before
    pq.write_table(STACK.slice(1), tmp_path / "part.parquet")
    assert resolve_sources(config("part.parquet"), tmp_path) != before


@pytest.fixture
def bucket(monkeypatch):
    """A client of a real S3 server on this machine, with one bucket called `code`."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3  # noqa: PLC0415 - reads the environment set above

    client = boto3.client("s3")
    client.create_bucket(Bucket="code")
    yield client
    server.stop()


def test_tables_in_s3_give_the_rows_that_they_give_on_disk(tmp_path, bucket):
    (tmp_path / "disk").mkdir()
    for name, rows in (("a.parquet", STACK.slice(0, 1)), ("sub/b.parquet", STACK.slice(1))):
        (tmp_path / "disk" / name).parent.mkdir(exist_ok=True)
        pq.write_table(rows, tmp_path / "disk" / name)
        bucket.upload_file(str(tmp_path / "disk" / name), "code", f"stack/{name}")
    bucket.put_object(Bucket="code", Key="stack/README.md", Body=b"not a table")
    on_s3 = config("s3://code/stack")
    assert ingest(tmp_path, on_s3) == ingest(tmp_path, config("disk"))
    before = resolve_sources(on_s3, tmp_path)
    bucket.delete_object(Bucket="code", Key="stack/a.parquet")
    assert resolve_sources(on_s3, tmp_path) != before


def test_a_table_in_s3_that_cannot_be_had_ends_the_step(tmp_path, bucket, monkeypatch):
    """It is no damaged file: its rows would be missing from the corpus of a recipe that names them."""
    for name, rows in (("a.parquet", STACK.slice(0, 1)), ("b.parquet", STACK.slice(1))):
        pq.write_table(rows, tmp_path / name)
        bucket.upload_file(str(tmp_path / name), "code", f"away/{name}")
    with faulty_proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        proxy.next(Fault("HEAD", "b.parquet", 99, answers(403, "AccessDenied")))
        told = r"^source 'stack': s3://code/away/b\.parquet cannot be read \(.*Forbidden\); run again when S3 answers$"
        with pytest.raises(SourceError, match=told):
            ingest(tmp_path, config("s3://code/away"))


def test_a_bucket_that_is_not_there_is_told(tmp_path, bucket):
    with pytest.raises(SourceError, match="s3://missing/x cannot be listed"):
        resolve_sources(config("s3://missing/x"), tmp_path)


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download asks for: a data set at a commit, and its files."""

    content = b""
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, *, with_body):
        body, headers = b"", {}
        if self.path.startswith("/api/datasets/ada/stack/revision/main"):
            files = [{"rfilename": "README.md"}, {"rfilename": "data/part.parquet"}]
            told = {"id": "ada/stack", "sha": self.commit, "siblings": files, "private": False, "tags": []}
            body, headers = json.dumps(told).encode(), {"Content-Type": "application/json"}
        elif self.path == f"/datasets/ada/stack/resolve/{self.commit}/data/part.parquet":
            body = self.content
            headers = {"ETag": '"abc"', "X-Repo-Commit": self.commit, "Accept-Ranges": "bytes"}
        self.send_response(200 if body else 404)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


PROGRAM = """
import json, sys
from pathlib import Path
from components.sources.config import IngestSourcesConfig
from components.sources.ingest_sources import resolve_sources, run
place = Path(sys.argv[1])
config = IngestSourcesConfig.model_validate_json(sys.argv[2])
(place / "out").mkdir()
(place / "opt_outs.json").write_text('{"repositories": ["gone/away"], "users": []}')
print(json.dumps(resolve_sources(config, place)))
run(config, opt_outs=place, workspace=place, out=place / "out")
"""


@pytest.mark.parametrize("name", ["ada/stack", "ada/missing"])
def test_a_data_set_of_the_hub_is_read_at_its_commit(tmp_path, name):
    pq.write_table(STACK, tmp_path / "part.parquet")
    handler = type("ThisHub", (Hub,), {"content": (tmp_path / "part.parquet").read_bytes()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parameters = config(name, kind="hub", revision="main")
    # The hub's address is read when its library is loaded: a process of its own.
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), parameters.model_dump_json()]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=False, timeout=120)
    server.shutdown()
    server.server_close()
    if name == "ada/missing":
        assert "the hub gives no data set 'ada/missing' at 'main'" in done.stderr
        return
    assert done.returncode == 0, done.stderr[-2000:]
    kept = [row for batch in read_files(tmp_path / "out") for row in batch.to_pylist()]
    assert [row["repository"] for row in kept] == ["ada/engine", "grace/compiler"]
