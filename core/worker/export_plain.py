"""Writes a compressed artifact as plain safetensors in the model's own dtype, which load anywhere.

From file to file: in memory are one matrix and what it is made of. Sizes are those that the architecture has, known
before anything is written, so that no file can ask for more.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BitpressError
from core.jobs.protocol import ExportPlain, Stage
from core.models.safetensors_header import DTYPE_BITS, TensorEntry, merged, read_headers
from core.value import Json
from core.worker.carry_code import carry_code
from core.worker.codebook_parts import PARTS, codebook_facts, dense_weight
from core.worker.reporter import Reporter
from core.worker.save_artifact import VERBATIM, hash_files, make_readable, writing_to
from core.worker.versions import library_versions

if TYPE_CHECKING:
    from torch import Tensor

STAGE = Stage(id="export", title="Write plain weights", unit="tensor")

SHARD_BYTES = 5_000_000_000
"""Most bytes of one file."""

_CHUNK = 1 << 24
_DROPPED = ("k_scale", "v_scale", "input_scale", "input_global_scale", "output_scale")
"""What a plain model has no use for: activations and the KV cache are in 16 bits again."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One tensor to write: copied from a file as it is, or made."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: TensorEntry | Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * DTYPE_BITS[self.dtype] // 8


def run(command: ExportPlain, report: Reporter) -> Json:
    """Write into the new folder `output`, which vanishes again unless all went well.

    Raises BitpressError `output-exists`, `nothing-to-export`, `cannot-export`, `broken-weights`, and what reading
    headers and surveying raise.
    """
    output = Path(command.output)
    report.plan((STAGE,))
    try:
        output.mkdir(parents=True)
    except FileExistsError as error:
        raise BitpressError("output-exists", f"{output} exists already.", "Choose another folder.") from error
    try:
        with report.stage(STAGE.id), writing_to(output):
            return _export(Path(command.model), output, report)
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise


