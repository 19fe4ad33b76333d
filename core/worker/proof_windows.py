"""The held-out text that every proof scores."""

from __future__ import annotations

from typing import Any

DOCUMENTS = 4
WINDOW = 256
"""Held-out tokens: the first WINDOW of each of DOCUMENTS texts, spread over all that there are."""


def held_out_windows(tokenizer: Any, model: Any, most: int | None = None) -> tuple[tuple[int, ...], ...]:
    """The token ids that every proof scores: (documents, at most `most`, else WINDOW)."""
    from core.measure.held_out import held_out_documents

    most = most or WINDOW
    documents = held_out_documents()
    step = max(1, len(documents) // DOCUMENTS)
    longest = min(most, getattr(model.config, "max_position_embeddings", None) or most)
    found = [tuple(tokenizer(text, verbose=False)["input_ids"][:longest]) for _, text in documents[::step][:DOCUMENTS]]
    return tuple(window for window in found if len(window) > 1)
