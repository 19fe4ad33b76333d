"""What a compressed model was in memory just before and after it was saved, and whether the file gives it back.

Two silent losses are found this way: a tensor that never reached the file, or reached it changed, and a format that
reopens as another model than the one that was saved.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.measure.results import ProofCheck
from core.worker.loading import Loaded
from core.worker.proof_tensors import StoredTensor

OUTPUTS, TENSORS = "outputs.safetensors", "tensors.json"
WINDOWS, POSITIONS = 2, 64
"""Held-out texts whose outputs are kept, and how many tokens of each."""

SAME_BOUND = 0.02
"""Nats per token between the model in memory and the one that reopens: they differ by rounding alone."""

_SHOWN = 3


def write_outputs(loaded: Loaded, folder: Path) -> None:
    """Keep the model's next-token logits on the first held-out tokens, (tokens, vocabulary) a text."""
    import torch
    from compressed_tensors.offload import get_execution_device
    from safetensors.torch import save_file

    from core.worker.prove import held_out_windows

    device = get_execution_device(loaded.model.get_input_embeddings())
    kept = {}
    for place, window in enumerate(held_out_windows(loaded.tokenizer, loaded.model)[:WINDOWS]):
        ids = torch.tensor([window[:POSITIONS]], device=device)
        with torch.no_grad():
            kept[str(place)] = loaded.model(input_ids=ids, use_cache=False).logits[0].cpu().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(kept, folder / OUTPUTS)


def write_tensors(model: Any, folder: Path) -> None:
    """Keep a digest of every tensor that the saved model has in memory, and which share one storage."""
    from core.worker.survey import declared_ties, renames

    found: dict[str, str] = {}
    owners: dict[tuple[int, int], str] = {}
    ties = dict(declared_ties(model))
    for name, tensor in model.state_dict().items():
        found[name] = digest(tensor)
        if tensor.numel() and (place := tensor.data_ptr()):
            owner = owners.setdefault((place, tensor.numel()), name)
            if owner != name:
                ties[name] = owner
    folder.mkdir(parents=True, exist_ok=True)
    record = {"tensors": found, "ties": ties, "renamed": renames(model)}
    (folder / TENSORS).write_text(json.dumps(record), encoding="utf-8")


def digest(tensor: Any) -> str:
    """Dtype, shape and SHA-256 of a tensor's bytes."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{tensor.dtype} {list(tensor.shape)} {hashlib.sha256(flat).hexdigest()}"


def check_tensors(stored: Sequence[StoredTensor], folder: Path) -> ProofCheck:
    """Whether every tensor that was in memory is in the files, with the same bytes.

    A tensor that stands there under another name counts, and one that is tied to another that is there. Where
    transformers renames or splits tensors of the architecture while it saves, only reopening can tell what is missing.
    """
    from safetensors import safe_open

    name = "saved as it was in memory"
    record = json.loads((folder / TENSORS).read_text(encoding="utf-8"))
    wanted: dict[str, str] = record["tensors"]
    ties: dict[str, str] = record["ties"]
    found: dict[str, str] = {}
    for path in dict.fromkeys(tensor.path for tensor in stored):
        with safe_open(path, framework="pt") as file:
            found |= {key: digest(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
    changed = [key for key, value in wanted.items() if key in found and found[key] != value]
    others = Counter(value for key, value in found.items() if key not in wanted)
    tied = {key for key, owner in ties.items() if owner in found} | {
        owner for key, owner in ties.items() if key in found
    }
    missing = []
    for key, value in wanted.items():
        if key in found or key in tied:
            continue
        others[value] -= 1
        if others[value] < 0 and not record["renamed"]:
            missing.append(key)
    for kind, keys in (("did not reach the file", missing), ("changed on the way to the file", changed)):
        if keys:
            listed = ", ".join(keys[:_SHOWN]) + (" …" if len(keys) > _SHOWN else "")
            return ProofCheck(name=name, passed=False, detail=f"{len(keys)} of {len(wanted)} tensors {kind}: {listed}")
    return ProofCheck(name=name, passed=True, detail=f"{len(found)} tensors are in the file, byte for byte.")


def check_outputs(logits: Sequence[Any], folder: Path) -> ProofCheck:
    """Whether the model that reopened computes what the one in memory did; `logits` (tokens - 1, vocabulary) a text."""
    import torch
    from safetensors.torch import load_file

    name = "reopens as it was in memory"
    kept = load_file(folder / OUTPUTS)
    divergences = []
    for place, reopened in enumerate(logits[: len(kept)]):
        rows = min(len(kept[str(place)]), len(reopened))
        p = torch.log_softmax(kept[str(place)][:rows].float(), -1)
        q = torch.log_softmax(reopened[:rows].float(), -1)
        divergences.append((p.exp() * (p - q)).sum(-1))
    mean = float(torch.cat(divergences).mean())
    # Written so that a figure which is no number fails.
    same = mean <= SAME_BOUND
    said = "as close as rounding allows" if same else "another model came back than was saved"
    return ProofCheck(
        name=name, passed=same, detail=f"KL {mean:.5f} nats per token beside the model in memory: {said}."
    )