def _export(artifact: Path, output: Path, report: Reporter) -> Json:
    report.progress(STAGE.id, 0, None, "headers")
    planned = tuple(plan(artifact))
    weights = write(planned, output, report)
    config = json.loads((artifact / "config.json").read_text(encoding="utf-8"))
    for name in ("quantization_config", "compression_config"):
        config.pop(name, None)
    (output / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for name in VERBATIM:
        if (artifact / name).is_file():
            shutil.copyfile(artifact / name, output / name)
    carry_code(artifact, output)
    make_readable(output)
    return {
        "bytes": sum(path.stat().st_size for path in weights),
        "modules": sum(not isinstance(each.source, TensorEntry) for each in planned),
        "tensors_sha256": hash_files(weights, report),
        "versions": library_versions(),
    }


def plan(artifact: Path) -> Iterator[Planned]:
    """Every tensor of the plain model. Raises as `run`."""
    from core.worker.saved_tensors import loaded_dtype
    from core.worker.survey import plain_config, survey

    tensors = merged(read_headers(artifact))
    dtype = loaded_dtype(plain_config(artifact), tensors)
    shapes = {module.stem: module.shape for module in survey(artifact).linears}
    facts = codebook_facts(artifact)
    made = _tables(artifact, tensors, shapes, facts, dtype) if facts is not None else _schemes(artifact, shapes, dtype)
    owned = {name for each in made for name in _parts_of(each.name.removesuffix(".weight"), tensors)}
    yield from made
    for name, entry in tensors.items():
        if name not in owned and name.rpartition(".")[2] not in _DROPPED:
            yield Planned(name, entry.dtype, entry.shape, entry)


def write(planned: Sequence[Planned], output: Path, report: Reporter) -> tuple[Path, ...]:
    """Safetensors files of at most SHARD_BYTES, with an index where there are several; their paths in order."""
    shards: list[list[Planned]] = [[]]
    for each in sorted(planned, key=lambda one: one.name):
        if shards[-1] and sum(one.bytes for one in shards[-1]) + each.bytes > SHARD_BYTES:
            shards.append([])
        shards[-1].append(each)
    several = len(shards) > 1
    paths, places = [], {}
    done = 0
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if several else "model.safetensors"
        paths.append(output / name)
        places.update({each.name: name for each in shard})
        with paths[-1].open("wb") as file:
            file.write(_header(shard))
            for each in shard:
                report.check()
                for piece in _pieces(each):
                    file.write(piece)
                done += 1
                report.progress(STAGE.id, done, len(planned), each.name)
    if several:
        index = {"metadata": {"total_size": sum(each.bytes for each in planned)}, "weight_map": places}
        (output / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return tuple(paths)


def _header(shard: Sequence[Planned]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for each in shard:
        header[each.name] = {
            "dtype": each.dtype,
            "shape": list(each.shape),
            "data_offsets": [place, place + each.bytes],
        }
        place += each.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _pieces(each: Planned) -> Iterator[bytes]:
    import torch

    if isinstance(each.source, TensorEntry):
        with each.source.file.open("rb") as file:
            file.seek(each.source.start)
            left = each.source.bytes
            while left:
                piece = file.read(min(left, _CHUNK))
                if not piece:
                    raise BitpressError("broken-weights", f"{each.source.file} ended while it was read.", "")
                left -= len(piece)
                yield piece
        return
    made = each.source()
    if tuple(made.shape) != each.shape:
        raise BitpressError("broken-weights", f"{each.name} came out as {tuple(made.shape)}, not {each.shape}.", "")
    yield made.contiguous().view(torch.uint8).numpy().tobytes()


def _tables(
    artifact: Path,
    tensors: Mapping[str, TensorEntry],
    shapes: Mapping[str, tuple[int, ...]],
    facts: Mapping[str, Mapping[str, Json]],
    dtype: str,
) -> list[Planned]:
    """The matrices of a codebook artifact, once its files are known to hold what the config says."""
    from bitpress_codebook.artifact_files import ArtifactError, check_files
    from bitpress_codebook.layout import ModuleLayout
    from bitpress_codebook.quantizer import CodebookConfig

    config = json.loads((artifact / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    try:
        CodebookConfig.from_dict(config)
        layouts = {
            name: ModuleLayout(*_shape(name, shapes), bits=each["bits"], kind=each["kind"], kept=each["kept"])
            for name, each in facts.items()
        }
        paths = sorted({str(entry.file) for entry in tensors.values()})
        check_files(paths, layouts, [name for name in layouts if f"{name}.bias" in tensors])
    except ArtifactError as error:
        raise BitpressError("broken-weights", str(error), "The file is damaged. Compress the model again.") from error
    return [
        Planned(f"{name}.weight", dtype, (layout.rows, layout.columns), _table(tensors, name, layout, dtype))
        for name, layout in layouts.items()
    ]


def _table(tensors: Mapping[str, TensorEntry], name: str, layout: Any, dtype: str) -> Callable[[], Tensor]:
    def make() -> Tensor:
        parts = {part: _read(tensors[f"{name}.{part}"]) for part in PARTS if f"{name}.{part}" in tensors}
        return dense_weight(parts, layout.bits, layout.columns, _torch_dtype(dtype))

    return make


def _schemes(artifact: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> list[Planned]:
    """The matrices of a compressed-tensors artifact. Rotations that happen while the model runs have no plain form."""
    from core.worker.module_error import Schemes, compressed_modules
    from core.worker.tensor_files import TensorFiles

    config = json.loads((artifact / "config.json").read_text(encoding="utf-8"))
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict) or quantization.get("quant_method") != "compressed-tensors":
        raise BitpressError(
            "nothing-to-export",
            f"{artifact} holds neither tables nor a scheme of compressed-tensors.",
            "Choose a model that Bitpress compressed.",
        )
    if quantization.get("transform_config"):
        raise BitpressError(
            "cannot-export",
            f"{artifact} turns activations while it runs, which a plain model cannot.",
            "Serve it as it is.",
        )
    schemes = Schemes(artifact)

    def made(name: str) -> Callable[[], Tensor]:
        def make() -> Tensor:
            with TensorFiles(artifact) as files:
                parts = {
                    local: files.read(f"{name}.{local}") for local in files.locals(name) if local.startswith("weight")
                }
            found = schemes.decompressed(name, parts, shapes[name][1])
            return found.to(_torch_dtype(dtype))

        return make

    return [Planned(f"{name}.weight", dtype, _shape(name, shapes), made(name)) for name in compressed_modules(artifact)]


def _shape(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    if name not in shapes:
        raise BitpressError(
            "cannot-export",
            f"{name} is no Linear layer of this architecture as transformers builds it; experts in one tensor are not "
            "put together again.",
            "Use the artifact as it is.",
        )
    rows, columns = shapes[name]
    return rows, columns


def _parts_of(module: str, tensors: Mapping[str, TensorEntry]) -> Iterator[str]:
    """Names of the tensors that a matrix was made of; its bias is not among them."""
    for name in tensors:
        owner, _, part = name.rpartition(".")
        if owner == module and (part in PARTS or part.startswith("weight") or part in _DROPPED):
            yield name


def _read(entry: TensorEntry) -> Tensor:
    from safetensors import safe_open

    with safe_open(entry.file, framework="pt") as file:
        found: Tensor = file.get_tensor(entry.name)
    return found


def _torch_dtype(name: str) -> Any:
    import torch

    return {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}[name]
