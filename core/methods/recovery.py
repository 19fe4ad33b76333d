"""What a recovery by distillation is asked to do, and what came of it; no torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, ValidationError

from core.calibration.spec import CalibrationFacts
from core.errors import BitpressError
from core.methods.nearest import did_you_mean
from core.value import Estimate, Received, Value

TRAIN_METRIC, HELD_OUT_METRIC = "recovery_kl_training", "recovery_kl_held_out"
"""Metrics while it runs: mean KL in nats per token; the event's `layer` is the step, as text."""

FEWEST_SAMPLES = 16
"""Below this no sample can be spared to judge by."""


class RecoverySpec(Value):
    """How a compressed model is brought nearer to its original. The original teaches, the codes stay as they are."""

    minutes: float = Field(default=10.0, ge=0.02, le=1440, allow_inf_nan=False)
    """Most minutes of training; what comes before (the original's pass) and after (judging) is not counted."""
    tokens: int | None = Field(default=None, ge=1, le=10**10)
    """Most tokens trained on, passes over the same text counted anew. None is as many as the time allows."""
    passes: int = Field(default=8, ge=1, le=1000)
    """Most passes over the text."""
    norms: bool = True
    """Whether the weights of RMSNorm and LayerNorm are trained as well."""
    rank: int = Field(default=32, ge=1, le=1024)
    """Rank of the adapters (LoRA) of a model whose weights are not quantized."""
    adapters: Literal["merged", "kept", "none"] = "merged"
    """What becomes of the adapters: added to the weights, kept in a folder of their own (`adapter`, as PEFT has it), or
    not trained at all."""
    batch_tokens: int = Field(default=1024, ge=64, le=2**20)
    """Tokens of one step of the optimizer."""
    rate: float = Field(default=1.0, gt=0, le=100, allow_inf_nan=False)
    """Factor on all learning rates."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)


ABOUT_RECOVERY = {
    "minutes": "Most minutes of training",
    "tokens": "Most tokens trained on; null is as many as the time allows",
    "passes": "Most passes over the calibration data",
    "norms": "Whether norm weights are trained as well",
    "rank": "Rank of the adapters of a model that is not quantized",
    "adapters": "What becomes of adapters: merged, kept or none",
    "batch_tokens": "Tokens of one step",
    "rate": "Factor on the learning rates",
    "seed": "Seed of the order of samples",
}
"""What each field is, on one line."""


def recovery_settings(items: Sequence[str]) -> RecoverySpec:
    """`NAME=VALUE` from the command line over the defaults. Raises BitpressError `bad-recovery`."""
    fields: dict[str, str | None] = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or name not in RecoverySpec.model_fields:
            known = ", ".join(RecoverySpec.model_fields)
            raise BitpressError(
                "bad-recovery",
                f"{item!r} is no setting of a recovery. {did_you_mean(name, list(RecoverySpec.model_fields))}".strip(),
                f"Write NAME=VALUE; the names are {known}.",
            )
        fields[name] = None if value in ("", "null") else value
    try:
        return RecoverySpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise BitpressError(
            "bad-recovery", f"{name} cannot be {fields[name]}: {first['msg']}.", f"{ABOUT_RECOVERY[name]}."
        ) from error


def recovery_words(spec: RecoverySpec) -> list[str]:
    """The options that ask for this recovery: what differs from the defaults."""
    usual = RecoverySpec()
    changed = [name for name in RecoverySpec.model_fields if getattr(spec, name) != getattr(usual, name)]
    return ["--recover", *(word for name in changed for word in ("--recovery", f"{name}={_word(getattr(spec, name))}"))]


def _word(value: object) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.10g}" if isinstance(value, float) else str(value)
    )


class CurvePoint(Received):
    """Held-out and training KL after so many steps, in nats per token."""

    step: int
    tokens: int
    seconds: float
    training: float | None = None
    held_out: float | None = None


class Recovered(Received):
    """What a recovery came to. `before` and `after` are the mean KL of what is stored, on samples that neither the
    training nor the choice of the step has seen; `change` is their difference, paired by sample.
    """

    helped: bool
    """False where the change is not below zero by more than its interval: the artifact then stays as it was."""
    before: Estimate
    after: Estimate
    change: Estimate
    trained: dict[str, int] = {}
    """Parameters trained, by kind: scales, table entries, coefficients, norms, adapters."""
    changed_tensors: tuple[str, ...] = ()
    steps: int = 0
    best_step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    training_samples: int = 0
    watched_samples: int = 0
    judged_samples: int = 0
    judged_tokens: int = 0
    curve: tuple[CurvePoint, ...] = ()
    adapter: str = ""
    """Folder of kept adapters inside the artifact; empty where there are none."""
    stopped: str = ""
    """Why training ended, as a sentence."""


class RecoverResult(Received):
    """What the recover command results in; bytes and hash are of `output` where it helped, else of the artifact."""

    recovery: Recovered
    versions: dict[str, str] = {}
    calibration: CalibrationFacts | None = None
    bytes: int
    tensors_sha256: str
    resumed: dict[str, int] | None = None
    """`training_step`: the step after which it went on, where it was interrupted."""
    host_peak_bytes: int = 0
    device_peak_bytes: int = 0
