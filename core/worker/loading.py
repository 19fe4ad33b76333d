"""Loads a model and its tokenizer the one way that every task uses."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BitpressError
from core.measure.results import Conditions
from core.worker.codebook_models import know_format, make_plain, note

if TYPE_CHECKING:
    import torch

DECOMPRESSED = (
    "transformers decompresses these weights to {dtype} before it computes, so speed and memory are not what an "
    "engine with kernels for this format shows."
)


@dataclass(slots=True)
class Loaded:
    """A model in memory, in evaluation mode. `compressed` says that it was loaded from compressed weights."""

    path: str
    model: Any
    tokenizer: Any
    device: torch.device
    seconds: float
    compressed: bool
    conditions: Conditions


def import_libraries() -> None:
    """Load what opening a compressed model needs; the first time takes seconds."""
    import importlib

    for name in ("torch", "compressed_tensors.offload", "transformers.generation", "transformers.models.auto"):
        importlib.import_module(name)


def pick_device(wanted: str) -> torch.device:
    """`auto` is the first CUDA device, else the CPU. Raises BitpressError for a device that is not there."""
    import torch

    if wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise BitpressError(
            "no-such-device",
            f"There is no device {wanted} that this build of torch can use.",
            "Choose `auto` or `cpu`, or check the driver and that torch is a CUDA build.",
        )
    return device


def device_name(device: torch.device) -> str:
    """`cpu (N threads)` or the GPU's own name."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def load(path: str, device: str = "auto", *, plain: bool = False, offload: Path | None = None) -> Loaded:
    """Load safetensors weights only, without remote code and without the network.

    Weights that are tables are looked up for every step; `plain` makes matrices of them once where the memory is there,
    for who wants many numbers and measures neither speed nor memory. With `offload`, a folder that is made, the decoder
    layers' weights stay in files: what is read comes from the model's own, and what is changed goes to new ones there,
    until whoever asked removes it.

    Raises BitpressError `cannot-load` with what transformers said.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from core.worker.tokenizer_files import load_tokenizer

    target = pick_device(device)
    started = time.perf_counter()
    if not Path(path, "config.json").is_file():
        raise BitpressError("no-config", f"{path} has no config.json.", "Choose the folder that holds the model.")
    tables = know_format(Path(path))
    try:
        tokenizer = load_tokenizer(path)
        places: dict[str, Any] = {"device_map": {"": target} if target.type == "cuda" else None}
        if offload is not None:
            offload.mkdir()
            places = {"device_map": _layers_on_disk(path), "offload_folder": str(offload)}
        with nullcontext() if offload is None else _offloading():
            model = AutoModelForCausalLM.from_pretrained(
                path,
                dtype="auto",
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                **places,
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise BitpressError(
            "cannot-load",
            f"transformers cannot load {path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "Look at the details; the files may be incomplete, or the architecture is not one that transformers knows.",
        ) from error
    model.eval()
    compressed = getattr(model.config, "quantization_config", None) is not None
    dtype = str(model.dtype).removeprefix("torch.")
    notes: tuple[str, ...] = ()
    if tables:
        notes = (note(plain=make_plain(model, target) if plain else False),)
    elif compressed:
        notes = (DECOMPRESSED.format(dtype=dtype),)
    return Loaded(
        path=path,
        model=model,
        tokenizer=tokenizer,
        device=target,
        seconds=time.perf_counter() - started,
        compressed=compressed,
        conditions=Conditions(
            engine="transformers",
            engine_version=version("transformers"),
            device=device_name(target),
            dtype=dtype,
            threads=torch.get_num_threads() if target.type == "cpu" else None,
            notes=notes,
        ),
    )


def _offloading() -> AbstractContextManager[None]:
    from compressed_tensors.offload import load_offloaded_model

    return load_offloaded_model()


def _layers_on_disk(path: str) -> dict[str, str]:
    """Where each module goes: the decoder layers to the disk, the rest to main memory. Reads the config alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    whole = set(model._no_split_modules or ())
    found: dict[str, str] = {}

    def place(module: torch.nn.Module, name: str) -> None:
        if type(module).__name__ in whole:
            found[name] = "disk"
        elif any(type(below).__name__ in whole for below in module.modules()):
            for child, below in module.named_children():
                place(below, f"{name}.{child}" if name else child)
        else:
            found[name] = "cpu"

    place(model, "")
    return found


def release() -> None:
    """Give the memory of models that nobody holds any more back to the device."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
