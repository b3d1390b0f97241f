"""Backups in the object store: python -m k8s.backup store DIRECTORY URL | fetch URL/STAMP DIRECTORY.

A backup is a prefix named by the second it was begun, with the files of a directory and `manifest.json`, which says the
size and the sha256 of each. The manifest is written last and once: a backup without one was never finished. `fetch`
judges every byte by it.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import boto3
from botocore.exceptions import BotoCoreError, ClientError

MANIFEST = "manifest.json"


class BackupError(Exception):
    """A backup that was not stored, or cannot be trusted; one sentence."""


def store(directory: Path, url: str, now: datetime) -> str:
    """Upload every file of `directory` under `url`/STAMP and return that address; BackupError says why not."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    if not files:
        raise BackupError(f"there is nothing to back up in {directory}; did the dump fail?")
    bucket, prefix = _parsed(url)
    prefix = f"{prefix}/{now.astimezone(UTC):%Y%m%dT%H%M%SZ}".lstrip("/")
    manifest: dict[str, Any] = {}
    try:
        client = boto3.client("s3")
        for path in files:
            client.upload_file(str(path), bucket, f"{prefix}/{path.name}")
            manifest[path.name] = {"sha256": _sha256(path), "size_bytes": path.stat().st_size}
        body = json.dumps({"files": manifest}, sort_keys=True).encode()
        client.put_object(Bucket=bucket, Key=f"{prefix}/{MANIFEST}", Body=body, IfNoneMatch="*")
    except (BotoCoreError, ClientError) as error:
        raise BackupError(f"the backup was not stored in s3://{bucket}/{prefix}: {error}") from error
    return f"s3://{bucket}/{prefix}"


def fetch(url: str, directory: Path) -> tuple[Path, ...]:
    """Download a backup into `directory` and return its files; BackupError names one whose bytes are others."""
    bucket, prefix = _parsed(url)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        client = boto3.client("s3")
        body = client.get_object(Bucket=bucket, Key=f"{prefix}/{MANIFEST}")["Body"].read()
        recorded: dict[str, Any] = json.loads(body)["files"]
        for name in recorded:
            client.download_file(bucket, f"{prefix}/{name}", str(directory / name))
    except (BotoCoreError, ClientError) as error:
        raise BackupError(f"{url} cannot be fetched as a whole backup: {error}") from error
    for name, facts in recorded.items():
        if _sha256(directory / name) != facts["sha256"]:
            raise BackupError(f"{name} of {url} is damaged: its sha256 is not that of the manifest; take an older one")
    return tuple(directory / name for name in sorted(recorded))


def _parsed(url: str) -> tuple[str, str]:
    parts = urlparse(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise BackupError(f"{url!r} is no address in an object store; say s3://BUCKET/PREFIX")
    return parts.netloc, parts.path.strip("/")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Do one of the two; exit code 2 and one sentence when it cannot be done."""
    try:
        match arguments:
            case ["store", directory, url]:
                print(store(Path(directory), url, datetime.now(UTC)))
            case ["fetch", url, directory]:
                print("\n".join(str(path) for path in fetch(url, Path(directory))))
            case _:
                print("usage: python -m k8s.backup store DIRECTORY URL | fetch URL/STAMP DIRECTORY", file=sys.stderr)
                return 2
    except BackupError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
