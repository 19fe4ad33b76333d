"""How much memory it takes to train all weights that are compressed: bytes from shapes. No torch here."""

from __future__ import annotations

from core.methods.method import ModifierSpec
from core.methods.modifier_modules import TRAINING
from core.plan.job import Job
from core.plan.sizes import Shape
from core.plan.work import expected_data

BYTES_A_WEIGHT = 20
"""Of a weight that is trained: the master copy, its gradient, AdamW's two moments, and the best copy so far, each in 32
bits. The original's own two bytes come on top on the host; on a GPU they are brought back to it meanwhile."""

POSITIONS_ON_PROCESSOR, POSITIONS_ON_GPU = 64, 1024
"""Positions whose logits are held at a time: core.worker.recovery.divergence's."""

_LOGITS = 20
"""Bytes of a position's entry of the vocabulary: both models' logits, their logarithms and the gradient."""


def training(job: Job) -> ModifierSpec | None:
    """The modifier of the job that trains weights, where one does."""
    return next((modifier for modifier in job.modifiers if modifier.name == TRAINING), None)


def batch_tokens(job: Job) -> int:
    """Tokens of one step with their padding."""
    modifier = training(job)
    data = expected_data(job.recipe.calibration)
    size = int(modifier.arguments.get("batch_size") or 1) if modifier is not None else 0
    return max(64, min(size, max(data.samples, 1)) * data.longest) if size else 0


def state_bytes(job: Job) -> int:
    """Bytes of what is trained, with all that AdamW and going back need; 0 for other jobs."""
    return BYTES_A_WEIGHT * job.shape.compressed_elements if training(job) is not None else 0


def activation_bytes(shape: Shape, tokens: int, *, on_gpu: bool) -> int:
    """Bytes that a step of `tokens` takes beside the state: activations are made again for the gradients.

    Each decoder layer's input is kept, in 16 bits; of one layer at a time all that its gradients need (about 24 numbers
    of the model's width and 8 of the widest layer for each token), with its rounded weights and their gradients; and
    some positions' logits.
    """
    layers = max(shape.layers, 1)
    widest = max((max(pair) for pair in shape.compressed), default=shape.hidden)
    kept = tokens * shape.hidden * 2 * (layers + 2)
    layer = tokens * (24 * shape.hidden + 8 * widest) * 2
    rounded = 2 * 2 * shape.compressed_elements // layers
    largest = 4 * 4 * max((rows * columns for rows, columns in shape.compressed), default=0)
    positions = POSITIONS_ON_GPU if on_gpu else POSITIONS_ON_PROCESSOR
    logits = min(tokens, positions) * shape.vocabulary * _LOGITS
    return kept + layer + rounded + largest + logits


def training_bytes(job: Job, *, on_gpu: bool) -> int:
    """Bytes that training holds at its peak, the process and the original's mapped files apart; 0 for other jobs."""
    state = state_bytes(job)
    if not state:
        return 0
    beside = job.weights if on_gpu else 0
    return state + beside + activation_bytes(job.shape, batch_tokens(job), on_gpu=on_gpu)
