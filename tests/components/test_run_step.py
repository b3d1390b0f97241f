"""The one door: reuse, staging, audit, publication, whatever happens to the step in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.catalog import step_named
from components.config import PipelineConfig, load_config
from components.errors import ContractError, CorruptArtifactError, MissingInputError, SourceError
from components.lineage import archived_record, published_record, upstream
from components.planning.run_cost import DeviceCosts
from components.run_step import find_published, run_step
from components.settings import Settings
from components.step import Needs, Step
from model.reporting import ListSink, reporting_to

ROOT = Path(__file__).parents[2]
INGEST = '''
"""Stands for ingest_sources: writes {rows} files."""
import hashlib
from pathlib import Path
import pyarrow as pa
from components.section import Summary
from components.tables import FilesWriter
from data_contracts.columns import CODE_FILES

class OneSummary(Summary):
    files: int

def resolve_sources(config, workspace):
    return {{"source": hashlib.sha256((workspace / "source.txt").read_bytes()).hexdigest()}}

def row(number, content):
    digest = hashlib.sha256(content.encode()).hexdigest()
    values = dict(content=content, content_sha256=digest, size_bytes=len(content.encode()), source="s",
                  repository="o/p", path=f"f{{number}}.py", commit=None, license="MIT", language="python",
                  extension=".py", kind="file", split=None)
    name = "same" if {doubled} else str(number)
    return values | dict(file_id=hashlib.sha256(name.encode()).hexdigest()[:32])

def run(config, *, workspace, out, work_dir=None):
    (workspace / "runs.txt").open("a").write("x")
    {before}
    text = (workspace / "source.txt").read_text()
    with FilesWriter(out, 1 << 20) as writer:
        for number in range({rows}):
            writer.keep(pa.RecordBatch.from_pylist([row(number, f"{{text}} {{number}}")], schema=CODE_FILES))
    return OneSummary(files={rows})
'''

MakeStep = Callable[..., Step]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "source.txt").write_text("hello")
    return Settings(workspace=tmp_path / "workspace")


@pytest.fixture
def config() -> PipelineConfig:
    return load_config(ROOT / "params.yaml")


@pytest.fixture
def make_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStep:
    """A real row of the catalog whose module is ours: a small one that does what the test needs."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, rows: int = 3, doubled: bool = False, before: str = "pass") -> Step:
        (tmp_path / f"{name}.py").write_text(INGEST.format(rows=rows, doubled=doubled, before=before))
        return replace(step_named("ingest_sources"), module=name, inputs=())

    return make


def test_a_step_with_ranks_is_told_who_starts_them_and_the_store_which_are_no_part_of_its_fingerprint(
    make_step: MakeStep, config: PipelineConfig, settings: Settings, tmp_path: Path
) -> None:
    told = "(workspace / 'told.txt').write_text(' '.join([checkpoint_store, *ranks]))"
    step = replace(make_step("keeps", before=told), has_ranks=True)
    module = tmp_path / "keeps.py"
    module.write_text(module.read_text().replace("*, workspace, out", "*, workspace, checkpoint_store, ranks, out"))
    places = {"checkpoint_store": "s3://bucket/prefix", "ranks": ("start", "them")}
    record = run_step(step, config, settings.model_copy(update=places))
    assert (settings.workspace / "told.txt").read_text() == "s3://bucket/prefix start them"
    assert run_step(step, config, settings) == record  # reused
    assert "s3://" not in record.model_dump_json()


def runs(settings: Settings) -> int:
    marks = settings.workspace / "runs.txt"
    return len(marks.read_text()) if marks.exists() else 0


def test_a_step_is_published_with_its_record(settings: Settings, config: PipelineConfig, make_step: MakeStep) -> None:
    record = run_step(make_step("publishes"), config, settings)
    assert published_record("raw_files", settings) == record
    assert record.summary == {"files": 3}
    assert record.contract is not None
    assert not record.contract.blocked
    assert archived_record(record.record_digest(), settings) == record
    assert not list(settings.staging_dir.iterdir())


def test_a_training_tells_what_it_took_and_is_no_other_for_it(
    settings: Settings, config: PipelineConfig, make_step: MakeStep
) -> None:
    costs = DeviceCosts(
        pool="here",
        device="cpu-core",
        price_per_hour_usd=1.0,
        watts=100,
        power_usage_effectiveness=1.5,
        carbon_kg_per_kwh=0.5,
    )
    step = replace(make_step("trains", before="import time; time.sleep(0.2)"), needs=Needs.GPU)
    record = run_step(step, config, settings.model_copy(update={"device_costs": costs}))
    cost = record.provenance.cost
    assert cost is not None
    cores = config.pretrain.threads_per_process  # one process: the step has no ranks
    assert cost.device_hours > cores * 0.2 / 3600 - 1e-6
    assert cost.energy_kwh == pytest.approx(cost.device_hours * 0.15, abs=1e-6)
    assert cost.carbon_kg == pytest.approx(cost.device_hours * 0.075, abs=1e-6)
    assert record.provenance.attempts == 1
    assert "cost" not in record.identity()
    assert published_record("raw_files", settings) == record


