"""python -m tests.ceph_server -- COMMAND: runs a command against a real S3 server, Ceph's, that lives as long as it.

A private cluster: one monitor, one OSD in memory, one RADOS gateway on a free port of 127.0.0.1, in a temporary
directory. It wants Debian's `ceph-mon`, `ceph-osd` and `radosgw`, about 350 MB of memory, and no rights of root.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.components.storage.s3_servers import S3Server, await_answer
from tests.free_port import free_port

_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_START_SECONDS = 120
_STOP_SECONDS = 30
# The gateway asks the monitor for an encrypted line, which there is not without cephx: hence `crc`.
_CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{monitor_port}]
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
public addr = 127.0.0.1
run dir = {place}
admin socket =
log file = {place}/$name.log
pid file =
crash dir = {place}
keyring = {place}/no-keyring
mon data = {place}/monitor
osd data = {place}/osd
rgw data = {place}/gateway

mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0

osd objectstore = memstore
memstore device bytes = 4294967296

rgw frontends = beast endpoint=127.0.0.1:{gateway_port}
rgw thread pool size = 32
rgw dynamic resharding = false
"""


@dataclass(frozen=True)
class _Cluster:
    """Where the private cluster lies."""

    place: Path

    @property
    def _config(self) -> tuple[str, str]:
        return ("-c", str(self.place / "ceph.conf"))

    def run(self, program: str, *arguments: str) -> str:
        """What a program says that ends by itself."""
        with (self.place / "setup.log").open("ab") as log:
            done = subprocess.run(
                (program, *self._config, *arguments),
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.place,
                check=True,
                timeout=_START_SECONDS,
            )
        return done.stdout.decode()

    @contextmanager
    def daemon(self, program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """One that runs, and ends with this process however that one ends."""
        with (self.place / "setup.log").open("ab") as log:
            process = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", program, *self._config, "--foreground", *arguments),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.place,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def ceph_server() -> Iterator[S3Server]:
    """Started anew, with one user; gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="starloom-ceph-"))
    try:
        with ExitStack() as held:
            yield _start(_Cluster(place), held)
    except Exception:
        if (place / "setup.log").exists():
            sys.stderr.write((place / "setup.log").read_text(errors="replace")[-4000:])
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _start(cluster: _Cluster, held: ExitStack) -> S3Server:
    fsid, osd, gateway_port, monitor_port = str(uuid.uuid4()), str(uuid.uuid4()), free_port(), free_port()
    config = _CONFIG.format(fsid=fsid, place=cluster.place, monitor_port=monitor_port, gateway_port=gateway_port)
    (cluster.place / "ceph.conf").write_text(config)
    for directory in ("monitor", "osd", "gateway"):
        (cluster.place / directory).mkdir()
    cluster.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{monitor_port}]", "monmap")
    cluster.run("ceph-mon", "--mkfs", "--id", "a", "--monmap", "monmap")
    held.enter_context(cluster.daemon("ceph-mon", "--id", "a"))
    number = cluster.run("ceph", "--connect-timeout", str(_START_SECONDS), "osd", "new", osd).strip()
    cluster.run("ceph-osd", "--mkfs", "--id", number, "--osd-uuid", osd)
    held.enter_context(cluster.daemon("ceph-osd", "--id", number))
    # Returns when the OSD is up and has made the pools.
    made = json.loads(cluster.run("radosgw-admin", "user", "create", "--uid", "tester", "--display-name", "tester"))
    (keys,) = made["keys"]
    gateway = held.enter_context(cluster.daemon("radosgw", "--name", "client.gateway"))
    endpoint = f"http://127.0.0.1:{gateway_port}"
    await_answer(endpoint, gateway, "radosgw", _START_SECONDS)
    return S3Server(endpoint, keys["access_key"], keys["secret_key"])


def main() -> int:
    """Returns the command's code."""
    command = sys.argv[2:]
    if sys.argv[1:2] != ["--"] or not command:
        print("usage: python -m tests.ceph_server -- COMMAND", file=sys.stderr)
        return 2
    missing = [program for program in (*_PROGRAMS, "setpriv") if shutil.which(program) is None]
    if missing:
        print(f"{missing[0]} is not there; install Debian's ceph-mon, ceph-osd and radosgw", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    with ceph_server() as server:
        print(f"Ceph answers at {server.endpoint} after {time.monotonic() - began:.0f} seconds", file=sys.stderr)
        return subprocess.run(command, env=os.environ | server.test_environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
