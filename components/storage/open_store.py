"""From what a setting names to the store that it means."""

from pathlib import Path

from components.storage.directory_store import DirectoryStore
from components.storage.object_store import ObjectStore


def open_store(place: str, setting: str, encryption: str | None = None) -> ObjectStore:
    """The store at an absolute path or at s3://bucket/prefix; touches nothing yet. For the rest see S3Store."""
    if not place.startswith("s3://"):
        return DirectoryStore(Path(place))
    from components.storage.s3_store import S3Store  # noqa: PLC0415 - boto3 costs half a second

    return S3Store(place, setting, encryption)
