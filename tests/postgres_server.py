"""A private PostgreSQL: in a temporary directory, on a free port of this machine, as a user that is not root."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg

from tests.free_port import free_port

_ROOTS_STAND_IN = "nobody"
"""PostgreSQL refuses to run as root."""


@dataclass(frozen=True)
class PostgresServer:
    """One that runs, and who may use it."""

    url: str = field(repr=False)
    """postgresql://USER:PASSWORD@HOST:PORT."""
    programs: Path | None = None
    """Its initdb, pg_ctl and postgres; None if it is not ours to stop."""
    place: Path | None = None
    """Owned by the user that it runs as."""

    def query(self, database: str, statement: LiteralString, *values: str) -> list[tuple[Any, ...]]:
        """Rows of one database; each %s of the statement is a value."""
        with psycopg.connect(f"{self.url}/{database}", autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """As an operator does who does not wait for its clients."""
        self._run("pg_ctl", "-D", "data", "-m", "fast", "-w", "stop")

    def start(self) -> None:
        """Return when it takes connections."""
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "start")

    def _run(self, program: str, *arguments: str) -> None:
        assert self.programs
        assert self.place
        subprocess.run(
            (self.programs / program, *arguments),
            cwd=self.place,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            check=True,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            **_as_no_root(),
        )


@contextmanager
def private_postgres(programs: Path) -> Iterator[PostgresServer]:
    """Started anew, with a password that an address has to escape; gone afterwards."""
    port, place = free_port(), Path(tempfile.mkdtemp(prefix="starloom-postgres-"))
    password = f"p@ss/w%rd:{secrets.token_hex(4)}"
    server = PostgresServer(f"postgresql://app:{quote(password, safe='')}@127.0.0.1:{port}", programs, place)
    try:
        (place / "password").write_text(password)
        if os.geteuid() == 0:
            for path in (place, place / "password"):
                shutil.chown(path, _ROOTS_STAND_IN)
        signed = ("-A", "scram-sha-256", "--pwfile", "password")
        server._run("initdb", "-D", "data", "-U", "app", *signed, "--encoding", "UTF8", "--no-sync")
        with (place / "data" / "postgresql.conf").open("a") as settings:
            settings.write(
                f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
            )
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def live_postgres() -> PostgresServer | None:
    """The one of STARLOOM_TEST_DATABASE_URL."""
    url = os.environ.get("STARLOOM_TEST_DATABASE_URL")
    return PostgresServer(url) if url else None


def system_programs() -> Path | None:
    """Where the newest PostgreSQL of this system has its programs.

    Those on PyPI (pgserver) will not do: they lack the extension pg_trgm, without which Prefect's server ends.
    """
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def _as_no_root() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": _ROOTS_STAND_IN, "group": "nogroup", "extra_groups": []}
