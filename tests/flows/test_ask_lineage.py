"""What `starloom lineage --downstream` and `starloom status` tell, of a workspace whose records are made up."""

from pathlib import Path

import mlflow
import pytest
from rich.console import Console, RenderableType

from components.errors import MissingInputError, ParamsError
from components.lineage import StepRecord, archive_record, write_record
from components.registry.ledger import open_ledger
from components.settings import Settings
from flows.ask_lineage import tell_downstream
from flows.summary import promotions_table
from tests.components.made_up_records import record_of
from tests.flows.conftest import free_ports

PARAMS = Path("params.yaml")
SHARDS = record_of("token_shards", digest="5" * 64)
CHECKPOINT = record_of("checkpoint", SHARDS, digest="c" * 64)
BUNDLE = record_of("bundle", CHECKPOINT, digest="b" * 64)
EVALUATED = record_of("eval_report", BUNDLE, SHARDS, digest="e" * 64)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A workspace with two promotions of one evaluation and nobody's services."""
    prefect_port, mlflow_port = free_ports(2)
    settings = Settings(workspace=tmp_path / "workspace", prefect_port=prefect_port, mlflow_port=mlflow_port)
    for record in (SHARDS, CHECKPOINT, BUNDLE, EVALUATED):
        archive_record(record, settings)
    ledger = open_ledger("tiny", settings)
    for version in (1, 2):
        assert ledger.append(ledger.read(), "promoted", version, EVALUATED.record_digest(), (), "Ada [red]L.")
    return settings


def published(record: StepRecord, settings: Settings) -> None:
    place = settings.artifacts_dir / record.artifact
    place.mkdir(parents=True)
    write_record(record, place)


def shown(part: RenderableType) -> list[str]:
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(part)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_what_stands_on_an_artifact_is_a_tree_down_to_the_models(settings: Settings) -> None:
    published(SHARDS, settings)
    assert shown(tell_downstream("token_shards", None, PARAMS, settings)) == [
        "MLflow does not run (`starloom up`): versions that were registered since the last question, and never "
        "promoted, are missing",
        "What stands on token_shards in workspace",
        "└── token_shards  555555555555  by make_token_shards",
        "    ├── checkpoint  cccccccccccc  by make_checkpoint",
        "    │   └── bundle  bbbbbbbbbbbb  by make_bundle",
        "    │       └── eval_report  eeeeeeeeeeee  by make_eval_report",
        "    │           ├── tiny version 1  was champion",
        "    │           └── tiny version 2  champion",
        "    └── eval_report  eeeeeeeeeeee  by make_eval_report  (above)",
    ]


def test_a_version_that_was_only_registered_is_told_by_the_registry(settings: Settings) -> None:
    uri = f"sqlite:///{settings.workspace / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    client.create_registered_model("tiny")
    for _ in range(3):
        client.create_model_version("tiny", source="nowhere", tags={"lineage": EVALUATED.record_digest()})
    client.create_model_version("tiny", source="nowhere")  # by another program, without a lineage
    asking = settings.model_copy(update={"tracking_uri": uri})
    told = shown(tell_downstream(BUNDLE.digest[:8], None, PARAMS, asking))
    assert told == [
        "What stands on bbbbbbbb",
        "└── bundle  bbbbbbbbbbbb  by make_bundle",
        "    └── eval_report  eeeeeeeeeeee  by make_eval_report",
        "        ├── tiny version 1  was champion",
        "        ├── tiny version 2  champion",
        "        └── tiny version 3  never champion",
    ]
    # Then the index knows it, and the registry may be away.
    assert shown(tell_downstream(BUNDLE.record_digest(), None, PARAMS, settings))[2:] == told[1:]


def test_a_digest_that_nothing_or_too_much_has_is_told(settings: Settings) -> None:
    with pytest.raises(ParamsError, match=r"^00000000: no artifact has a digest that begins so; give one as `starloom"):
        tell_downstream("00000000", None, PARAMS, settings)
    archive_record(record_of("checkpoint", digest="c" * 63 + "d"), settings)
    with pytest.raises(ParamsError, match=r"^cccccccc: several digests begin so; give one as"):
        tell_downstream("cccccccc", None, PARAMS, settings)
    with pytest.raises(MissingInputError, match=r"^raw_files has not been made in"):
        tell_downstream("raw_files", None, PARAMS, settings)


def test_promotions_are_told_newest_first(settings: Settings) -> None:
    entries = open_ledger("tiny", settings).read().entries
    told = [line.split() for line in shown(promotions_table(entries))]
    assert told[0] == ["Promotions", "of", "tiny"]
    assert told[4] == ["│", "2", "│", "2", "│", "1", "│", "promoted", "│", entries[1].when, "│", "Ada", "[red]L.", "│"]
    assert told[5] == ["│", "1", "│", "1", "│", "│", "promoted", "│", entries[0].when, "│", "Ada", "[red]L.", "│"]
    assert shown(promotions_table(entries * 6))[0].strip() == "Promotions of tiny, the last 10 of 12"
