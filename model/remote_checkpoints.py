"""The checkpoints of one run in S3.

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

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from model.checkpoint_commit import COMMIT_FILE, DamagedError, step_name
from model.durable_files import writing_to
from model.s3_client import (
    ABSENT,
    S3_FAULTS,
    abort_uploads,
    code_of,
    describe_fault,
    endpoint_of,
    is_mistake,
    open_client,
)
from model.training_errors import RequestError, TrainingFailedError

_PART_BYTES = 64 * 1024**2
"""Of a multipart upload: 10,000 parts, S3's limit, are 640 GB."""
_PARTS_AT_A_TIME = 4
_STEP = re.compile(r"step-(\d{8})/")


class RemoteCheckpoints:
    """The checkpoints of a run under an `s3://bucket/prefix`.

    Every method raises TrainingFailedError, one sentence with the mend, if the bucket cannot be used, which is a
    RequestError if a person must mend the address, the credentials or the bucket before it can.
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
        try:
            with self._faults_told():
                self._client = open_client()
        except ValueError as error:
            raise RequestError(str(error)) from None
        self._endpoint = endpoint_of(self._client)

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
                if code_of(error) not in ABSENT:
                    raise
                raise DamagedError(f"s3://{self._bucket}/{key} is not there") from None

    def commit_of(self, step: int) -> bytes | None:
        """The bytes of a step's commit, None if it has none."""
        with self._faults_told():
            try:
                return self._client.get_object(Bucket=self._bucket, Key=self._key(step, COMMIT_FILE))["Body"].read()
            except ClientError as error:
                if code_of(error) not in ABSENT:
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
                if code_of(error) != "PreconditionFailed":
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
            abort_uploads(self._client, self._bucket, self._prefix)

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
        except S3_FAULTS as error:
            fault = describe_fault(error, self._endpoint, "STARLOOM_CHECKPOINT_STORE", "trains without it")
            kind = RequestError if is_mistake(error) else TrainingFailedError
            raise kind(f"the checkpoint store s3://{self._bucket} cannot be used: {fault}") from None


def _with_steps(keys: list[str], prefix: str) -> Iterator[tuple[int, str]]:
    for key in keys:
        step = _STEP.match(key.removeprefix(prefix))
        if step:
            yield int(step[1]), key
