"""Serves the page of the inspection to this machine's browser, and writes each verdict into the table as it is given.

Only 127.0.0.1 is listened on, and only who knows the random word in the address is answered. A page of another site
that the same browser shows can neither read nor judge: requests under a foreign name (DNS rebinding) or from a foreign
origin are refused, and a verdict must be JSON, which a form of another site cannot send.
"""

import errno
import hmac
import json
import os
import secrets
import shutil
from datetime import date
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from components.errors import ServiceError, SourceError, StarloomError
from components.inspection.verdict_table import VerdictTable, cells_of

MAX_BODY_BYTES = 2**14
"""A verdict with the longest comment has a fourth of it."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class VerdictServer(ThreadingHTTPServer):
    """A server for one page and one table; `serve_forever` runs it, `server_close` lets the port go."""

    daemon_threads = True

    def __init__(
        self, page: Path, table: VerdictTable, endings: frozenset[tuple[str, str]], reviewer: str, port: int = 0
    ) -> None:
        """Listen on `port`, 0 for any that is free; ServiceError if it is taken.

        `endings` are those on the page, by language and ending: no others are judged.
        """
        self.page = page
        self.table = table
        self.endings = endings
        self.reviewer = reviewer
        self.token = secrets.token_urlsafe(18)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is in use" if error.errno == errno.EADDRINUSE else "may not be listened on"
            raise ServiceError(f"port {port} {why}; choose another with --port, or 0 for any that is free") from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"


class _Refusal(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: VerdictServer  # pyright: ignore[reportIncompatibleVariableOverride] - it is made by no other
    timeout = 10  # seconds that a client may keep its thread waiting

    def do_GET(self) -> None:
        """The page, or what has been judged by now."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """A verdict."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the address holds the secret word."""

    def version_string(self) -> str:
        """What the header Server says."""
        return "starloom"

    def _answer(self, act: Any) -> None:
        try:
            self._require_own_browser()
            act()
        except _Refusal as refusal:
            self._send_json(refusal.status, {"error": str(refusal)})
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def _require_own_browser(self) -> None:
        """Refuse who does not know the token, and who speaks under another name or for another site."""
        names = {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0] not in names:
            raise _Refusal(HTTPStatus.FORBIDDEN, "this server answers to its own address alone")
        origins = self.headers.get_all("Origin", [])
        is_own = origins == [f"http://{hosts[0]}"]
        if not is_own and (origins or self.command == "POST"):
            raise _Refusal(HTTPStatus.FORBIDDEN, "verdicts are taken from the page of this server alone")
        _, token, *rest = [*self.path.split("/", 2), ""]
        if not hmac.compare_digest(token.encode(errors="replace"), self.server.token.encode()):
            raise _Refusal(HTTPStatus.NOT_FOUND, "use the whole address that starloom inspect printed")
        self._asked = rest[0]

    def _get(self) -> None:
        if self._asked == "":
            with self._open_page() as page:
                self._send_head(HTTPStatus.OK, "text/html; charset=utf-8", os.fstat(page.fileno()).st_size)
                shutil.copyfileobj(page, self.wfile)
        elif self._asked == "verdicts":
            rows = [cells_of(row) for row in self._told(self.server.table.rows)]
            self._send_json(HTTPStatus.OK, {"reviewer": self.server.reviewer, "rows": rows})
        else:
            raise _Refusal(HTTPStatus.NOT_FOUND, "there is the page and its verdicts, nothing else")

    def _open_page(self) -> BinaryIO:
        try:
            return self.server.page.open("rb")
        except OSError as error:
            why = f"the page cannot be read ({error.strerror}); start starloom inspect again"
            raise _Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, why) from None

    def _post(self) -> None:
        if self._asked != "verdicts":
            raise _Refusal(HTTPStatus.NOT_FOUND, "verdicts are sent to `verdicts`")
        form = self._read_form()
        if (form.get("language"), form.get("extension")) not in self.server.endings:
            told = f"{form.get('language')} {form.get('extension')}"[:100]
            raise _Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"the page does not show {told!r}; judge what it shows")
        row = self._told(lambda: self.server.table.record(form, self.server.reviewer, date.today()))
        self._send_json(HTTPStatus.OK, cells_of(row))

    def _read_form(self) -> dict[str, Any]:
        if self.headers.get_content_type() != "application/json":
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the verdict as application/json")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "say in Content-Length how long the verdict is")
        if int(length[:20]) > MAX_BODY_BYTES:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a verdict has at most {MAX_BODY_BYTES} bytes")
        try:
            form = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "that is no JSON") from None
        if not isinstance(form, dict):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "a verdict is a JSON object")
        return form

    def _told(self, act: Any) -> Any:
        """The result of `act`, or its failure as an answer."""
        try:
            return act()
        except SourceError as error:
            raise _Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        except StarloomError as error:
            raise _Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from None

    def _send_json(self, status: HTTPStatus, body: Any) -> None:
        data = json.dumps(body).encode()
        self._send_head(status, "application/json", len(data))
        self.wfile.write(data)

    def _send_head(self, status: HTTPStatus, content_type: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
