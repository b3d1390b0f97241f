"""Objects in S3, through boto3. Of S3's conditions it relies on one alone, PutObject with `If-None-Match: *`.

An object bears its sha256 as metadata, and who reads it compares: servers differ in the checksums that they verify,
keep and give back. A large file goes up in parts, which the server verifies where it can.
"""

import hashlib
import os
import random
import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from components.errors import CorruptArtifactError, StorageError
from components.storage.object_store import ObjectStat, damaged, is_key, not_there, require_key, require_link_seconds
from model.s3_client import ABSENT, S3_FAULTS, abort_uploads, code_of, describe_fault, endpoint_of, open_client

_PART_BYTES = 64 * 1024**2
"""Of a multipart upload; boto3 takes larger ones where a file would have more than 10,000, S3's limit."""
_PARTS_AT_A_TIME = 4
_PAGE_KEYS = 1000
"""Of a listing: S3's limit."""
_CHUNK_BYTES = 1 << 20
_TRIES = 3
"""Of a read whose line breaks, and of a put that the server found in conflict with another one."""
_BROKEN_LINE = (HTTPClientError, IncompleteReadError)


class S3Store:
    """The object store of a cluster. Keeps `ObjectStore`'s promises; credentials and endpoint are boto3's own."""

    def __init__(self, url: str, setting: str, encryption: str | None = None) -> None:
        """Speaks to nobody yet. `url` is s3://bucket/prefix, `setting` the variable that errors name as its origin.

        `encryption` is what the server shall encrypt with: `AES256`, `aws:kms`, or `aws:kms:KEY` with a key's id, alias
        or ARN; None leaves it to the bucket.
        """
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._setting = setting
        self._encryption = _encryption_headers(encryption)
        self._transfer = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=_PARTS_AT_A_TIME
        )
        self._endpoint = "its endpoint"
        try:
            with self._faults_told():
                # Reads are verified here. Version 4 is the signature whose links every server takes.
                self._client = open_client(response_checksum_validation="when_required", signature_version="s3v4")
        except ValueError as error:
            raise StorageError(str(error)) from None
        self._endpoint = endpoint_of(self._client)

    @property
    def url(self) -> str:
        """s3://bucket/prefix, with no slash at its end."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put(self, key: str, content: bytes) -> None:
        """See ObjectStore."""
        named = self._named(key)
        with self._faults_told():
            self._client.put_object(**named, Body=content, Metadata=_metadata(content), **self._encryption)

    def put_once(self, key: str, content: bytes) -> bool:
        """See ObjectStore."""
        named = self._named(key)
        # Whose put it was: the answer to a put that was done may be lost, and the next try then finds its own object.
        writer = secrets.token_hex(8)
        metadata = _metadata(content) | {"writer": writer}
        with self._faults_told():
            for tries_left in reversed(range(_TRIES)):
                try:
                    self._client.put_object(
                        **named, Body=content, Metadata=metadata, IfNoneMatch="*", **self._encryption
                    )
                    return True
                except ClientError as error:
                    conflict = code_of(error) == "ConditionalRequestConflict"  # another put of the key is under way
                    if not (conflict and tries_left) and code_of(error) != "PreconditionFailed":
                        raise
                there = self._head(named)
                if there is not None:
                    return there["Metadata"].get("writer") == writer
                _wait(tries_left)
        raise StorageError(f"object {key} of {self.url} is put and deleted at once by others; end them and try again")

    def put_file(self, key: str, path: Path) -> ObjectStat:
        """See ObjectStore. Not in one act with a condition: servers differ on those of multipart uploads."""
        named = self._named(key)
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                stat = ObjectStat(file.tell(), sha256)
        except OSError as error:
            raise StorageError(f"{path} cannot be read ({error.strerror}); mend its path or permissions") from error
        extra = {"Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "SHA256", **self._encryption}
        with self._faults_told():
            self._client.upload_file(str(path), named["Bucket"], named["Key"], ExtraArgs=extra, Config=self._transfer)
        return stat

    def get(self, key: str) -> bytes:
        """See ObjectStore."""
        buffer = BytesIO()
        self._read(key, buffer)
        return buffer.getvalue()

    def get_file(self, key: str, path: Path) -> ObjectStat:
        """See ObjectStore."""
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.unfinished")
        try:
            try:
                with unfinished.open("wb") as file:
                    stat = self._read(key, file)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.rename(path)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written ({error.strerror}); make room there or mend its path or permissions"
            ) from error
        return stat

    def stat(self, key: str) -> ObjectStat | None:
        """See ObjectStore."""
        named = self._named(key)
        with self._faults_told():
            there = self._head(named)
        return None if there is None else self._stat_of(key, there)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See ObjectStore."""
        with self._faults_told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix, PaginationConfig={"PageSize": _PAGE_KEYS}
            )
            for page in pages:
                found = [str(item["Key"]).removeprefix(self._prefix) for item in page.get("Contents", [])]
                yield from filter(is_key, found)

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        named = self._named(key)
        with self._faults_told():
            self._client.delete_object(**named)

    def link(self, key: str, valid_seconds: int) -> str | None:
        """See ObjectStore. Signed here, nobody is asked; one made with a role's credentials ends with them."""
        named, seconds = self._named(key), require_link_seconds(valid_seconds)
        with self._faults_told():
            return str(self._client.generate_presigned_url("get_object", Params=named, ExpiresIn=seconds))

    def remove_unfinished(self, older_than_seconds: float) -> int:
        """See ObjectStore. Their parts are stored and paid for."""
        with self._faults_told():
            return abort_uploads(self._client, self._bucket, self._prefix, older_than_seconds)

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + require_key(key)}

    def _head(self, named: dict[str, str]) -> dict[str, Any] | None:
        try:
            return self._client.head_object(**named)
        except ClientError as error:
            if code_of(error) not in ABSENT:
                raise
            return None

    def _read(self, key: str, target: IO[bytes]) -> ObjectStat:
        """Stream the object into `target`, and see that it is what was put."""
        with self._faults_told():
            stat, sha256 = self._stream(key, target)
        if sha256 != stat.sha256:
            raise damaged(key, self, sha256)
        return stat

    def _stream(self, key: str, target: IO[bytes]) -> tuple[ObjectStat, str]:
        """What is said of the object, and the sha256 of what came; from the start again if the line breaks."""
        tries_left = _TRIES
        while True:
            response = self._open(key)
            stat = self._stat_of(key, response)
            target.seek(0)
            target.truncate()
            try:
                return stat, _copy(response["Body"], target)
            except _BROKEN_LINE:
                tries_left -= 1
                if not tries_left:
                    raise
            _wait(tries_left)

    def _open(self, key: str) -> dict[str, Any]:
        try:
            return self._client.get_object(**self._named(key))
        except ClientError as error:
            if code_of(error) not in ABSENT:
                raise
            raise not_there(key, self) from None

    def _stat_of(self, key: str, response: dict[str, Any]) -> ObjectStat:
        sha256 = response["Metadata"].get("sha256")
        if sha256 is None:
            raise CorruptArtifactError(
                f"object {key} of {self.url} bears no sha256, so another program put it there; delete it or mend the "
                "key"
            )
        return ObjectStat(int(response["ContentLength"]), sha256)

    @contextmanager
    def _faults_told(self) -> Generator[None]:
        """Turn what boto3 raises into a StorageError that says the mend, and nothing that may be secret."""
        try:
            yield
        except S3_FAULTS as error:
            fault = describe_fault(error, self._endpoint, self._setting, "works without it")
            raise StorageError(f"the object store s3://{self._bucket} cannot be used: {fault}") from None


def _encryption_headers(encryption: str | None) -> dict[str, str]:
    if encryption is None or encryption == "AES256":
        return {"ServerSideEncryption": encryption} if encryption else {}
    key = encryption.removeprefix("aws:kms").removeprefix(":")
    return {"ServerSideEncryption": "aws:kms"} | ({"SSEKMSKeyId": key} if key else {})


def _metadata(content: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(content).hexdigest()}


def _copy(body: Any, target: IO[bytes]) -> str:
    """Copy what the server sends; its sha256."""
    digest = hashlib.sha256()
    for chunk in body.iter_chunks(_CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _wait(tries_left: int) -> None:
    """A random part of a second, then of two: those who failed together must not come back together."""
    time.sleep(random.uniform(0, _TRIES - tries_left))
