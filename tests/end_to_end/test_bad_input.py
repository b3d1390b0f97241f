"""What people get wrong and what disks do: one sentence, an exit code, nothing lost, nothing half-published."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

INSIDE = """
import os, subprocess, sys
workspace, kind = sys.argv[1:3]
place = os.path.join(workspace, "artifacts")
os.makedirs(place, exist_ok=True)
os.makedirs(os.path.join(workspace, ".starloom"), exist_ok=True)
def mount(*options):
    subprocess.run(["mount", *options], check=True)
if kind == "full":
    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", os.path.join(workspace, ".starloom"))
else:
    mount("--bind", os.path.join(workspace, ".starloom"), os.path.join(workspace, ".starloom"))
    mount("-o", "remount,bind,ro", os.path.join(workspace, ".starloom"))
done = subprocess.run([sys.executable, "-m", "components", "ingest_sources"], cwd=workspace)
sys.exit(done.returncode)
"""


def refused(done: subprocess.CompletedProcess[str], *told: str) -> None:
    """One sentence on stderr, exit code 2, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for part in told:
        assert re.search(part, errors[0]), errors[0]


def nothing_published(workspace: Any) -> None:
    artifacts = workspace.path / "artifacts"
    assert {path.name for path in artifacts.iterdir()} <= {"opt_outs"}


@pytest.mark.parametrize("door", ["components", "starloom"])
def test_an_unknown_key_is_refused_before_anything_starts(workspace: Any, door: str) -> None:
    workspace.edit_params({"deduplicate": {"jacard_threshold": 0.5}})
    done = workspace.components("ingest_sources") if door == "components" else workspace.starloom("run")
    refused(done, r"deduplicate\.jacard_threshold: unknown key; remove it or correct its spelling")
    nothing_published(workspace)
    assert not (workspace.path / ".starloom" / "services").exists()


