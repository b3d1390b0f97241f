"""The checkpoints of one run in S3, and the only file that speaks to it. Credentials and endpoint are boto3's own.

    s3://bucket/prefix/3f2a91c07b5d8e64/step-00000100/rank-00000.safetensors   the files of a directory of checkpoints,
                                                      ...                      under the run that they belong to
                                                      commit.json              put last, and once

One rank's view: what all ranks must have done before the commit is `checkpoint_uploads.py`'s concern.
"""

import hashlib
import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)

from model.checkpoint_commit import COMMIT_FILE, DamagedError, step_name
from model.durable_files import writing_to
from model.training_errors import TrainingFailedError

_PART_BYTES = 64 * 1024**2
"""Of a multipart upload: 10,000 parts, S3's limit, are 640 GB."""
_PARTS_AT_A_TIME = 4
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_ATTEMPTS = 3
_STEP = re.compile(r"step-(\d{8})/")
_ABSENT = {"404", "NoSuchKey"}
_REFUSED = {401, 403}


class RemoteCheckpoints:
    """The checkpoints of a run under an `s3://bucket/prefix`.

    Every method raises TrainingFailedError, one sentence with the mend, if the bucket cannot be used.
    """

    def __init__(self, url: str, identity: Mapping[str, str]) -> None:
        """Speaks to nobody yet. `identity` decides which run's checkpoints these are."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        run = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()[:16]
        self._bucket = bucket
        self._prefix = "/".join(part for part in (prefix.strip("/"), run) if part) + "/"
        self._transfer = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=_PARTS_AT_A_TIME
        )
        self._endpoint = "its endpoint"
        retries: Any = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
        config = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries=retries)
        try:
            with self._faults_told():
                self._client: Any = boto3.Session().client("s3", config=config)
        except ValueError:
            raise TrainingFailedError("AWS_ENDPOINT_URL is no address; give http://HOST:PORT or https://HOST") from None
        self._endpoint = _without_secrets(self._client.meta.endpoint_url)

    @property
    def url(self) -> str:
        """Where the checkpoints of this run lie."""
        return f"s3://{self._bucket}/{self._prefix}"

    def steps(self) -> list[int]:
        """The steps that have a commit, ascending."""
        return sorted(step for step, key in self._objects() if key.endswith(f"/{COMMIT_FILE}"))

    def upload(self, path: Path, step: int) -> None:
        """Put a file of a checkpoint, replacing what is there; S3 verifies every part by its sha256."""
        with self._faults_told():
            self._client.upload_file(
                str(path),
                self._bucket,
                self._key(step, path.name),
                ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                Config=self._transfer,
            )

    def download(self, step: int, path: Path) -> None:
        """Get a checkpoint's file of that name; DamagedError if it is not there. The disk's faults as `writing_to`."""
        key = self._key(step, path.name)
        with writing_to(path), self._faults_told():
            try:
                self._client.download_file(self._bucket, key, str(path), Config=self._transfer)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                raise DamagedError(f"s3://{self._bucket}/{key} is not there") from None

    def commit_of(self, step: int) -> bytes | None:
        """The bytes of a step's commit, None if it has none."""
        with self._faults_told():
            try:
                return self._client.get_object(Bucket=self._bucket, Key=self._key(step, COMMIT_FILE))["Body"].read()
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                return None

    def require_no_other_commit(self, step: int, content: bytes) -> None:
        """TrainingFailedError if the step has a commit already and it is not `content`."""
        if self.commit_of(step) not in (None, content):
            raise TrainingFailedError(
                f"{self.url}{step_name(step)} holds another checkpoint of this run, which is left as it is; remove it "
                "to have this one there"
            )

    def commit(self, step: int, content: bytes) -> None:
        """Make what was uploaded a checkpoint. A commit is written once: an equal one is fine, another is refused."""
        with self._faults_told():
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._key(step, COMMIT_FILE), Body=content, IfNoneMatch="*"
                )
            except ClientError as error:
                if _code(error) != "PreconditionFailed":
                    raise
        self.require_no_other_commit(step, content)

    def keep_newest(self, count: int) -> None:
        """Remove all that is older than the newest `count` checkpoints, also what was never committed."""
        kept = self.steps()[-count:]
        if kept:
            self._remove([(step, key) for step, key in self._objects() if step < kept[0]])

    def remove(self, step: int) -> None:
        """Remove a step's checkpoint or its remains."""
        self._remove([(found, key) for found, key in self._objects() if found == step])

    def abort_unfinished_uploads(self) -> None:
        """End the multipart uploads of this run that a killed rank left behind: their parts are stored and paid for."""
        with self._faults_told():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for upload in [upload for page in pages for upload in page.get("Uploads", [])]:
                if upload["Key"].startswith(self._prefix):
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def _remove(self, found: list[tuple[int, str]]) -> None:
        # Commits first: what is half removed must not pass for a checkpoint.
        for _, key in sorted(found, key=lambda item: not item[1].endswith(f"/{COMMIT_FILE}")):
            with self._faults_told():
                self._client.delete_object(Bucket=self._bucket, Key=key)

    def _objects(self) -> list[tuple[int, str]]:
        """Step and key of every object of this run."""
        with self._faults_told():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            keys = [str(item["Key"]) for page in pages for item in page.get("Contents", [])]
        return list(_with_steps(keys, self._prefix))

    def _key(self, step: int, name: str) -> str:
        return f"{self._prefix}{step_name(step)}/{name}"

    @contextmanager
    def _faults_told(self) -> Generator[None]:
        """Turn what boto3 raises into a TrainingFailedError that says the mend, and nothing that may be secret."""
        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            fault = self._fault(_innermost(error))
            raise TrainingFailedError(f"the checkpoint store s3://{self._bucket} cannot be used: {fault}") from None

    def _fault(self, error: BaseException) -> str:
        match error:
            case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
                return (
                    "boto3 finds no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or give this machine "
                    "a role"
                )
            case ConnectionError() | HTTPClientError() | IncompleteReadError():
                return (
                    f"{self._endpoint} does not answer ({type(error).__name__}); start it, or mend AWS_ENDPOINT_URL "
                    "or the network; STARLOOM_CHECKPOINT_STORE unset trains without it"
                )
            case ClientError() if _code(error) == "NoSuchBucket":
                return f"{self._endpoint} has no such bucket; create it or mend STARLOOM_CHECKPOINT_STORE"
            case ClientError() if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _REFUSED:
                return (
                    f"{self._endpoint} refuses {error.operation_name} ({_code(error)}); mend the credentials or their "
                    "rights on the bucket"
                )
            case ClientError():
                return f"{self._endpoint} answers {error.operation_name} with {_code(error)}; see its log"
            case _:
                return f"boto3 raises {type(error).__name__}; mend its configuration"


def _with_steps(keys: list[str], prefix: str) -> Iterator[tuple[int, str]]:
    for key in keys:
        step = _STEP.match(key.removeprefix(prefix))
        if step:
            yield int(step[1]), key


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _innermost(error: BaseException) -> BaseException:
    """What boto3's transfers wrap."""
    wrapped = getattr(error, "last_exception", None) or (error.__context__ if isinstance(error, Boto3Error) else None)
    return wrapped if isinstance(wrapped, BaseException) else error


def _without_secrets(endpoint: str) -> str:
    """Scheme, host and port alone: an address may hold a user and a password."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
