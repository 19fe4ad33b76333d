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
from core.worker.cut_layers import decoder_list
from core.worker.loading import Loaded
from core.worker.proof_tensors import StoredTensor
from core.worker.proof_windows import held_out_windows

OUTPUTS, TENSORS = "outputs.safetensors", "tensors.json"
WINDOWS, POSITIONS = 2, 64
"""Held-out texts whose outputs are kept, and how many tokens of each."""

SAME_KL, SAME_ERROR = 0.02, 0.25
"""Nats per token, and relative error of a layer, between the model in memory and the one that reopens.

They differ by rounding alone: measured 0.00002 and 0.3 % at most. A layer with one module of noise is off by 76 % or
more, and one whose transforms were lost by more than all.
"""

_LOGITS = "logits"

_SHOWN = 3


def write_outputs(loaded: Loaded, folder: Path) -> None:
    """Keep what the model in memory gives for the first held-out tokens."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(_outputs(loaded.model, loaded.tokenizer), folder / OUTPUTS)


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


def holds(folder: Path) -> bool:
    """Whether there was a model in memory: going from file to file, there is none."""
    return (folder / OUTPUTS).is_file()


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


def check_outputs(model: Any, tokenizer: Any, folder: Path) -> ProofCheck:
    """Whether the model that reopened computes what the one in memory did, its logits and every decoder layer."""
    import torch
    from safetensors.torch import load_file

    name = "reopens as it was in memory"
    kept, found = load_file(folder / OUTPUTS), _outputs(model, tokenizer)
    p, q = (torch.log_softmax(outputs.pop(_LOGITS).float(), -1) for outputs in (kept, found))
    divergence = float((p.exp() * (p - q)).sum(-1).mean())
    errors = {layer: _relative(kept[layer], found[layer]) for layer in kept if layer in found}
    worst = max(errors, key=lambda layer: errors[layer], default="")
    # Written so that a figure which is no number fails.
    same = divergence <= SAME_KL and len(errors) == len(kept) and all(error <= SAME_ERROR for error in errors.values())
    said = f"KL {divergence:.5f} nats per token beside the model in memory"
    if worst:
        said += f", {worst} off by {errors[worst]:.1%}"
    return ProofCheck(
        name=name, passed=same, detail=f"{said}.{'' if same else ' Another model came back than was saved.'}"
    )


def _outputs(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Logits (tokens, vocabulary) under `logits`, and what each decoder layer adds to its input, (tokens, hidden).

    What is added, as the input itself would hide a layer that computes nothing of sense.
    """
    import torch
    from compressed_tensors.offload import get_execution_device

    added: dict[str, list[Any]] = {}
    found = decoder_list(model)
    handles = []
    for number, layer in enumerate(found[1] if found else ()):

        def heard(_module: Any, inputs: Any, named: Any, output: Any, place: str = f"layer {number}") -> None:
            before = inputs[0] if inputs else named["hidden_states"]
            after = output[0] if isinstance(output, tuple | list) else output
            added.setdefault(place, []).append((after - before).reshape(-1, after.shape[-1]).float().cpu())

        handles.append(layer.register_forward_hook(heard, with_kwargs=True))
    device = get_execution_device(model.get_input_embeddings())
    logits = []
    try:
        for window in held_out_windows(tokenizer, model)[:WINDOWS]:
            ids = torch.tensor([window[:POSITIONS]], device=device)
            with torch.no_grad():
                logits.append(model(input_ids=ids, use_cache=False).logits[0].cpu())
    finally:
        for handle in handles:
            handle.remove()
    return {_LOGITS: torch.cat(logits), **{place: torch.cat(parts) for place, parts in added.items()}}


def _relative(kept: Any, found: Any) -> float:
    """Median of |found - kept| / |kept| over the tokens, as the first token of a text is unlike all others."""
    return float(((found - kept).norm(dim=-1) / kept.norm(dim=-1).clamp_min(1e-12)).median())
