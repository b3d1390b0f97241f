"""The way to S3: a client that tries again with jitter, and what is wrong with it as a clause that says the mend.

Credentials and endpoint are boto3's own. No clause tells a credential, nor what an address holds beside its host.
"""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

S3_FAULTS = (BotoCoreError, ClientError, Boto3Error)
"""What boto3 raises."""
ABSENT = {"404", "NoSuchKey"}
"""Codes of an object that is not there."""

_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_ATTEMPTS = 3
_REFUSED = {401, 403}
_OF_THE_SETTINGS = {"AccessDenied", "InvalidAccessKeyId", "InvalidBucketName", "NoSuchBucket", "SignatureDoesNotMatch"}
_SKEWED = "RequestTimeTooSkewed"
_LARGEST_SKEW_SECONDS = 900
"""Of two clocks, S3's limit."""


def open_client(**options: Any) -> Any:
    """A client of S3, which tries a request three times; `options` are more of botocore's Config.

    It speaks to nobody yet. Raises ValueError if AWS_ENDPOINT_URL is no address, else one of S3_FAULTS.
    """
    # `standard` waits a random part of 1, 2, 4 ... seconds, and counts a 500, 503, SlowDown or lost line as a try.
    retries: Any = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
    config = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries=retries, **options)
    try:
        client = boto3.Session().client("s3", config=config)
        parts = urlsplit(client.meta.endpoint_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:  # or the port raises
            raise ValueError
        return client
    except ValueError:
        raise ValueError("AWS_ENDPOINT_URL is no address; give http://HOST:PORT or https://HOST") from None


def abort_uploads(client: Any, bucket: str, prefix: str, older_than_seconds: float = -math.inf) -> int:
    """End the multipart uploads under `prefix` that nobody finished; returns how many. Parts are stored and paid for.

    All of them by default, whatever this machine's clock says of the server's. Raises one of S3_FAULTS.
    """
    aborted = 0
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    for upload in [upload for page in pages for upload in page.get("Uploads", [])]:
        age_seconds = (datetime.now(UTC) - upload["Initiated"]).total_seconds()
        if upload["Key"].startswith(prefix) and age_seconds >= older_than_seconds:
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            aborted += 1
    return aborted


def endpoint_of(client: Any) -> str:
    """Scheme, host and port alone: an address may hold a user and a password."""
    parts = urlsplit(client.meta.endpoint_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def code_of(error: ClientError) -> str:
    """S3's own name of what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_mistake(error: BaseException) -> bool:
    """Whether S3 will say the same until a person mends the settings, the bucket or the rights on it."""
    match _innermost(error):
        case ClientError() as fault:
            return code_of(fault) in _OF_THE_SETTINGS
        case fault:
            return isinstance(fault, ParamValidationError)


def describe_fault(error: BaseException, endpoint: str, setting: str, unset: str) -> str:
    """What is wrong, as a clause with the mend: `setting` names the bucket, and `unset` says what its absence does."""
    match _innermost(error):
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return (
                "boto3 finds no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or give this machine a "
                "role"
            )
        case (ConnectionError() | HTTPClientError() | IncompleteReadError()) as fault:
            return (
                f"{endpoint} does not answer ({type(fault).__name__}); start it, or mend AWS_ENDPOINT_URL or the "
                f"network; {setting} unset {unset}"
            )
        case ClientError() as fault if code_of(fault) == "NoSuchBucket":
            return f"{endpoint} has no such bucket; create it or mend {setting}"
        case ParamValidationError():
            return f"a bucket has no such name; mend {setting}"
        case ClientError() as fault if _is_skewed(fault):
            return f"the clock of {endpoint} and the one of this machine differ by minutes; set the wrong one"
        case ClientError() as fault if fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _REFUSED:
            return (
                f"{endpoint} refuses {fault.operation_name} ({code_of(fault)}); mend the credentials or their rights "
                "on the bucket"
            )
        case ClientError() as fault:
            return f"{endpoint} answers {fault.operation_name} with {code_of(fault)}; see its log"
        case fault:
            return f"boto3 raises {type(fault).__name__}; mend its configuration"


def _is_skewed(refused: ClientError) -> bool:
    """By the code or, as the answer to a HEAD has none, by the server's own clock."""
    if code_of(refused) != "403":
        return code_of(refused) == _SKEWED
    said = refused.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        skew = datetime.now(UTC) - parsedate_to_datetime(said)
    except (TypeError, ValueError):  # none, or one without a zone
        return False
    return abs(skew.total_seconds()) > _LARGEST_SKEW_SECONDS


def _innermost(error: BaseException) -> BaseException:
    """What boto3's transfers wrap."""
    wrapped = getattr(error, "last_exception", None) or (error.__context__ if isinstance(error, Boto3Error) else None)
    return wrapped if isinstance(wrapped, BaseException) else error
