"""Text and prompts that calibration never sees, for the proof of an artifact."""

from __future__ import annotations

import json
from importlib.abc import Traversable
from importlib.resources import files

DOCUMENTS = ("import-check", "prose-06-review-guidebook", "prose-12-surveyor", "prose-18-vacant-lot")
"""The documents of every proof. They are named, so that proofs stay comparable when evaluation texts are added."""


def held_out_documents(resources: Traversable | None = None) -> tuple[tuple[str, str], ...]:
    """(name, text) of the proof's documents in `resources/texts`."""
    folder = (resources or files("resources")) / "texts"
    return tuple((name, (folder / f"{name}.txt").read_text(encoding="utf-8")) for name in DOCUMENTS)


def proof_prompts(resources: Traversable | None = None) -> tuple[str, ...]:
    """The prompts in `resources/prompts/proof.json`, each one good for an answer of 200 tokens and more."""
    text = ((resources or files("resources")) / "prompts" / "proof.json").read_text(encoding="utf-8")
    return tuple(json.loads(text)["prompts"])
