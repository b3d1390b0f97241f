"""The server of the page: it takes verdicts from its own page, and from nobody else."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from components.corpus.inspection_table import Inspection, write_inspections
from components.errors import ServiceError
from components.inspection.verdict_server import MAX_BODY_BYTES, VerdictServer
from components.inspection.verdict_table import VerdictTable

ENDINGS = frozenset({("python", ".py"), ("python", ".pyi"), ("c", ".c"), ("html", ".html")})
VERDICT = {"language": "python", "extension": ".py", "verdict": "include", "comment": "fine"}


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def told(self) -> tuple[int, str]:
        """Status and sentence of a refusal."""
        return self.status, self.body["error"]


class Client:
    """Speaks to a server as a browser would, unless it is told to say something else."""

    def __init__(self, server: VerdictServer) -> None:
        self.server = server
        self.origin = f"http://127.0.0.1:{server.server_port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> Answer:
        """One request; a header that is None is not sent, `_` in its name is a hyphen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        is_json = answer.getheader("Content-Type") == "application/json"
        return Answer(answer.status, json.loads(data) if is_json else data, dict(answer.getheaders()))

    def get(self, path: str = "", **headers: str | None) -> Answer:
        """A page of the server's."""
        usual = {"Host": self.origin.removeprefix("http://")}
        return self.ask("GET", f"/{self.server.token}/{path}", **(usual | headers))

    def post(self, form: Any, path: str = "verdicts", **headers: str | None) -> Answer:
        """A verdict; bytes are sent as they are."""
        body = form if isinstance(form, bytes) else json.dumps(form).encode()
        usual = {
            "Host": self.origin.removeprefix("http://"),
            "Origin": self.origin,
            "Content_Type": "application/json",
            "Content_Length": str(len(body)),
        }
        return self.ask("POST", f"/{self.server.token}/{path}", body, **(usual | headers))


@pytest.fixture
def table(tmp_path: Path) -> VerdictTable:
    return VerdictTable(tmp_path / "inspection.csv", tmp_path / "state" / "inspection.lock")


@pytest.fixture
def client(tmp_path: Path, table: VerdictTable) -> Iterator[Client]:
    """A client of a running server."""
    page = tmp_path / "index.html"
    page.write_text("<!DOCTYPE html><title>The page \u00e9</title>", encoding="utf-8")
    with VerdictServer(page, table, ENDINGS, "Ada") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Client(server)
        server.shutdown()
        thread.join()


def test_the_page_and_the_verdicts_are_served(client: Client, table: VerdictTable) -> None:
    page = client.get()
    assert (page.status, page.body.decode()) == (200, "<!DOCTYPE html><title>The page \u00e9</title>")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Server"] == "starloom"
    assert "Access-Control-Allow-Origin" not in page.headers

    write_inspections(table.path, [Inspection("c", ".c", "unsure", comment="hm")])
    told = client.get("verdicts").body
    assert told["reviewer"] == "Ada"
    assert [(row["language"], row["verdict"], row["comment"]) for row in told["rows"]] == [("c", "unsure", "hm")]


def test_a_verdict_is_in_the_table_when_it_is_answered(client: Client, table: VerdictTable) -> None:
    answer = client.post(VERDICT | {"max_line_chars": "2000"})

    assert answer.status == 200
    [row] = table.rows()
    assert row == Inspection("python", ".py", "include", "Ada", date.today().isoformat(), "fine", max_line_chars=2_000)
    assert answer.body["max_line_chars"] == "2000"
    assert answer.body["near_duplicate_ngram"] == ""


def test_it_answers_under_localhost_too(client: Client) -> None:
    name = f"localhost:{client.server.server_port}"
    assert client.get(Host=name).status == 200
    assert client.post(VERDICT, Host=name, Origin=f"http://{name}").status == 200
    assert client.post(VERDICT, Host=name).status == 403


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "127.0.0.1:1", "[::1]:80", "", None])
def test_a_foreign_name_is_refused(client: Client, table: VerdictTable, host: str | None) -> None:
    for answer in (client.get(Host=host), client.get("verdicts", Host=host), client.post(VERDICT, Host=host)):
        assert answer.told == (403, "this server answers to its own address alone")
    assert table.rows() == ()


