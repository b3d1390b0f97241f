"""A real MLflow on a SQLite file, with versions of a model whose records are made up."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import mlflow

from components.config import PipelineConfig, load_config
from components.lineage import StepRecord, archive_record, send_records
from components.registry.ledger import open_ledger
from components.registry.model_registry import CHAMPION, ModelRegistry, RegisteredVersion
from components.registry.promote_model import promote_model
from components.registry.promotion import PromotionDecision
from components.settings import Settings
from components.store import digest_files, digest_of_files
from tests.components.made_up_records import record_of

ROOT = Path(__file__).parents[3]
CONFIG: PipelineConfig = load_config(ROOT / "params.yaml")
NAME = CONFIG.register_model.model_name
_ON: tuple[StepRecord, ...] = (record_of("corpus_splits"), record_of("eval_problems"))


@dataclass(frozen=True)
class RegistryHouse:
    """A workspace and its registry."""

    settings: Settings

    @property
    def registry(self) -> ModelRegistry:
        """Opened anew."""
        return ModelRegistry(NAME, self.settings)

    @property
    def database(self) -> Path:
        """The file of the registry."""
        return Path(str(self.settings.tracking_uri).removeprefix("sqlite:///"))

    def register(self, bits_per_byte: float, *, start_from: str | None = None) -> RegisteredVersion:
        """A version with that evaluation; all have the same held-out files."""
        client = mlflow.MlflowClient(self.settings.tracking_uri)
        experiment = client.get_experiment_by_name("house")
        place = str(self.database.parent / "files")
        experiment_id = experiment.experiment_id if experiment else client.create_experiment("house", place)
        bundle = self.settings.workspace / "made" / f"bundle-{bits_per_byte}"
        bundle.mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps({"bits": bits_per_byte}))
        files = digest_files(bundle)
        weights = record_of("bundle", files=files, digest=digest_of_files(files))
        summary = {"bits_per_byte": bits_per_byte, "baseline_bits_per_byte": 9.0}
        evaluated = record_of("eval_report", weights, *_ON, summary=summary)
        for record in (*_ON, weights, evaluated):
            archive_record(record, self.settings)
        send_records(self.settings)
        tags = {"lineage": evaluated.record_digest(), "data_version": "v1"}
        return self.registry.register(bundle, client.create_run(experiment_id).info.run_id, tags)

    def promote(self, version: int) -> PromotionDecision:
        """Ask for it."""
        return promote_model(CONFIG, self.settings, version)

    def move_alias(self, version: int) -> None:
        """As a person does in MLflow's page."""
        mlflow.MlflowClient(self.settings.tracking_uri).set_registered_model_alias(NAME, CHAMPION, str(version))

    def alias(self) -> int | None:
        """The version that carries it."""
        champion = self.registry.champion()
        return champion.version if champion else None

    def promotions(self) -> Sequence[tuple[str, int, int | None]]:
        """What the ledger says: event, version, and from which."""
        return [
            (one.event, one.version, one.champion_before) for one in open_ledger(NAME, self.settings).read().entries
        ]


def new_registry(template: Path, place: Path) -> str:
    """Its address; `template` is the file of an empty one."""
    place.mkdir(parents=True)
    shutil.copy(template, place / "mlflow.db")
    return f"sqlite:///{place / 'mlflow.db'}"


def promote_at_once(start: Barrier, settings: Settings, version: int) -> None:
    """The work of one of several processes."""
    start.wait(60)
    promote_model(CONFIG, settings, version)