def test_a_value_out_of_range_is_refused_with_the_range(workspace: Any) -> None:
    workspace.edit_params({"pretrain": {"learning_rate": 7}})
    refused(workspace.starloom("run"), r"pretrain\.learning_rate: .*less than or equal to 1, not 7")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "--training-steps", "3"), "--training-steps 3 cannot be used"),
        (("run", "--params", "../params.yaml"), "--params '../params.yaml' cannot be used"),
        (("run", "--params", "missing.yaml"), "there is no parameter file"),
        (("lineage", "nonsense"), "no step makes 'nonsense'; the artifacts are"),
        (("lineage", "bundle"), "bundle has not been made .* run `starloom run`"),
        (("promote", "1", "--reconcile"), "--reconcile promotes nothing, so leave version 1 out"),
        (("rollback", "data", "v1"), "there is no data version 'v1'"),
        (("nonsense",), "No such command 'nonsense'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistaken_command_is_told(workspace: Any, arguments: tuple[str, ...], told: str) -> None:
    refused(workspace.starloom(*arguments), told)


def test_commands_outside_a_workspace_say_so(workspace: Any, tmp_path: Path) -> None:
    refused(workspace.starloom("status", STARLOOM_WORKSPACE=str(tmp_path)), "is no workspace: it has no params.yaml")


def test_an_interrupted_command_says_what_stays(workspace: Any) -> None:
    interrupted = (
        "import sys, types; from flows.command_line import main\n"
        "def read(): raise KeyboardInterrupt\n"
        "sys.stdin = types.SimpleNamespace(read=read)\n"
        "main(['complete', '-'])"
    )
    done = workspace.call(sys.executable, "-c", interrupted)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; what was published stays, a training goes on where it was\n"


def test_the_registry_without_its_server_is_told(workspace: Any, free_ports: dict[str, str]) -> None:
    refused(workspace.starloom("promote", **free_ports, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1"), "`starloom up`")


def test_an_unknown_step_is_refused_with_those_there_are(workspace: Any) -> None:
    refused(
        workspace.components("ingest"), "no step is called 'ingest'; the steps are: collect_opt_outs, ingest_sources"
    )


def test_a_source_that_does_not_exist_is_named(workspace: Any) -> None:
    shutil.rmtree(workspace.path / "sources")
    refused(workspace.components("ingest_sources"), "tree", "sources")
    nothing_published(workspace)


def test_an_empty_corpus_is_refused(workspace: Any) -> None:
    shutil.rmtree(workspace.path / "sources")
    (workspace.path / "sources").mkdir()
    (workspace.path / "sources" / "data.bin").write_bytes(b"\0\1\2")
    workspace.edit_params({"ingest_sources": {"sources": [_only_tree(workspace)]}})
    refused(workspace.components("ingest_sources"), "tree", "binary")
    nothing_published(workspace)


def _only_tree(workspace: Any) -> dict[str, Any]:
    return {"name": "tree", "kind": "directory", "path": "sources", "repository": "a/b", "license": None, "exclude": []}


def test_hostile_files_are_dropped_with_their_rule_and_the_rest_goes_on(workspace: Any) -> None:
    sources = workspace.path / "sources"
    (sources / "binary.py").write_bytes(b"x = 1\0\n" * 50)
    (sources / "latin.py").write_bytes("name = 'caf\xe9'\n".encode("latin-1") * 20)
    (sources / "long.py").write_bytes(b"x" * 50_000_000)
    (sources / "loop").symlink_to(sources)
    workspace.edit_params({"ingest_sources": {"max_file_bytes": 60_000_000}})
    done = workspace.components("ingest_sources")
    assert done.returncode == 0, done.stderr
    dropped = workspace.identity("raw_files")["summary"]["files"]["dropped_by_rule"]
    compressed = len(list((workspace.path / "samples").rglob("*.gz")))  # in the history that is a source too
    assert dropped["binary"] == 1 + compressed
    assert dropped["not_utf8"] == 1
    done = workspace.components("filter_quality")
    assert done.returncode == 0, done.stderr
    assert workspace.identity("quality_files")["summary"]["files"]["dropped_by_rule"]["max_line_length"] >= 1


@pytest.mark.parametrize(("kind", "told"), [("full", "the disk is full"), ("read-only", "read-only")])
def test_a_disk_that_cannot_be_written_is_told_and_nothing_is_half_published(
    workspace: Any, kind: str, told: str
) -> None:
    probe = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "true"], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        pytest.skip(f"needs a mount namespace of its own, which this machine refuses: {probe.stderr.strip()}")
    done = workspace.call(
        "unshare", "--map-root-user", "--mount", sys.executable, "-c", INSIDE, str(workspace.path), kind
    )
    refused(done, told, "run again")
    nothing_published(workspace)


def test_two_runs_at_once_in_one_workspace_are_refused(workspace: Any) -> None:
    hold = (
        "import sys; from pathlib import Path; from components.settings import Settings; "
        "from components.workspace import exclusive\n"
        "with exclusive(Settings(workspace=Path(sys.argv[1])), 'train_code_model'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(workspace.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        refused(workspace.components("ingest_sources"), rf"in use by process {holder.pid} \(train_code_model\)")
        holder.communicate()
    nothing_published(workspace)


def test_a_damaged_byte_is_named_with_the_mend(workspace: Any) -> None:
    assert workspace.components("ingest_sources").returncode == 0
    shard = workspace.path / "artifacts" / "raw_files" / "files-00000.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    refused(workspace.components("ingest_sources"), r"raw_files is damaged: files-00000\.parquet has sha256", "delete")
    refused(workspace.components("filter_quality"), "raw_files is damaged")
    shutil.rmtree(workspace.path / "artifacts" / "raw_files")
    assert workspace.components("ingest_sources").returncode == 0


def test_a_port_in_use_is_named_with_another_to_choose(workspace: Any, free_ports: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = workspace.starloom("up", **free_ports | {"STARLOOM_MLFLOW_PORT": str(port)})
        refused(done, f"port {port}", rf"process {os.getpid()}", r"STARLOOM_MLFLOW_PORT=\d+")
    assert workspace.starloom("down", **free_ports).returncode == 0


def test_ctrl_c_ends_a_step_and_leaves_the_workspace_usable(workspace: Any) -> None:
    # A session in the background ignores SIGINT and hands that down; a handler of ours is not handed down.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "components", "ingest_sources"],
        cwd=workspace.path, env=workspace.environment(STARLOOM_EVENTS="json"), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "progress":
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    signal.signal(signal.SIGINT, before)
    assert process.returncode in (130, 0)  # a machine that is quick enough may have finished
    assert workspace.components("ingest_sources").returncode == 0