@pytest.mark.parametrize("origin", ["http://example.org", "null", "https://127.0.0.1", "file://", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused(client: Client, table: VerdictTable, origin: str) -> None:
    for answer in (client.post(VERDICT, Origin=origin), client.get("verdicts", Origin=origin)):
        assert answer.told == (403, "verdicts are taken from the page of this server alone")
    assert table.rows() == ()


def test_a_verdict_without_origin_is_refused(client: Client, table: VerdictTable) -> None:
    assert client.post(VERDICT, Origin=None).status == 403
    assert table.rows() == ()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path", ["/", "//", "/x/", "/../", "/verdicts", "/x/verdicts", "*", "/\u00e9/", "/%00/verdicts"]
)
def test_who_does_not_know_the_word_learns_nothing(client: Client, table: VerdictTable, method: str, path: str) -> None:
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: {client.origin[7:]}\r\nOrigin: {client.origin}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    with socket.create_connection(("127.0.0.1", client.server.server_port), timeout=20) as connection:
        connection.sendall(request.encode())
        answer = connection.makefile("rb").read()
    head, body = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 404 ")
    assert json.loads(body) == {"error": "use the whole address that starloom inspect printed"}
    assert table.rows() == ()


def test_there_is_nothing_else(client: Client) -> None:
    for path in ("index.html", "../", "..%2f", "verdicts/", "verdicts?x=1", "etc/passwd"):
        assert client.get(path).told == (404, "there is the page and its verdicts, nothing else")
    assert client.post(VERDICT, path="").told == (404, "verdicts are sent to `verdicts`")
    assert client.ask("PUT", f"/{client.server.token}/", Host="127.0.0.1").status == 501


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "that is no JSON"),
        (b"{", "that is no JSON"),
        (b"\xff\xfe", "that is no JSON"),
        (b"[" * 10_000, "that is no JSON"),
        (b"[]", "a verdict is a JSON object"),
        (b'"include"', "a verdict is a JSON object"),
        (b"null", "a verdict is a JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused(client: Client, table: VerdictTable, body: bytes, told: str) -> None:
    assert client.post(body).told == (400, told)
    assert table.rows() == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mood": "good"}, "the verdict has the field 'mood'"),
        ({"verdict": "maybe"}, "the verdict has the verdict 'maybe'"),
        ({"verdict": ["include"]}, "the verdict has verdict ['include'], which is no text"),
        ({"comment": "x" * 1_001}, "the verdict has a comment of 1001 characters; 1000 fit"),
        ({"max_line_chars": "-1"}, "the verdict has max_line_chars '-1'"),
        ({"extension": ".pyx"}, "the page does not show 'python .pyx'; judge what it shows"),
        ({"language": "x" * 9_000}, f"the page does not show '{'x' * 100}'"),
        ({"language": 7}, "the page does not show '7 .py'"),
    ],
)
def test_what_cannot_stand_in_the_table_is_refused(
    client: Client, table: VerdictTable, changes: dict[str, Any], told: str
) -> None:
    status, sentence = client.post(VERDICT | changes).told
    assert status == 422
    assert sentence.startswith(told)
    assert table.rows() == ()


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_a_form_of_another_site_could_send_is_refused(client: Client, content_type: str | None) -> None:
    assert client.post(VERDICT, Content_Type=content_type).told == (415, "send the verdict as application/json")


@pytest.mark.parametrize("length", [None, "", "-1", "1e3", "\u00b2"])
def test_a_length_that_is_none_is_refused(client: Client, length: str | None) -> None:
    assert client.post(VERDICT, Content_Length=length).status == 411


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "9" * 5_000])
def test_a_verdict_that_is_too_long_is_not_read(client: Client, length: str) -> None:
    assert client.post(VERDICT, Content_Length=length).told == (413, "a verdict has at most 16384 bytes")


def test_the_longest_comment_fits(client: Client, table: VerdictTable) -> None:
    assert client.post(VERDICT | {"comment": "\U0001f40d" * 1_000}).status == 200
    assert len(table.rows()[0].comment) == 1_000


def test_many_verdicts_at_once_all_arrive(client: Client, table: VerdictTable) -> None:
    verdicts = [
        {"language": language, "extension": extension, "verdict": "exclude", "comment": str(number)}
        for number in range(6)
        for language, extension in sorted(ENDINGS)
    ]
    with ThreadPoolExecutor(8) as threads:
        assert {answer.status for answer in threads.map(client.post, verdicts)} == {200}
    assert {row.key for row in table.rows()} == ENDINGS
    assert not list(table.path.parent.glob("*.unfinished"))


def test_a_table_that_somebody_damaged_is_told(client: Client, table: VerdictTable) -> None:
    table.path.write_text("nonsense\n", encoding="utf-8")
    for answer in (client.get("verdicts"), client.post(VERDICT)):
        status, sentence = answer.told
        assert status == 422
        assert "inspection.csv line 1 has the columns" in sentence
    assert table.path.read_text(encoding="utf-8") == "nonsense\n"


def test_a_page_that_somebody_deleted_is_told(client: Client) -> None:
    client.server.page.unlink()
    assert client.get().told == (
        500, "the page cannot be read (No such file or directory); start starloom inspect again"
    )  # fmt: skip


def test_a_client_that_says_nothing_keeps_nobody_waiting(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.server.server_port)):
        assert client.get().status == 200


def test_nobody_hears_of_the_word(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    client.get()
    client.get("nothing")
    client.post(b"{")
    assert capfd.readouterr() == ("", "")


def test_only_this_machine_is_listened_to(client: Client) -> None:
    assert client.server.server_address[0] == "127.0.0.1"
    assert client.server.url.startswith(f"{client.origin}/")
    assert len(client.server.token) == 24


def test_each_server_has_a_word_of_its_own(client: Client, tmp_path: Path, table: VerdictTable) -> None:
    with VerdictServer(tmp_path / "index.html", table, ENDINGS, "Ada") as other:
        assert other.token != client.server.token


def test_a_port_that_is_taken_is_told(client: Client, tmp_path: Path, table: VerdictTable) -> None:
    port = client.server.server_port
    with pytest.raises(ServiceError, match=rf"port {port} is in use; choose another with --port"):
        VerdictServer(tmp_path / "index.html", table, ENDINGS, "Ada", port)