def test_a_step_that_trains_nothing_tells_no_cost(
    settings: Settings, config: PipelineConfig, make_step: MakeStep
) -> None:
    provenance = run_step(make_step("trains_nothing"), config, settings).provenance
    assert (provenance.cost, provenance.attempts) == (None, None)


def test_what_a_training_took_before_it_failed_is_counted(
    settings: Settings, config: PipelineConfig, make_step: MakeStep
) -> None:
    work = 'import time; time.sleep(0.3); 1 / (len((workspace / "runs.txt").read_text()) > 3)'
    step = replace(make_step("fails_twice", before=work), needs=Needs.GPU, resumable=True)
    undisturbed = run_step(make_step("runs_through"), config, settings)
    for place in (settings.artifacts_dir, settings.records_dir):
        shutil.rmtree(place)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run_step(step, config, settings)
    record = run_step(step, config, settings)
    assert record.provenance.cost is not None
    cores = config.pretrain.threads_per_process  # one process: the step has no ranks
    assert record.provenance.attempts == 3
    assert record.provenance.cost.device_hours > cores * 0.9 / 3600 - 1e-5
    assert record.identity() == undisturbed.identity()
    assert not list(settings.staging_dir.iterdir())


def test_the_same_recipe_is_reused_and_says_so(settings: Settings, config: PipelineConfig, make_step: MakeStep) -> None:
    step, sink = make_step("is_reused"), ListSink()
    first = run_step(step, config, settings)
    with reporting_to(sink):
        assert run_step(step, config, settings) == first
    assert runs(settings) == 1
    assert sink.notes == [f"ingest_sources: reused raw_files {first.digest[:12]}"]


def test_a_source_that_changes_under_the_reader_is_not_published(
    settings: Settings, config: PipelineConfig, make_step: MakeStep
) -> None:
    step = make_step("is_overtaken", before='(workspace / "source.txt").write_text("changed meanwhile")')
    with pytest.raises(SourceError, match="a source of ingest_sources changed while it was read"):
        run_step(step, config, settings)
    assert published_record("raw_files", settings) is None


@pytest.mark.parametrize("change", ["source", "parameter", "recipe"])
def test_what_changes_the_recipe_computes_anew(
    settings: Settings, config: PipelineConfig, make_step: MakeStep, change: str
) -> None:
    step = make_step(f"changes_{change}")
    before = run_step(step, config, settings)
    if change == "source":
        (settings.workspace / "source.txt").write_text("other")
    else:
        key = {"parameter": "max_file_bytes", "recipe": "recipe"}[change]
        section = config.ingest_sources.model_copy(update={key: 77})
        config = config.model_copy(update={"ingest_sources": section})
    assert find_published(step, config, settings) is None
    after = run_step(step, config, settings)
    assert runs(settings) == 2
    assert after.fingerprint != before.fingerprint
    assert archived_record(before.record_digest(), settings) == before


def test_a_damaged_byte_is_found_before_reuse(settings: Settings, config: PipelineConfig, make_step: MakeStep) -> None:
    step = make_step("is_damaged")
    run_step(step, config, settings)
    shard = settings.artifacts_dir / "raw_files" / "files-00000.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match=r"raw_files is damaged: files-00000\.parquet has sha256"):
        find_published(step, config, settings)
    with pytest.raises(CorruptArtifactError, match=r"delete .* to have it computed again"):
        run_step(step, config, settings)


def test_a_damaged_input_is_found_before_a_step_reads_it(
    settings: Settings, config: PipelineConfig, make_step: MakeStep
) -> None:
    run_step(make_step("feeds"), config, settings)
    (settings.artifacts_dir / "raw_files" / "dropped-00000.parquet").write_bytes(b"nonsense")
    with pytest.raises(CorruptArtifactError, match=r"raw_files is damaged: dropped-00000\.parquet"):
        run_step(step_named("filter_quality"), config, settings)


def test_a_missing_input_names_the_step_that_makes_it(settings: Settings, config: PipelineConfig) -> None:
    with pytest.raises(
        MissingInputError, match=r"filter_quality needs raw_files, .* `python -m components ingest_sources`"
    ):
        run_step(step_named("filter_quality"), config, settings)


