"""Scores of single models, kept until their evaluation is over: one that was killed does not score them again."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from core.durable import write_whole
from core.measure.results import Conditions
from core.regular_file import read_regular
from core.worker.reference_answers import fingerprint
from core.worker.scoring import Scores

VERSION = 1
"""Raised when scoring computes otherwise."""
MOST = 64
"""Files that may lie there: those of evaluations that nobody took up again give way, the oldest first."""
LIMIT = 1 << 30
"""Bytes of one; a million tokens take 28 million."""


def scores_place(folder: Path, reading: str, other: str) -> Path:
    """Where the scores of the model in the folder `other` are kept, on what an original read under this key.

    The key stands for the original, the tokens, their batches, the device and the libraries.
    """
    facts = json.dumps([VERSION, reading, fingerprint(other)])
    return folder / f"{hashlib.sha256(facts.encode()).hexdigest()}.safetensors"


def kept_scores(place: Path, tokens: int) -> tuple[Scores, Conditions] | None:
    """What is kept there of so many tokens, whole; None where there is nothing that can be used."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = read_regular(place, LIMIT, follow=False)
        digest, content = content[:32], content[32:]
        if hashlib.sha256(content).digest() != digest:
            return None
        found = load(content)
        words = found.pop("conditions")
        shapes = {values.shape for values in found.values()}
        if not shapes <= {(tokens,), (1, tokens)}:
            return None
        return Scores(**found), Conditions.model_validate_json(words.tobytes())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def keep_scores(place: Path, scores: Scores, conditions: Conditions) -> None:
    """Written beside and renamed. A disk that does not take it costs the scores of a killed evaluation, and no more."""
    from safetensors.numpy import save

    words = np.frombuffer(conditions.model_dump_json().encode(), dtype=np.uint8)
    arrays = {name: np.ascontiguousarray(values) for name, values in asdict(scores).items()}
    content = save({**arrays, "conditions": words})
    with suppress(OSError):
        write_whole(place, hashlib.sha256(content).digest() + content)
        lying = sorted(place.parent.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        for path in lying[:-MOST]:
            path.unlink(missing_ok=True)
