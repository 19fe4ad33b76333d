"""Text and prompts that calibration never sees, for the proof of an artifact."""

from __future__ import annotations

import json
from importlib.abc import Traversable
from importlib.resources import files


def held_out_documents(resources: Traversable | None = None) -> tuple[tuple[str, str], ...]:
    """(name, text) of every document in `resources/texts`, by name."""
    folder = (resources or files("resources")) / "texts"
    found = sorted((item for item in folder.iterdir() if item.name.endswith(".txt")), key=lambda item: item.name)
    return tuple((item.name.removesuffix(".txt"), item.read_text(encoding="utf-8")) for item in found)


def proof_prompts(resources: Traversable | None = None) -> tuple[str, ...]:
    """The prompts in `resources/prompts/proof.json`, each one good for an answer of 200 tokens and more."""
    text = ((resources or files("resources")) / "prompts" / "proof.json").read_text(encoding="utf-8")
    return tuple(json.loads(text)["prompts"])
