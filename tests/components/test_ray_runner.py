"""Ray: a real cluster of several nodes on this machine, the same bytes as the local runner, a worker killed."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from components.catalog import STEPS, step_named
from components.errors import WorkerError
from components.ray_runner import ray_cluster
from components.run_step import call_step, run_step
from components.runner import InlineRunner, current_runner, use_runner
from components.shard_map import Mapped, map_shards
from components.store import digest_files, digest_of_files

ray = pytest.importorskip("ray", reason="Ray is not installed for this Python")

pytestmark = pytest.mark.slow

WITH_A_RUNNER = [step.name for step in STEPS if step.in_pieces]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A head and two further nodes of one processor each; gone when the tests are."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - Ray costs seconds; only these tests need it

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()


def shout(batch: pa.RecordBatch) -> Mapped:
    """Kills its own process the first time that it comes to the shard with file 25."""
    paths = batch.column("path").to_pylist()
    if "f_0025.py" in paths:
        marker = Path(batch.column("repository")[0].as_py()) / "died"
        if marker.parent.exists() and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return Mapped(batch, counts={"files": batch.num_rows})


def written(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_a_cluster_gives_the_local_bytes_though_a_worker_is_killed(address, table_of, tmp_path):
    rows = [
        {"content": f"x = {n}\n" * 40, "path": f"f_{n:04d}.py", "repository": str(tmp_path / "marks")}
        for n in range(60)
    ]
    files = table_of(rows, 1500)
    for name in ("local", "ray"):
        (tmp_path / name / "out").mkdir(parents=True)
        (tmp_path / name / "work").mkdir()
    with use_runner(InlineRunner()):
        local = map_shards(shout, [files], tmp_path / "local/out", tmp_path / "local/work")
    (tmp_path / "marks").mkdir()
    with ray_cluster(address):
        assert current_runner().num_workers == 3
        on_ray = map_shards(shout, [files], tmp_path / "ray/out", tmp_path / "ray/work")
    assert (tmp_path / "marks/died").exists()
    assert on_ray == local
    assert written(tmp_path / "ray/out") == written(tmp_path / "local/out")
    assert local.counts == {"files": 60}


def kill_workers(at_work: str, kills: list[int], enough: threading.Event) -> None:
    """Kill -9 a worker of our cluster that is at work, then another one each three seconds."""
    while not enough.wait(0.01):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith(at_work):
                    process.kill()
                    kills.append(process.pid)
                    enough.wait(3)
                    break


def test_every_step_gives_the_local_digest_though_workers_are_killed(address, small_corpus, tmp_path):
    """The steps that use a runner, each on the artifacts that the local runner made."""
    kills, enough = list[int](), threading.Event()
    killer = threading.Thread(target=kill_workers, args=("ray::_call", kills, enough))
    digests = {}
    with ray_cluster(address):
        killer.start()
        try:
            for step in (step for step in STEPS if step.name in WITH_A_RUNNER):
                (tmp_path / step.name / "out").mkdir(parents=True)
                (tmp_path / step.name / "work").mkdir()
                places = {"work_dir": tmp_path / step.name / "work"} if step.resumable else {}
                places |= {"workspace": small_corpus.settings.workspace} if step.reads_sources else {}
                inputs = {name: small_corpus.settings.artifacts_dir / name for name in step.inputs}
                call_step(step, small_corpus.config, inputs, tmp_path / step.name / "out", **places)
                digests[step.name] = digest_of_files(digest_files(tmp_path / step.name / "out"))
        finally:
            enough.set()
            killer.join()
    assert kills
    assert digests == {name: small_corpus.record(step_named(name).output).digest for name in WITH_A_RUNNER}


def test_the_environment_asks_for_the_cluster_and_the_record_is_the_local_one(
    address, small_corpus, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", address)
    corpus = small_corpus.copy(tmp_path / "workspace")
    shutil.rmtree(corpus.settings.artifacts_dir / "unique_files")
    on_ray = corpus.settings.model_copy(update={"runner": "ray"})
    record = run_step(step_named("deduplicate"), corpus.config, on_ray)
    assert record.identity() == small_corpus.record("unique_files").identity()


def test_a_cluster_that_grows_is_told_how_much_may_wait(address):
    with ray_cluster(address, workers=64):
        assert current_runner().num_workers == 64


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is refused")
    return number


def test_what_a_piece_raises_is_raised_here(address):
    with ray_cluster(address):
        assert sorted(current_runner().run(fail_at_three, [0, 1, 2])) == [(0, 0), (1, 1), (2, 2)]
        with pytest.raises(ValueError, match="three is refused"):
            list(current_runner().run(fail_at_three, range(6)))


def test_without_a_cluster_the_mend_is_told():
    with pytest.raises(WorkerError, match=r"there is no Ray cluster at .* start one"):
        with ray_cluster("127.0.0.1:1"):
            pass
