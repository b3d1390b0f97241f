"""Prepare a database in turn: python -m k8s.in_turn VARIABLE COMMAND... runs the command while it holds a lock of it.

VARIABLE is the environment's name for the address of a PostgreSQL. Replicas that start together would else make the
same tables at the same time, and all but one would fail. Whoever dies lets go of the lock with its connection. Exit
codes: the command's own; 2 and one sentence if the database does not answer.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence

import psycopg

_LOCK = 0x73746172_6C6F6F6D
"""`starloom`, as PostgreSQL's advisory locks are numbers; one database, one lock."""
_CONNECT_SECONDS = 10
_KEEPALIVE_SECONDS = 30
"""A firewall that forgets a silent connection would let go of the lock."""


def run_in_turn(address: str, command: Sequence[str]) -> int:
    """The exit code of the command. Waits for its turn as long as that takes.

    `address` may name a driver, as SQLAlchemy's do. psycopg.Error if the database does not answer.
    """
    address = re.sub(r"^(postgresql|postgres)\+\w+://", "postgresql://", address)
    if not address.startswith(("postgresql://", "postgres://")):  # libpq would say all of it, password and all
        raise psycopg.OperationalError("its address does not begin with postgresql://")
    with psycopg.connect(
        address, autocommit=True, connect_timeout=_CONNECT_SECONDS, keepalives_idle=_KEEPALIVE_SECONDS
    ) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        return subprocess.run(command, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Run what is named."""
    variable, *command = arguments or [""]
    address = os.environ.get(variable)
    if not command or not address:
        told = f"{variable} is not set" if command else "usage: python -m k8s.in_turn VARIABLE COMMAND..."
        print(told, file=sys.stderr)
        return 2
    try:
        return run_in_turn(address, command)
    except psycopg.Error as error:
        why = " ".join(str(error).split())
        print(f"the database of {variable} does not answer: {why}; see that it is up and lets us in", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
