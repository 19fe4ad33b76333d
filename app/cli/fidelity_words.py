"""What an evaluation found, as lines for the command line."""

from __future__ import annotations

from core.measure.passages import reference_bytes
from core.measure.results import EvaluationResult, EvaluationSuite, Fidelity, NoiseFloor
from core.models.local_model import LocalModel
from core.value import Estimate

ITEM_BYTES = 2
"""Of one number of a hidden state in bfloat16 or float16, as nearly all models have it."""


def room_line(original: LocalModel, suite: EvaluationSuite) -> str | None:
    """What is kept on disk of the original, before it runs; None where its width is not known."""
    if original.hidden_size is None:
        return None
    item = 4 if original.precision == "FP32" else ITEM_BYTES
    size = reference_bytes(suite.tokens * len(suite.texts), original.hidden_size, item)
    return f"What {original.name} computes is kept for the next evaluation: at most {size / 1e6:.1f} MB on disk."


def fidelity_lines(result: EvaluationResult) -> list[str]:
    """Every other model's figures with their intervals, then the noise floor, then what was kept."""
    lines = []
    for other in result.others:
        lines += _other(other)
    lines += [_floor(floor) for floor in result.noise]
    for pair in result.pairs:
        first, second = (
            next(one.name for one in result.others if one.path == path) for path in (pair.first, pair.second)
        )
        lines.append(f"{second} less {first}, on the same documents: mean KL {_nats(pair.kl)}")
    if result.reference_bytes:
        kept = "was used again" if result.reference_reused else "is kept for the next evaluation"
        lines.append(f"What the original computed {kept}: {result.reference_bytes / 1e6:.1f} MB on disk.")
    return lines


def _other(other: Fidelity) -> list[str]:
    lines = [
        f"{other.name}: perplexity {other.perplexity:.3f} (x {_four(other.perplexity_ratio)}), "
        f"mean KL {_nats(other.kl_interval)}, same top-1 {_percent(other.same_top1)}"
    ]
    if other.kl_reverse_interval is not None and other.top5 is not None:
        lines.append(
            f"  mean KL the other way {_nats(other.kl_reverse_interval)}, top-5 overlap {_percent(other.top5)}, "
            f"99 % of tokens under {other.kl.p99:.3g} nats, largest {other.kl.max:.3g}"
        )
    if other.true_token is not None and other.perplexity_correlation is not None:
        lines.append(
            f"  true token's probability {100 * other.true_token.mean.value:+.2f} points on average, "
            f"{100 * other.true_token.rms.value:.2f} either way (RMS); "
            f"log perplexities correlate at {other.perplexity_correlation:.4f}"
        )
    if other.measurable is False:
        lines.append("  no measurable difference: mean KL is not above the noise floor")
    return lines


def _floor(floor: NoiseFloor) -> str:
    return (
        f"Noise floor ({floor.kind}): mean KL {_nats(floor.kl_interval)}, same top-1 {_percent(floor.same_top1)}, "
        f"over {floor.tokens} tokens"
    )


def _nats(estimate: Estimate) -> str:
    return f"{estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})"


def _four(estimate: Estimate) -> str:
    return f"{estimate.value:.4f}, {estimate.low:.4f} to {estimate.high:.4f}"


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
