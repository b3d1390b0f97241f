"""Bring a bundle from the object store and verify it: python -m k8s.fetch_bundle URL DIGEST PLACE.

The init container of a model server runs it. The digest is the registered version's `bundle_digest`: the files that
MLflow keeps can be overwritten in place, and only what the gate judged may be served. PLACE appears whole or not.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import boto3
from botocore.exceptions import BotoCoreError, ClientError

RECORD_FILE = "_record.json"


class BundleFetchError(Exception):
    """There is no such bundle, or it is another one; one sentence."""


def fetch_bundle(url: str, digest: str, place: Path) -> None:
    """Download what lies under `url` into `place`, if its digest is `digest`; else BundleFetchError and no `place`."""
    parts = urlparse(url)
    prefix = parts.path.strip("/") + "/"
    if parts.scheme != "s3" or not parts.netloc:
        raise BundleFetchError(f"{url!r} is no address in an object store; say s3://BUCKET/PREFIX")
    partial = place.with_name(place.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        client = boto3.client("s3")
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=prefix):
            for item in page.get("Contents", ()):
                _download(client, parts.netloc, item["Key"], _inside(partial, item["Key"][len(prefix) :]))
    except (BotoCoreError, ClientError) as error:
        raise BundleFetchError(f"the bundle {url} cannot be fetched: {error}") from error
    found = bundle_digest(partial)
    if found != digest:
        raise BundleFetchError(f"the bundle {url} has the digest {found}, not {digest}; it is not served")
    partial.rename(place)


def bundle_digest(directory: Path) -> str:
    """sha256 over paths and bytes of every file but the record, as the records of starloom say it."""
    files = {
        path.relative_to(directory).as_posix(): _sha256(path)
        for path in directory.rglob("*")
        if path.is_file() and path != directory / RECORD_FILE
    }
    text = json.dumps(files, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _inside(directory: Path, name: str) -> Path:
    """Keys are chosen by whoever can write to the bucket: none may lead out of the directory."""
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise BundleFetchError(f"the bundle holds {name!r}, which is no path of a file in it")
    return directory / name


def _download(client: Any, bucket: str, key: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    client.download_file(bucket, key, str(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Fetch one bundle; exit code 2 and one sentence when it cannot be had."""
    if len(arguments) != 3:
        print("usage: python -m k8s.fetch_bundle URL DIGEST PLACE", file=sys.stderr)
        return 2
    url, digest, place = arguments
    try:
        fetch_bundle(url, digest, Path(place))
    except BundleFetchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
