"""How well spans were found: precision, recall and F1 of each entity, by exact spans and by spans that touch."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from components.redaction.pii_labels import PERSONAL, LabelledSpan


class Scores(BaseModel):
    """Of one entity, or of all together. Each fraction is 0 where nothing was found or nothing was there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    support: int
    """Spans that are there."""
    found: int
    """Spans that were said to be there."""
    precision: float
    """Share of the found ones that are there, with the same ends and entity."""
    recall: float
    """Share of those there that were found, with the same ends and entity."""
    f1: float
    overlap_precision: float
    """As above, when one byte in common and the same entity are enough."""
    overlap_recall: float
    overlap_f1: float


def score_spans(
    truths: Sequence[Sequence[LabelledSpan]], answers: Sequence[Sequence[LabelledSpan]]
) -> dict[str, Scores]:
    """The scores of each entity of PERSONAL, then of "all" together (micro-averaged), over texts side by side."""
    scores: dict[str, Scores] = {}
    for name in (*PERSONAL, "all"):
        support = found = exact = touching_found = touching_there = 0
        for truth, answer in zip(truths, answers, strict=True):
            there = [span for span in truth if span.entity == name or (name == "all" and span.entity in PERSONAL)]
            said = [span for span in answer if span.entity == name or name == "all"]
            support, found = support + len(there), found + len(said)
            exact += len(set(there) & set(said))
            touching_found += sum(any(_touch(one, other) for other in there) for one in said)
            touching_there += sum(any(_touch(one, other) for other in said) for one in there)
        precision, recall = _share(exact, found), _share(exact, support)
        loose_precision, loose_recall = _share(touching_found, found), _share(touching_there, support)
        scores[name] = Scores(
            support=support,
            found=found,
            precision=precision,
            recall=recall,
            f1=_f1(precision, recall),
            overlap_precision=loose_precision,
            overlap_recall=loose_recall,
            overlap_f1=_f1(loose_precision, loose_recall),
        )
    return scores


def _touch(one: LabelledSpan, other: LabelledSpan) -> bool:
    return one.entity == other.entity and one.start_byte < other.end_byte and other.start_byte < one.end_byte


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _f1(precision: float, recall: float) -> float:
    return round(2 * precision * recall / (precision + recall), 6) if precision + recall else 0.0
