"""The decision of a promotion: a pure function from what is known to a list of checks."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from components.config import PromoteModelConfig


class Evaluation(BaseModel):
    """What the decision looks at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bits_per_byte: float
    baseline_bits_per_byte: float


class Check(BaseModel):
    """One condition, whether it holds, and the figures behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool
    why: str


class PromotionDecision(BaseModel):
    """The outcome; `promoted` is true when every check passed, and `version` is the champion then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_name: str
    version: int
    champion_before: int | None
    promoted: bool
    checks: tuple[Check, ...]
    settled: str | None = None
    """What had to be done first, because alias and ledger did not agree."""


def decide(
    candidate: Evaluation,
    champion: Evaluation | None,
    broken_contracts: Sequence[str],
    damaged_file: str | None,
    config: PromoteModelConfig,
) -> tuple[Check, ...]:
    """Pure: every condition of a promotion, in the order in which people ask."""
    checks = [
        Check(
            name="contracts hold",
            passed=not broken_contracts,
            why="; ".join(broken_contracts) or "every artifact upstream kept its contract",
        ),
        Check(
            name="registered bytes are the evaluated ones",
            passed=damaged_file is None,
            why=damaged_file or "every file has the digest of its record",
        ),
    ]
    if config.must_beat_baseline:
        checks.append(
            Check(
                name="beats the baseline",
                passed=candidate.bits_per_byte < candidate.baseline_bits_per_byte,
                why=f"{candidate.bits_per_byte:.4f} against {candidate.baseline_bits_per_byte:.4f} bits per byte",
            )
        )
    if champion is not None:
        limit = champion.bits_per_byte + config.max_bits_per_byte_regression
        checks.append(
            Check(
                name="no worse than the champion",
                passed=candidate.bits_per_byte <= limit,
                why=f"{candidate.bits_per_byte:.4f} against {champion.bits_per_byte:.4f} bits per byte",
            )
        )
    return tuple(checks)
