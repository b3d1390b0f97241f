"""params.yaml, typed: what is computed. Where it is computed stands in `settings.py` and never here.

A parameter file may name another as its `base`, relative to itself, and then says only what it changes: a key of a
section takes the place of the base's, whole, whatever is below it. What counts is the content that comes of it, so a
recipe and the same parameters written out have the same fingerprints.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.commits.config import IngestCommitsConfig, RenderCommitsConfig
from components.corpus.config import (
    DecontaminateConfig,
    DeduplicateConfig,
    DescribeCorpusConfig,
    PermitFilesConfig,
    SplitCorpusConfig,
)
from components.corpus.quality_config import FilterQualityConfig
from components.errors import ParamsError
from components.evaluation.config import CollectProblemsConfig, EvaluateModelConfig
from components.issues.config import IngestIssuesConfig, RenderIssuesConfig
from components.notebooks.config import ConvertNotebooksConfig
from components.redaction.config import RedactSecretsConfig, TrainPiiTaggerConfig
from components.section import Section
from components.sources.config import CollectOptOutsConfig, IngestSourcesConfig
from components.tokens.config import TokenizeCorpusConfig, TrainTokenizerConfig
from components.training.config import ExportWeightsConfig
from model.config import ModelConfig, PretrainConfig


class RegisterModelConfig(Section):
    """Under which name a bundle is registered."""

    model_name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


class PromoteModelConfig(Section):
    """When a version may become the champion."""

    max_bits_per_byte_regression: Annotated[float, Field(ge=0.0)]
    """The candidate's held-out bits per byte may exceed the champion's by at most so much."""
    must_beat_baseline: bool
    """The candidate's bits per byte must lie below the counting model's."""


class PipelineConfig(BaseModel):
    """Every section, in the order of the catalog; `model` belongs to pretrain, the last two act on the world."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collect_opt_outs: CollectOptOutsConfig
    ingest_sources: IngestSourcesConfig
    ingest_issues: IngestIssuesConfig
    ingest_commits: IngestCommitsConfig
    filter_quality: FilterQualityConfig
    convert_notebooks: ConvertNotebooksConfig
    render_issues: RenderIssuesConfig
    render_commits: RenderCommitsConfig
    permit_files: PermitFilesConfig
    train_pii_tagger: TrainPiiTaggerConfig
    redact_secrets: RedactSecretsConfig
    deduplicate: DeduplicateConfig
    collect_problems: CollectProblemsConfig
    decontaminate: DecontaminateConfig
    split_corpus: SplitCorpusConfig
    train_tokenizer: TrainTokenizerConfig
    tokenize_corpus: TokenizeCorpusConfig
    describe_corpus: DescribeCorpusConfig
    model: ModelConfig
    pretrain: PretrainConfig
    export_weights: ExportWeightsConfig
    evaluate_model: EvaluateModelConfig
    register_model: RegisterModelConfig
    promote_model: PromoteModelConfig

    @model_validator(mode="after")
    def _sections_agree(self) -> "PipelineConfig":
        context = self.model.context_length_tokens
        if self.tokenize_corpus.shard_tokens <= context:
            raise ValueError(
                f"tokenize_corpus.shard_tokens {self.tokenize_corpus.shard_tokens} does not hold one window of "
                f"model.context_length_tokens {context}; raise it"
            )
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read and check a parameter file; ParamsError names each wrong key, its value and what is allowed.

    `overrides` are `section.key=value` (a key may go deeper), the value read as YAML.
    """
    raw = _read_with_base(path)
    for override in overrides:
        _apply(override, raw)
    return parse_config(raw, str(path))


def stands_alone(path: Path) -> bool:
    """Whether a parameter file says everything itself; ParamsError if it cannot be read."""
    raw = _read_yaml(path)
    return not (isinstance(raw, dict) and "base" in raw)


def _read_with_base(path: Path, above: tuple[Path, ...] = ()) -> Any:
    """The content of a file laid over that of its base; `above` are the files that have it as their base."""
    raw = _read_yaml(path)
    if not isinstance(raw, dict) or "base" not in raw:
        return raw
    changes = cast("dict[str, Any]", raw)
    named = changes.pop("base")
    if not isinstance(named, str):
        raise ParamsError(f"{path}: base {named!r} is no path; name the file whose parameters this one changes")
    base = path.parent / named
    if base.resolve() in {file.resolve() for file in (*above, path)}:
        raise ParamsError(f"{path}: base {named} leads back to a file that stands on it; name another")
    merged = _read_with_base(base, (*above, path))
    for section, values in changes.items():
        if not (isinstance(values, dict) and isinstance(merged, dict) and isinstance(merged.get(section), dict)):
            raise ParamsError(
                f"{path}: {section} cannot be laid over {base}; a file with a base changes keys of its base's sections"
            )
        merged[section] |= values
    return cast("dict[str, Any]", merged)


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"there is no parameter file {path}; run in a workspace or name one with --params") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} cannot be read: {error}") from None
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None


def _apply(override: str, raw: Any) -> None:
    key, sign, value = override.partition("=")
    *sections, last = key.split(".")
    if not sign or not sections:
        raise ParamsError(f"override {override!r} is not of the form section.key=value")
    target = raw
    for section in sections:
        target = target.get(section) if isinstance(target, dict) else None
    if not isinstance(target, dict) or last not in target:
        raise ParamsError(f"override {override!r} names no parameter {key!r}; see params.yaml for those there are")
    target[last] = YAML(typ="safe", pure=True).load(value)


def parse_config(raw: Any, origin: str) -> PipelineConfig:
    """Check parameters that were read from `origin`; ParamsError as `load_config`."""
    try:
        return PipelineConfig.model_validate(raw)
    except ValidationError as error:
        raise ParamsError(_sentence(error, origin)) from None


def _sentence(error: ValidationError, origin: str) -> str:
    faults = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'the file'}: {_fault_text(fault)}"
        for fault in error.errors(include_url=False)
    ]
    return f"{origin} cannot be used; mend " + "; ".join(faults)


def _fault_text(fault: Any) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "unknown key; remove it or correct its spelling"
        case "missing":
            return "missing; add it"
        case "value_error":
            return str(fault["msg"]).removeprefix("Value error, ")
        case _:
            message = str(fault["msg"])
            return f"{message[0].lower()}{message[1:]}, not {fault['input']!r}"
