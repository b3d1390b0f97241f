"""Runs in MLflow: the only file that writes them. A run points to a record by its tags and holds no copy of one."""

import json
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read by mlflow at import
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.exceptions import MlflowException

from components.errors import RegistryError
from components.lineage import StepRecord
from components.settings import Settings
from model.reporting import Sink, current_sink, reporting_to

EXPERIMENT = "starloom"
_MAX_DIGEST_CHARS = 36  # MLflow's limit; DVC's `<md5>.dir` is exactly so long


_SECONDS_BETWEEN = 1.0
_MOST_METRICS = 1000
"""In one request: MLflow's limit."""


class MlflowSink:
    """Sends metrics to a run and everything to the sink before it. A server that fails stops no training.

    A second's metrics go in one request, each with its own time: one for each step of a fast training would take the
    server and its database from the ranks' cores. `flush` sends the rest.
    """

    def __init__(self, run_id: str, before: Sink) -> None:
        self._run_id = run_id
        self._before = before
        self._failed = False
        self._unsent: list[Metric] = []
        self._next = 0.0

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Pass it on."""
        self._before.progress(done, total, what)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Pass them on and log them."""
        self._before.metrics(values, step)
        now = int(time.time() * 1000)
        self._unsent += [Metric(name, value, now, step) for name, value in values.items()]
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Send what has not been sent yet."""
        unsent, self._unsent = self._unsent, []
        if self._failed:
            return
        try:
            for start in range(0, len(unsent), _MOST_METRICS):
                MlflowClient().log_batch(self._run_id, metrics=unsent[start : start + _MOST_METRICS])
        except MlflowException as error:
            self._failed = True
            self.note(f"MLflow no longer takes metrics ({error}); training goes on, registration will send them again")
        self._next = time.monotonic() + _SECONDS_BETWEEN

    def note(self, text: str) -> None:
        """Pass it on."""
        self._before.note(text)


@contextmanager
def training_run(
    settings: Settings, name: str, fingerprint: str, sections: Mapping[str, Any], marker: Path
) -> Generator[str]:
    """A live run around training: parameters, metrics and system metrics; yields its id.

    `marker` keeps the id between attempts, so that a resumed training goes on in the run that it began.
    """
    with _server_errors_told(settings):
        _use_server(settings)
        begun = marker.read_text() if marker.exists() else None
        if begun and not _exists(begun):
            begun = None
        run = mlflow.start_run(run_id=begun, run_name=None if begun else name, log_system_metrics=True)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(run.info.run_id)
        if not begun:
            mlflow.set_tags({"step": name, "fingerprint": fingerprint})
            mlflow.log_params(_flat(sections))
    status = "FAILED"
    try:
        sink = MlflowSink(run.info.run_id, current_sink())
        try:
            with reporting_to(sink):
                yield run.info.run_id
        finally:
            sink.flush()
        status = "FINISHED"
    finally:
        mlflow.end_run(status)


def run_of(record: StepRecord, metrics_file: Path, settings: Settings) -> str:
    """The run of a training's record; one is written from `metrics_file` if the server does not know it.

    Training through DVC or alone knows no server, and a server's database may have been thrown away.
    """
    with _server_errors_told(settings):
        _use_server(settings)
        known = record.provenance.mlflow_run
        if known and _exists(known):
            return known
        with mlflow.start_run(
            run_name=record.step, tags={"step": record.step, "fingerprint": record.fingerprint}
        ) as run:
            mlflow.log_params(_flat(record.sections))
            for line in metrics_file.read_text(encoding="utf-8").splitlines():
                values: dict[str, float] = json.loads(line)
                step = int(values.pop("step"))
                mlflow.log_metrics(values, step=step)
        return run.info.run_id


def describe_run(
    run_id: str,
    *,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    datasets: Mapping[str, tuple[str, Mapping[str, str]]],
    files: Mapping[str, Path],
    settings: Settings,
) -> None:
    """Add to a run what is known after the training.

    `datasets`: name -> (DVC's digest, where it lies); `files`: folder in the run -> a file or a directory.
    """
    with _server_errors_told(settings):
        client = MlflowClient(settings.tracking_uri)
        for key, value in tags.items():
            client.set_tag(run_id, key, value)
        for key, value in metrics.items():
            client.log_metric(run_id, key, value)
        client.log_inputs(
            run_id,
            datasets=[
                DatasetInput(
                    Dataset(name, digest[:_MAX_DIGEST_CHARS], source_type="dvc", source=json.dumps(dict(source))),
                    tags=[InputTag("mlflow.data.context", "training")],
                )
                for name, (digest, source) in datasets.items()
            ],
        )
        for folder, path in files.items():
            (client.log_artifacts if path.is_dir() else client.log_artifact)(run_id, str(path), folder)


def _use_server(settings: Settings) -> None:
    mlflow.set_tracking_uri(settings.tracking_uri or "")
    mlflow.set_experiment(EXPERIMENT)


def _exists(run_id: str) -> bool:
    try:
        mlflow.get_run(run_id)
    except MlflowException:
        return False
    return True


def _flat(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in sections.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@contextmanager
def _server_errors_told(settings: Settings) -> Generator[None]:
    try:
        yield
    except MlflowException as error:
        raise RegistryError(
            f"the MLflow server {settings.tracking_uri} failed: {' '.join(str(error).split())[:300]}; "
            "start it with `starloom up`"
        ) from error
