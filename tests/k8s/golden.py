"""Golden manifests: renewed with STARLOOM_RENEW=1, and then read before they are committed."""

import io
import os
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

GOLDEN = Path(__file__).with_name("golden")


def assert_golden(name: str, *manifests: dict[str, Any]) -> None:
    """The manifests are those of golden/NAME.yaml, to the last field and in the same order."""
    path, text = GOLDEN / f"{name}.yaml", io.StringIO()
    writer = YAML()
    writer.width = 4096
    writer.representer.ignore_aliases = lambda data: True
    writer.dump_all(list(manifests), text)
    if os.environ.get("STARLOOM_RENEW"):
        path.write_text(text.getvalue(), encoding="utf-8")
    assert path.exists(), f"there is no {path.name}; write it with STARLOOM_RENEW=1"
    assert text.getvalue() == path.read_text(encoding="utf-8"), f"{path.name} differs; renew it with STARLOOM_RENEW=1"
