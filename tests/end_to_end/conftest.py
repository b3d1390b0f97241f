"""A small workspace with real source code: what every door and every mistake is tried on."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from components.catalog import STEPS
from components.lineage import published_record
from components.settings import Settings

ROOT = Path(__file__).parents[2]
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
SMALL: dict[str, dict[str, Any]] = {
    "train_tokenizer": {"vocab_size": 512, "sample_bytes": 500_000},
    "split_corpus": {"validation_fraction": 0.1, "test_fraction": 0.1},
    "model": {"num_layers": 2, "hidden_size": 32, "num_heads": 2, "feed_forward_size": 64, "context_length_tokens": 64},
    "pretrain": {
        "micro_batch_size": 2,
        "num_steps": 12,
        "warmup_steps": 2,
        "validate_every_steps": 6,
        "validation_batches": 2,
        "checkpoint_every_steps": 4,
    },
    "evaluate_model": {"max_held_out_bytes": 30_000, "num_fill_in_middle_cases": 4, "max_new_tokens": 8},
    "promote_model": {"must_beat_baseline": False},  # twelve steps beat nobody
}
"""What differs from params.yaml: sizes, so that the same code runs in seconds."""


@dataclass(frozen=True)
class Workspace:
    """A workspace as a person sees it: commands and their outcome."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)

    def git(self, *arguments: str) -> str:
        """With a fixed author and date: equal workspaces have equal commits."""
        fixed = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "Test"), ("EMAIL", "test@example.org"), ("DATE", "2026-01-01T00:00:00Z"))
        }
        command = ["git", "-C", self.path, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | fixed)
        return done.stdout.strip()

    def edit_params(self, changes: dict[str, dict[str, Any]]) -> None:
        """Change values of params.yaml; a key that is not there yet is written too."""
        yaml, path = YAML(), self.path / "params.yaml"
        params: Any = yaml.load(path)
        for section, values in changes.items():
            params[section].update(values)
        with path.open("w", encoding="utf-8") as stream:
            yaml.dump(params, stream)

    def environment(self, **more: str) -> dict[str, str]:
        """Ours less what points elsewhere, with the workspace set."""
        foreign = ("STARLOOM_", "PREFECT_", "MLFLOW_", "GIT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        return kept | {"STARLOOM_WORKSPACE": str(self.path)} | self.variables | more

    def call(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in the workspace."""
        environment = self.environment(**more)
        return subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True, check=False)

    def starloom(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return self.call(Path(sys.executable).with_name("starloom"), *arguments, **more)

    def components(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The door for one step."""
        return self.call(sys.executable, "-m", "components", *arguments, **more)

    def dvc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """DVC's own command line."""
        return self.call(Path(sys.executable).with_name("dvc"), *arguments)

    def identity(self, artifact: str) -> dict[str, Any]:
        """What the artifact's record says of it, less how it came to be."""
        return published_record(artifact, Settings(workspace=self.path)).identity()

    def identities(self) -> dict[str, dict[str, Any]]:
        """The same of every artifact."""
        return {step.output: self.identity(step.output) for step in STEPS}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace as a person would have it: Git, DVC, parameters, a source tree."""
    workspace = tmp_path_factory.mktemp("template") / "workspace"
    workspace.mkdir()
    for name in (
        "params.yaml",
        "dvc.yaml",
        "prefect.yaml",
        "opt_outs.yaml",
        ".dvcignore",
        ".gitignore",
        "requirements.lock",
    ):
        shutil.copy(ROOT / name, workspace / name)
    shutil.copytree(ROOT / "samples", workspace / "samples")
    (workspace / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, workspace / ".dvc" / name)
    for package in ("json", "email", "asyncio", "importlib", "logging", "unittest"):
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(STANDARD_LIBRARY / package, workspace / "sources" / package, ignore=ignore)
    tree = {"name": "tree", "kind": "directory", "path": "sources", "repository": "python/cpython",
            "license": "Python-2.0", "exclude": []}  # fmt: skip
    history = {"name": "history", "kind": "git", "path": ".", "repository": "team/project", "license": "Apache-2.0",
               "exclude": ["sources/**", "*.lock"], "revision": "HEAD", "history": True}  # fmt: skip
    made = Workspace(workspace)
    made.edit_params(SMALL | {"ingest_sources": {"sources": [tree, history]}})
    made.git("init", "--quiet", "--initial-branch", "main")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "a workspace")
    told = made.components("collect_opt_outs")  # nobody has asked; every test that collects stands on it
    assert told.returncode == 0, told.stderr
    return made


@pytest.fixture(scope="session")
def new_workspace(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Workspace]:
    """Each call gives a fresh copy of the workspace; it may be given variables of the environment."""

    def copy(**variables: str) -> Workspace:
        place = tmp_path_factory.mktemp("copy") / "workspace"
        shutil.copytree(template.path, place, symlinks=True)
        return Workspace(place, variables)

    return copy


@pytest.fixture
def workspace(new_workspace: Callable[..., Workspace]) -> Workspace:
    """A fresh copy of the workspace."""
    return new_workspace()


@pytest.fixture(scope="session")
def free_ports() -> dict[str, str]:
    """Two ports for the servers of a session's run."""
    with socket.socket() as one, socket.socket() as two:
        for held in (one, two):
            held.bind(("127.0.0.1", 0))
        return {
            "STARLOOM_PREFECT_PORT": str(one.getsockname()[1]),
            "STARLOOM_MLFLOW_PORT": str(two.getsockname()[1]),
        }
