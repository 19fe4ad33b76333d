"""What a training gained, in sentences."""

from __future__ import annotations

from typing import Any


def outcome(result: Any) -> str:
    """What a recovery gained, or that it did not, in sentences."""
    from core.jobs.recovery import without_gain
    from core.methods.recovery import Recovered

    found = Recovered.model_validate(result)
    if not found.helped:
        return without_gain(found)
    return (
        f"Mean KL divergence {found.before.value:.4f} ({found.before.low:.4f} to {found.before.high:.4f}) became "
        f"{found.after.value:.4f} ({found.after.low:.4f} to {found.after.high:.4f}) on {found.judged_samples} samples "
        f"that it had not seen; the change is {found.change.value:+.4f} ({found.change.low:+.4f} to "
        f"{found.change.high:+.4f}). {found.steps} steps, {found.tokens:,} tokens. The size is the same."
    )


def trained_outcome(result: Any) -> str:
    """What training the weights before they were rounded gained, or that it did not, in sentences."""
    from core.methods.recovery import Recovered

    found = Recovered.model_validate(result)
    figures = (
        f"{found.before.value:.4f} by rounding alone, {found.after.value:.4f} after {found.steps} steps, a change of "
        f"{found.change.value:+.4f} ({found.change.low:+.4f} to {found.change.high:+.4f})"
    )
    kept = f"Step {found.best_step} is kept." if found.helped else "That is no gain: weights were rounded as they were."
    return f"Mean KL divergence on {found.judged_samples} samples that the training had not seen: {figures}. {kept}"
