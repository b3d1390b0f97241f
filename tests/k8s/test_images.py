"""The images: linted, locked to the hash, and without what does not belong in them."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "k8s" / "images"
DOCKERFILES = sorted(IMAGES.glob("*.Dockerfile"))
NAMES = [path.stem for path in DOCKERFILES]

Pins = dict[str, tuple[str, frozenset[str]]]


def pins_of(lock: Path) -> Pins:
    """Version and hashes by package."""
    entries = re.split(r"\n(?=[a-z0-9])", lock.read_text(encoding="utf-8"))
    found: Pins = {}
    for entry in entries:
        if pin := re.match(r"([a-z0-9-]+)==(\S+)", entry):
            found[pin[1]] = (pin[2], frozenset(re.findall(r"sha256:[0-9a-f]{64}", entry)))
    return found


def instructions_of(path: Path) -> list[str]:
    """The instructions of a Dockerfile, continuation lines joined, comments gone."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    return [line.strip() for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines() if line.strip()]


def test_there_is_an_image_for_the_platform_and_one_for_the_ranks():
    assert NAMES == ["training", "worker"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=NAMES)
def test_hadolint_finds_nothing(dockerfile: Path):
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, dockerfile], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=NAMES)
def test_an_image_keeps_our_rules(dockerfile: Path):
    instructions = instructions_of(dockerfile)
    bases = [line for line in instructions if line.startswith("FROM ")]
    assert len(bases) == 2, "what builds stays behind"
    (named,) = [line for line in instructions if line.startswith("ARG PYTHON_IMAGE=")]
    assert re.search(r":3\.11-slim-\w+$", named), "Debian's release is named, not whatever is newest"
    last = instructions[instructions.index(bases[1]) :]
    assert [line for line in last if line.startswith("USER ")] == ["USER 10001:10001"]
    assert any(line.startswith("COPY --from=build /opt/venv") for line in last)
    assert any("org.opencontainers.image.revision" in line and "${COMMIT}" in line for line in last)
    installs = [line for line in instructions if "uv pip install" in line]
    assert installs
    for install in installs:
        assert {"--require-hashes", "--no-deps", "--compile-bytecode"} <= set(install.split())
    assert any("compileall" in line for line in instructions)
    assert not any(line.startswith("ADD ") for line in instructions)
    assert not re.search(r"(?i)(ARG|ENV)[^\n]*(PASSWORD|SECRET|TOKEN|_KEY)", "\n".join(instructions))


NEW = {
    # The worker of the pool `kubernetes` and what it stands on; MLflow's PostgreSQL.
    "worker": {
        *("prefect-kubernetes", "kubernetes-asyncio", "kopf", "iso8601", "pyopenssl", "tenacity"),
        "async-timeout",
    },
    "training": {"torch", "triton", "async-timeout"},
}
"""What an image holds that the tests do not; `async-timeout` is asked for by Python 3.11 alone."""


@pytest.mark.parametrize("name", NAMES)
def test_every_version_of_an_image_is_the_one_that_was_tested(name: str):
    tested, image = pins_of(ROOT / "requirements.lock"), pins_of(IMAGES / f"{name}.lock")
    assert len(image) > 150
    assert all(hashes for _, hashes in image.values())
    for package in tested.keys() & image.keys():
        assert image[package] == tested[package], package
    new = {package for package in image.keys() - tested.keys() if not package.startswith(("nvidia-", "cuda-"))}
    assert new == NEW[name]


def test_the_platform_carries_no_torch_and_no_tools_of_the_tests():
    pins = pins_of(IMAGES / "worker.lock")
    assert not {"torch", "deepspeed", "triton", "transformers", "pytest", "pyright"} & pins.keys()
    assert not [name for name in pins if name.startswith("nvidia-")]
    assert {"prefect", "mlflow", "prefect-kubernetes", "psycopg", "asyncpg", "boto3"} <= pins.keys()


def test_the_ranks_get_torch_with_its_hash():
    pins = pins_of(IMAGES / "training.lock")
    torch = re.search(r'"torch==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert torch is not None
    assert pins["torch"][0] == torch[1]
    assert "deepspeed" in pins
    assert any(name.startswith("nvidia-nccl") for name in pins)
    assert "pytest" not in pins


def test_nothing_goes_into_an_image_but_what_is_named():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    named = {rule[1:] for rule in rules if rule.startswith("!")}
    assert not any(fnmatch(".git", rule) or rule in ("tests", "artifacts", ".starloom", ".env") for rule in named)
    for rule in named:
        assert (ROOT / rule).exists(), rule


def test_what_prepares_a_workspace_takes_what_the_image_holds(tmp_path: Path):
    """Run for real: on an empty disk it makes a workspace under Git, on another it touches nothing."""
    script = IMAGES / "prepare-workspace.sh"
    for _ in range(2):
        subprocess.run(["sh", script, ROOT, tmp_path], check=True, capture_output=True)
        assert (tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
        told = subprocess.run(
            ["git", "-C", tmp_path, "status", "--porcelain"], check=True, capture_output=True, text=True
        )
        assert told.stdout == ""
    named = re.search(r"cp -R (.*) \"", script.read_text())
    assert named is not None
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for path in named[1].split():
        assert any(rule in (f"!{path}", f"!{path}/config") for rule in ignored), path
