"""Data-free compression from file to file, a shard at a time: memory is bounded by a shard and time by the disk.

llmcompressor's `model_free_ptq` never builds the model. That gives the very tensors that its `oneshot` would give where
the files hold the model's parameters one to one, and only then is this way taken.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.methods.method import ModifierSpec
from core.methods.targets import ignored
from core.models.safetensors_header import merged, read_headers, weight_files
from core.worker.carry_code import carry_code
from core.worker.changes import nothing_changed
from core.worker.reporter import Reporter
from core.worker.save_artifact import VERBATIM, make_readable, writing_to
from core.worker.survey import parameter_names, survey

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Streamable:
    """Modules to compress and Linear modules that are left alone, by name, with the modifier's arguments."""

    chosen: tuple[str, ...]
    left: tuple[str, ...]
    arguments: dict[str, Any]


def streamable(folder: Path, modifiers: Sequence[ModifierSpec]) -> Streamable | None:
    """What would be compressed, or None where only `oneshot` is exact.

    It is exact where there is one QuantizationModifier, and every tensor of the files is a parameter of the model under
    its own name and in the dtype that the model computes in. Experts that are stored apart and computed together, or
    the other way round, are not. Raises BitpressError as `survey` does.
    """
    if len(modifiers) != 1 or modifiers[0].name != "QuantizationModifier":
        return None
    found = survey(folder)
    if not _one_to_one(folder):
        return None
    arguments = modifiers[0].arguments
    ignore = arguments["ignore"]
    targets = [target for group in arguments["config_groups"].values() for target in group["targets"]]
    named = [module for module in found.linears if ignored(module, targets)]
    chosen = tuple(module.name for module in named if not ignored(module, ignore) and module.tied_to is None)
    if any(module.tied_to is not None and not ignored(module, ignore) for module in named):
        # A tied head that is compressed must be untied first, which takes the model.
        return None
    stored = merged(read_headers(folder))
    if any(f"{name}.weight" not in stored for name in chosen):
        # Experts that are stored in one tensor a layer, which only oneshot takes apart.
        return None
    left = tuple(module.name for module in found.linears if module.name not in chosen)
    return Streamable(chosen=chosen, left=left, arguments=arguments)


def stream(
    plan: Streamable, folder: Path, output: Path, *, device: str, stage: str, report: Reporter
) -> tuple[Path, ...]:
    """Compress the files of `folder` into the existing folder `output`; gives the weight files in order of their names.

    Raises BitpressError `nothing-changed` where no module was chosen; OSError, with ENOSPC for a full disk.
    """
    if not plan.chosen:
        raise nothing_changed()
    from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme
    from llmcompressor import model_free_ptq

    groups = plan.arguments["config_groups"]
    schemes = {
        name: QuantizationScheme(**(group | {"targets": _named(group["targets"], plan)}))
        for name, group in groups.items()
    }
    source = output / ".source"
    shards = weight_files(folder)
    with writing_to(output), _only_weights(folder, source, shards), _followed(len(shards), stage, report):
        model_free_ptq(
            model_stub=str(source),
            save_directory=str(output),
            config=QuantizationConfig(config_groups=schemes, ignore=[]),
            max_workers=1,
            device=device,
        )
    _as_oneshot_writes(output / "config.json", groups, plan.left)
    if len(shards) == 1:
        # One file needs no index, and transformers writes none.
        (output / INDEX).unlink(missing_ok=True)
    for name in VERBATIM:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)
    carry_code(folder, output)
    make_readable(output)
    return tuple(sorted(output.glob("*.safetensors")))


def _one_to_one(folder: Path) -> bool:
    """Whether the files' tensors are the model's parameters, name by name, all in one dtype that it computes in."""
    stored = merged(read_headers(folder))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    wanted = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}.get(
        str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    )
    return set(stored) == parameter_names(folder) and {entry.dtype for entry in stored.values()} == {wanted}


def _named(targets: Sequence[str], plan: Streamable) -> list[str]:
    """`Linear` means every tensor to `model_free_ptq`, embeddings too: the modules are named one by one instead."""
    found = []
    for name in plan.chosen:
        for target in targets:
            expression = target.removeprefix("re:")
            if target in ("Linear", name) or (target != expression and re.match(expression, name)):
                found.append(name)
                break
    return found


@contextmanager
def _only_weights(folder: Path, source: Path, shards: Sequence[Path]) -> Iterator[None]:
    """A folder of links to what is to be read; `model_free_ptq` would copy all else that lies beside the weights."""
    source.mkdir()
    try:
        for path in (*shards, folder / "config.json", folder / INDEX):
            if path.is_file():
                os.symlink(path.resolve(), source / path.name)  # noqa: PTH211
        yield
    finally:
        shutil.rmtree(source, ignore_errors=True)


@contextmanager
def _followed(shards: int, stage: str, report: Reporter) -> Iterator[None]:
    """Counts the shards as they are written: each ends with a call of `save_file` in llmcompressor's own module."""
    from llmcompressor.entrypoints import model_free

    written = 0
    save = model_free.save_file

    def saved(tensors: Any, path: Any, **more: Any) -> None:
        nonlocal written
        report.check()
        # Blocks come out as slices of a padded tensor, which safetensors refuses to write.
        whole = {name: values.contiguous() for name, values in tensors.items()}
        save(whole, path, **(more or {"metadata": {"format": "pt"}}))
        written += 1
        report.progress(stage, written, shards, f"file {min(written + 1, shards)} of {shards}")

    report.progress(stage, 0, shards, f"file 1 of {shards}")
    model_free.save_file = saved
    try:
        yield
    finally:
        model_free.save_file = save


def _as_oneshot_writes(path: Path, groups: dict[str, Any], left: Sequence[str]) -> None:
    """The targets as the recipe has them, and the Linear modules that were left alone: what engines read."""
    config = json.loads(path.read_text(encoding="utf-8"))
    quantization = config["quantization_config"]
    for name, group in groups.items():
        quantization["config_groups"][name]["targets"] = list(group["targets"])
    quantization["ignore"] = list(left)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
