"""The step that trains the tagger of personal data, and says how well it does on files and templates it never saw.

StarPII's recipe on a labelled set of our own: faked personal data planted into real code of the corpus. Off by default:
`enabled` is the one setting, and without it the artifact says that there is no tagger. The scores are of planted data;
real personal data is more varied, so they bound from above what the tagger finds in the wild.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from components.errors import EmptyArtifactError
from components.fingerprint import canonical_json
from components.redaction.config import TrainPiiTaggerConfig
from components.redaction.pii_labels import NUM_LABELS, LabelledSpan, labels_of
from components.redaction.pii_pieces import split_pieces
from components.redaction.pii_scores import Scores, score_spans
from components.redaction.pii_tagger import SCORES_FILE, SETTINGS_FILE, WEIGHTS_FILE, PiiTagger, TaggerSettings
from components.section import Summary
from model.reporting import current_sink


class TrainPiiTaggerSummary(Summary):
    """What was learned from and what came of it; zeros and nulls where the tagger is off."""

    enabled: bool
    train_examples: int
    held_out_examples: int
    steps: int
    """Optimizer steps until the early stop."""
    held_out_f1: float | None
    """Of exact spans, all entities together."""


def run(config: TrainPiiTaggerConfig, *, permitted_files: Path, out: Path) -> TrainPiiTaggerSummary:
    """Write `tagger.json` and, where it is enabled, `weights.safetensors` and `scores.json`.

    EmptyArtifactError if the corpus has too few files for one of the three parts.
    """
    if not config.enabled:
        _write_settings(TaggerSettings(enabled=False, encoder=None, overlap_tokens=0), out)
        return TrainPiiTaggerSummary(enabled=False, train_examples=0, held_out_examples=0, steps=0, held_out_f1=None)
    parts = _examples(config, permitted_files)
    network, steps = _train(config, parts["train"], parts["validation"])
    tagger = PiiTagger(network, config.overlap_tokens)
    scores = _scores(tagger, parts["held_out"])
    encoder: Any = import_module("model.encoder")
    encoder.save_classifier(network, out / WEIGHTS_FILE)
    _write_settings(TaggerSettings(enabled=True, encoder=config.encoder, overlap_tokens=config.overlap_tokens), out)
    told = {name: score.model_dump() for name, score in scores.items()}
    (out / SCORES_FILE).write_bytes(canonical_json(told) + b"\n")
    current_sink().note(f"the tagger's F1 on held-out files is {scores['all'].f1:.3f}")
    return TrainPiiTaggerSummary(
        enabled=True,
        train_examples=len(parts["train"]),
        held_out_examples=len(parts["held_out"]),
        steps=steps,
        held_out_f1=scores["all"].f1,
    )


def _write_settings(settings: TaggerSettings, out: Path) -> None:
    (out / SETTINGS_FILE).write_bytes(canonical_json(settings.model_dump(mode="json")) + b"\n")


def _examples(config: TrainPiiTaggerConfig, permitted_files: Path) -> dict[str, list[Any]]:
    """The examples of each part."""
    source: Any = import_module("components.redaction.pii_examples")  # faker's tables take a second
    files = source.choose_code_files(permitted_files, config.num_files, config.seed)
    parts = {
        part: list(source.examples_of(files, part, config.plants_per_file, config.excerpt_lines, config.seed))
        for part in ("train", "validation", "held_out")
    }
    for part, examples in parts.items():
        if not any(example.spans for example in examples):
            raise EmptyArtifactError(
                f"train_pii_tagger has no example for its part {part}: {len(files)} files are too few; add sources, or "
                "set train_pii_tagger.enabled to false"
            )
    return parts


def _train(config: TrainPiiTaggerConfig, train: Sequence[Any], validation: Sequence[Any]) -> tuple[Any, int]:
    """The network at its best validation score, and the optimizer steps that were taken."""
    encoder: Any = import_module("model.encoder")
    training: Any = import_module("model.classifier_training")
    network = encoder.TokenClassifier(config.encoder, NUM_LABELS)
    encoder.initialize(network, config.encoder.init_std, config.training.seed)
    sequences = [sequence for example in train for sequence in _sequences(example, config, training)]
    history = training.train_classifier(
        network,
        sequences,
        config.training,
        lambda model: _scores(PiiTagger(model, config.overlap_tokens), validation)["all"].f1,
    )
    return network, history[-1].step


def _sequences(example: Any, config: TrainPiiTaggerConfig, training: Any) -> list[Any]:
    """The pieces of an example with their labels, cut to the context; what is unknown is not learned."""
    ignored: int = import_module("model.special_tokens").IGNORED_TARGET
    pieces = split_pieces(example.text, config.encoder.num_features)
    labels = labels_of(pieces.starts, pieces.ends, example.spans)
    for start, end in example.unknown:
        labels[(pieces.starts < end) & (pieces.ends > start)] = ignored
    length = config.encoder.context_length_tokens
    return [
        training.LabelledSequence(pieces.features_TK[first : first + length], labels[first : first + length])
        for first in range(0, len(labels), length)
    ]


def _scores(tagger: PiiTagger, examples: Sequence[Any]) -> dict[str, Scores]:
    """What is found where something is known, against what was planted."""
    found = tagger.spans([example.text for example in examples])
    answers = [
        [
            LabelledSpan(span.start_byte, span.end_byte, span.entity)
            for span in spans
            if not any(span.start_byte < end and start < span.end_byte for start, end in example.unknown)
        ]
        for example, spans in zip(examples, found, strict=True)
    ]
    return score_spans([example.spans for example in examples], answers)