def test_a_broken_contract_publishes_nothing_and_names_the_rows(
    settings: Settings, config: PipelineConfig, make_step: MakeStep
) -> None:
    good = run_step(make_step("keeps_its_contract"), config, settings)
    (settings.workspace / "source.txt").write_text("other")
    broken = make_step("breaks_its_contract", doubled=True)
    with pytest.raises(
        ContractError, match=r"contract of raw_files broken: .*file_id.*o/p:f\d\.py.* was not published"
    ):
        run_step(broken, config, settings)
    assert published_record("raw_files", settings) == good
    staged = list(settings.staging_dir.glob("ingest_sources-*/out/files-00000.parquet"))
    assert len(staged) == 1, "the rejected artifact stays for inspection"


def test_a_step_that_fails_leaves_what_stood_there(
    settings: Settings, config: PipelineConfig, make_step: MakeStep
) -> None:
    good = run_step(make_step("goes_well"), config, settings)
    (settings.workspace / "source.txt").write_text("other")
    with pytest.raises(ZeroDivisionError):
        run_step(make_step("goes_wrong", before="1 / 0"), config, settings)
    assert published_record("raw_files", settings) == good


def test_a_killed_step_leaves_nothing_that_looks_finished(
    settings: Settings, config: PipelineConfig, make_step: MakeStep, tmp_path: Path
) -> None:
    make_step("is_killed", before='(out / "half.parquet").write_text("half"); import time; time.sleep(600)')
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from dataclasses import replace\nfrom pathlib import Path\n"
        "from components.catalog import step_named\nfrom components.config import load_config\n"
        "from components.run_step import run_step\nfrom components.settings import Settings\n"
        "step = replace(step_named('ingest_sources'), module='is_killed', inputs=())\n"
        f"run_step(step, load_config(Path({str(ROOT / 'params.yaml')!r})), Settings(workspace=Path(sys.argv[1])))\n"
    )
    victim = subprocess.Popen([sys.executable, "-c", program, str(settings.workspace), str(tmp_path)])
    deadline = time.monotonic() + 60
    while not list(settings.staging_dir.glob("*/out/half.parquet")):
        assert victim.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert published_record("raw_files", settings) is None
    record = run_step(make_step("comes_after"), config, settings)
    assert sorted(record.files) == ["dropped-00000.parquet", "files-00000.parquet"]


def test_the_lineage_is_walked_from_records_alone(
    settings: Settings, config: PipelineConfig, make_step: MakeStep
) -> None:
    raw = run_step(make_step("begins"), config, settings)
    quality = run_step(step_named("filter_quality"), config, settings)
    assert [record.artifact for record in upstream(quality, settings)] == ["quality_files", "raw_files"]
    assert quality.inputs["raw_files"].record == raw.record_digest()


def test_a_record_store_that_cannot_be_used_costs_no_step_and_gets_the_record_later(
    settings: Settings, config: PipelineConfig, make_step: MakeStep, tmp_path: Path
) -> None:
    step, place = make_step("is_sent_later"), tmp_path / "records"
    place.write_text("a file where a directory should be")
    sending, sink = settings.model_copy(update={"record_store": str(place)}), ListSink()
    with reporting_to(sink):
        record = run_step(step, config, sending)
    assert published_record("raw_files", settings) == record
    assert f"not sent yet to {place}: 1 record(s), kept here and sent next time; " in sink.notes[-1]
    assert "(Not a directory); make room there or mend its path" in sink.notes[-1]

    place.unlink()
    assert find_published(step, config, sending) == record
    assert not place.exists()  # to look is not to send
    assert run_step(step, config, sending) == record
    other = Settings(workspace=tmp_path / "elsewhere", record_store=str(place))
    assert archived_record(record.record_digest(), other) == record
    assert str(place) not in record.model_dump_json()


def test_an_altered_record_is_found(settings: Settings, config: PipelineConfig, make_step: MakeStep) -> None:
    record = run_step(make_step("is_altered"), config, settings)
    path = settings.records_dir / f"{record.record_digest()}.json"
    content = json.loads(path.read_text())
    content["summary"]["files"] = 4
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptArtifactError, match="was altered"):
        archived_record(record.record_digest(), settings)


def test_equal_work_has_equal_identity_and_its_own_provenance(
    settings: Settings, config: PipelineConfig, make_step: MakeStep, tmp_path: Path
) -> None:
    other = Settings(workspace=tmp_path / "elsewhere")
    other.workspace.mkdir()
    (other.workspace / "source.txt").write_text("hello")
    step = make_step("is_repeated")
    one, two = run_step(step, config, settings), run_step(step, config, other)
    assert one.identity() == two.identity()
    assert one.provenance.started <= two.provenance.started
