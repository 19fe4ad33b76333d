"""Where an original's logits come from: what was kept of it, what it computes now, or the model itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from core.errors import BitpressError
from core.measure.results import Conditions
from core.worker import loading
from core.worker.decoding import warm_up
from core.worker.keeper import Keeper
from core.worker.loading import Loaded
from core.worker.reference_head import Head, named_weight, probe, reproduces, stored_head
from core.worker.reference_known import KnownModel
from core.worker.reference_states import FromStates, Reading, ReferenceRefusedError, keep_states, open_states
from core.worker.scoring import FromModel

PROBE = 16
"""Most tokens on which it is tried whether the original's logits can be made again from its hidden states."""

WHOLE_NOTE = "The original stayed in memory and was run again for each other model, because {reason}"


@dataclass(slots=True)
class Original:
    """The original of an evaluation: known from the start, loaded when something needs it, dropped afterwards."""

    known: KnownModel
    device: torch.device
    loaded: Loaded | None = None
    seconds: float = 0.0
    """Spent on loading, in all."""
    conditions: Conditions = field(
        default_factory=lambda: Conditions(engine="", engine_version="", device="", dtype="")
    )
    """Those under which it computed; filled when it was loaded, or its states were found."""
    notes: list[str] = field(default_factory=list)

    def load(self) -> Loaded:
        """The model in memory, warm."""
        if self.loaded is None:
            self.loaded = load_warm(self.known.path, self.device, None)
            self.seconds += self.loaded.seconds
            self.conditions = self.loaded.conditions
        return self.loaded

    def drop(self) -> None:
        """Give its memory back; a head that somebody holds stays."""
        if self.loaded is not None:
            self.loaded.model = None
            self.loaded = None
            loading.release()


def kept_source(folder: Path, original: Original, reading: Reading) -> FromStates | None:
    """What an evaluation before kept of the original, if its logits still come out of it to the bit.

    Only the head's weight is read of the model's files, where it is a plain one; else the original is loaded.
    """
    states = open_states(folder, reading)
    if states is None:
        return None
    head = stored_head(original.known.path, states.facts.head, states.probe, original.device)
    if head is None:
        head = Head(original.load().model.get_output_embeddings(), states.facts.head)
        if not reproduces(head, states.probe.to(original.device)):
            return None
    original.conditions = states.facts.conditions
    return FromStates(original.known.path, states, head, original.device)


def computed_source(
    folder: Path,
    original: Original,
    reading: Reading,
    after_batch: Callable[[int], None],
    keeper: Keeper | None = None,
) -> FromStates | FromModel:
    """Run the original and keep its states; the model itself, with a note, where it must stay in memory instead."""
    loaded = original.load()
    ids = torch.tensor([reading.rows[reading.plan[0][0]].ids[:PROBE]], device=original.device)
    tried = probe(loaded.model, ids)
    if tried is None:
        original.notes.append(WHOLE_NOTE.format(reason="its logits do not come from its output head alone."))
        return FromModel(loaded.path, loaded.model)
    head, hidden = tried
    named = named_weight(loaded.path, head.module)
    head = Head(head.module, head.facts.model_copy(update={"weight": named}))
    try:
        states = keep_states(
            folder,
            reading,
            loaded.model,
            head=head,
            probe=hidden,
            conditions=loaded.conditions,
            device=original.device,
            after_batch=after_batch,
            keeper=keeper,
        )
    except ReferenceRefusedError as error:
        original.notes.append(WHOLE_NOTE.format(reason=f"what it computes could not be kept. {error}"))
        return FromModel(loaded.path, loaded.model)
    return FromStates(loaded.path, states, head, original.device)


def load_warm(path: str, device: torch.device, original: KnownModel | None) -> Loaded:
    """A warm model, the warming counted as loading; it must have the original's vocabulary."""
    loaded = loading.load(path, str(device), plain=True)
    loaded.seconds += warm_up(loaded)
    if original is not None and (
        loaded.model.config.get_text_config().vocab_size != original.vocabulary
        or loaded.tokenizer.get_vocab() != original.tokenizer.get_vocab()
    ):
        raise BitpressError(
            "different-tokenizer",
            f"{path} does not have the tokenizer of {original.path}, so they cannot be compared token by token.",
            "Compare models that were made from the same original.",
        )
    return loaded
