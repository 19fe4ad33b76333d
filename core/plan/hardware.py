"""Where an artifact runs: one table by scheme and GPU generation, and what it says in sentences.

Read in August 2026: vLLM's quantization pages (overview, int4, int8_w8a8, fp8, quantized_kvcache), llm-compressor's
docs/steps/choosing-scheme.md, and the issues named beside an entry. What ran on a processor was tried by us, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from core.plan.machine import Machine

Capability = tuple[int, int]
"""CUDA compute capability, major and minor."""

VLLM_TABLE = "https://docs.vllm.ai/en/latest/features/quantization/"
CHOOSING_SCHEME = "https://docs.vllm.ai/projects/llm-compressor/en/latest/steps/choosing-scheme/"
KV_CACHE_PAGE = "https://docs.vllm.ai/en/latest/features/quantization/quantized_kvcache/"


class Runs(StrEnum):
    """How an engine takes an artifact."""

    NATIVE = "native"
    """With kernels made for the scheme."""
    WEIGHT_ONLY = "weight-only"
    """The memory is saved, the arithmetic stays in 16 bits."""
    UNDOCUMENTED = "not documented"
    NO = "no"


GENERATIONS: Mapping[str, tuple[Capability, Capability]] = {
    "7.5": ((7, 5), (8, 0)),
    "8.0": ((8, 0), (8, 6)),
    "8.6": ((8, 6), (8, 9)),
    "8.9": ((8, 9), (9, 0)),
    "9.0": ((9, 0), (10, 0)),
    "10.x": ((10, 0), (11, 0)),
    "12.x": ((12, 0), (13, 0)),
}
"""By name: lowest capability, and the first that is no longer meant."""


@dataclass(frozen=True, slots=True)
class Support:
    """Where a scheme runs in vLLM. `gpus` has one letter for each of GENERATIONS: n native, w weight-only, u, -."""

    title: str
    gpus: str
    why_not: str = ""
    """Why some GPUs do not run it, or not natively; a clause."""
    processor: Runs = Runs.UNDOCUMENTED
    on_processor: str = "Nothing is documented of it in vLLM on processors, and we did not try it."
    remarks: tuple[str, ...] = ()
    lowest_vllm: str | None = None
    """Lowest vLLM version; None: not known."""
    sources: tuple[str, ...] = (VLLM_TABLE, CHOOSING_SCHEME)
    quantized: bool = True
    """Whether transformers has something to decompress."""
    loader: bool = False
    """Whether transformers needs the package `bitpress_codebook`, which lies in the artifact."""
    generations: Mapping[str, Runs] = field(init=False)

    def __post_init__(self) -> None:
        letters = {"n": Runs.NATIVE, "w": Runs.WEIGHT_ONLY, "u": Runs.UNDOCUMENTED, "-": Runs.NO}
        found = {name: letters[letter] for name, letter in zip(GENERATIONS, self.gpus, strict=True)}
        object.__setattr__(self, "generations", found)


_NO_FP8 = "it has no FP8 arithmetic"
_NO_FP4 = "it has no FP4 arithmetic"
_BF16_ON_75 = "Compute capability 7.5 has no BF16: start vLLM with --dtype half there."
_TRIED = "vLLM 0.32.0 on a processor served it (135M model, two cores, one run of ours)."
_FP8_TRIED = "vLLM 0.32.0 on a processor gave no answer in 150 seconds (135M model, one try of ours)."
_EXPERTS_ON_12 = (
    "On 12.x this is known for dense layers; layers of experts fell back to weight-only or failed there "
    "(vLLM issues 31085 and 35065)."
)
_HUMMING = (
    "vLLM's maintainers say that its Humming kernels should run it (llm-compressor issue 3102, August 2026); on which "
    "GPUs is not documented."
)
_NO_WNA16_KERNEL = (
    "vLLM 0.32.0 on a processor has kernels for packed integer weights of 4 bits only, as its error says (tried by us)."
)


def _codebook(bits: int, kind: str) -> Support:
    """Our own format: it is in no engine."""
    return Support(
        title=f"{bits}-bit weights as {kind}",
        gpus="-------",
        why_not="vLLM reads neither tables nor binary codes; what read tables there was taken out (issue 8220)",
        processor=Runs.NO,
        on_processor="Not in vLLM on processors.",
        remarks=(
            "It can be exported: to plain 16-bit safetensors, which load anywhere"
            + (", and to W4A16, which vLLM serves." if bits == 4 else "."),
        ),
        sources=("https://github.com/vllm-project/vllm/pull/8220",),
        loader=True,
    )


SUPPORT: Mapping[str, Support] = {
    "BF16": Support(
        title="16-bit weights",
        gpus="nnnnnnn",
        processor=Runs.NATIVE,
        on_processor=_TRIED,
        remarks=(_BF16_ON_75,),
        quantized=False,
    ),
    "FP8_DYNAMIC": Support(
        title="FP8 weights and activations", gpus="wwwnnnn", why_not=_NO_FP8, on_processor=_FP8_TRIED
    ),
    "FP8": Support(title="FP8 weights and activations", gpus="wwwnnnn", why_not=_NO_FP8),
    "FP8_BLOCK": Support(
        title="FP8 weights in blocks, and activations",
        gpus="uuunnnn",
        why_not=_NO_FP8,
        remarks=("Layers whose columns 128 does not divide are saved, but cannot run.",),
    ),
    "W8A8": Support(
        title="INT8 weights and activations",
        gpus="nnnnn--",
        why_not="vLLM does not support INT8 activations from compute capability 10.0 on",
        processor=Runs.NATIVE,
        on_processor="vLLM documents it for x86 and Arm processors. " + _TRIED,
    ),
    "W8A16": Support(
        title="INT8 weights", gpus="nnnnnnn", processor=Runs.NO, on_processor=_NO_WNA16_KERNEL, remarks=(_BF16_ON_75,)
    ),
    "W4A16": Support(
        title="INT4 weights",
        gpus="nnnnnnn",
        processor=Runs.NATIVE,
        on_processor=_TRIED,
        remarks=(
            "llm-compressor and vLLM's table name 7.5 as the lowest; vLLM's page on INT4 says above 8.0.",
            _BF16_ON_75,
        ),
    ),
    "W4AFP8": Support(
        title="INT4 weights with FP8 activations",
        gpus="----nuu",
        why_not="vLLM documents its kernels for compute capability 9.0 on",
        remarks=(
            "llmcompressor 0.14 stores it with a byte for each weight, so the file is as large as an 8-bit one. vLLM "
            "reads this scheme packed: try the artifact in your vLLM before you rely on it.",
        ),
    ),
    "W3A16": Support(
        title="INT3 weights",
        gpus="uuuuuuu",
        processor=Runs.NO,
        on_processor=_NO_WNA16_KERNEL,
        remarks=(_HUMMING,),
        sources=("https://github.com/vllm-project/llm-compressor/issues/3102",),
    ),
    "W2A16": Support(
        title="INT2 weights",
        gpus="uuuuuuu",
        processor=Runs.NO,
        on_processor=_NO_WNA16_KERNEL,
        remarks=(_HUMMING,),
        sources=("https://github.com/vllm-project/llm-compressor/issues/3102",),
    ),
    "NVFP4": Support(title="NVFP4 weights and activations", gpus="wwwwwnn", why_not=_NO_FP4, remarks=(_EXPERTS_ON_12,)),
    "NVFP4A16": Support(title="NVFP4 weights", gpus="nnnnnnn", remarks=(_EXPERTS_ON_12, _BF16_ON_75)),
    "MXFP4": Support(
        title="MXFP4 weights and activations",
        gpus="-wwwwnu",
        why_not=_NO_FP4,
        remarks=("It is documented for 10.0; on 12.0 vLLM was seen to fall back to weight-only (issue 31085).",),
    ),
    "MXFP4A16": Support(
        title="MXFP4 weights", gpus="-nnnnnn", why_not="Turing does not support Marlin's MXFP4 kernels in vLLM"
    ),
    "MXFP8": Support(
        title="MXFP8 weights and activations", gpus="-----nu", why_not="vLLM's kernels for it need Blackwell"
    ),
    "MXFP8A16": Support(title="MXFP8 weights", gpus="uuuuuuu"),
    "KV_FP8": Support(
        title="an FP8 KV cache",
        gpus="uuunnnn",
        why_not=_NO_FP8,
        remarks=(
            "vLLM asks for CUDA 11.8 or newer and names no capability; its own figures are from 8.9 (an L4).",
            "Weights stay in 16 bits.",
        ),
        sources=(KV_CACHE_PAGE,),
        quantized=False,
    ),
    "SPARSE": Support(
        title="zeros in 16-bit weights",
        gpus="wwwwwww",
        why_not="the kernels for 2:4 zeros left vLLM (pull request 36799)",
        processor=Runs.WEIGHT_ONLY,
        on_processor="On processors it runs as any 16-bit model.",
        remarks=("It runs as any 16-bit model: no smaller and no faster.", _BF16_ON_75),
        sources=("https://github.com/vllm-project/vllm/pull/36799",),
        quantized=False,
    ),
    "PRUNED": Support(
        title="fewer experts, blocks or channels in 16 bits",
        gpus="nnnnnnn",
        processor=Runs.NATIVE,
        on_processor="On processors it runs as any 16-bit model.",
        remarks=(_BF16_ON_75,),
        quantized=False,
    ),
    **{f"W{bits}A16_TABLE": _codebook(bits, "tables of each row's own") for bits in (2, 3, 4)},
    **{f"W{bits}A16_BINARY": _codebook(bits, "binary codes of each row's own") for bits in (2, 3, 4)},
    "MIXED": Support(
        title="layers of several schemes",
        gpus="uuuuuuu",
        remarks=("It runs with kernels of its own where each of its schemes does.",),
    ),
}
"""By `Method.scheme`."""

PROCESSOR_SCHEMES = ("W8A8", "W4A16")
"""Compressed schemes that vLLM's processor build served here, the faster first."""


def support(scheme: str, capability: Capability) -> Runs:
    """How vLLM takes the scheme on a GPU of this capability; what no table names is not documented."""
    found = SUPPORT.get(scheme)
    generation = generation_of(capability)
    if generation is None:
        return Runs.NO if capability < (7, 5) and scheme != "BF16" else Runs.UNDOCUMENTED
    return Runs.UNDOCUMENTED if found is None else found.generations[generation]


def generation_of(capability: Capability) -> str | None:
    """The generation in the table, None for what lies below, between or above."""
    return next((name for name, (low, high) in GENERATIONS.items() if low <= capability < high), None)


def on_processor(scheme: str) -> Runs:
    """How vLLM's processor build takes the scheme."""
    found = SUPPORT.get(scheme)
    return Runs.UNDOCUMENTED if found is None else found.processor


def runs_natively(scheme: str, capability: Capability | None) -> tuple[bool, str]:
    """Whether a GPU of this capability runs the scheme with kernels made for it, and a sentence that says so.

    Where the capability or the scheme is not known the answer is False, and the sentence says that it is not known.
    """
    found = SUPPORT.get(scheme)
    if found is None:
        return False, f"It is not known which GPUs run {scheme}."
    if found.loader:
        return False, f"vLLM does not run {found.title}, on any GPU. This application and transformers do."
    if capability is None:
        return False, f"This GPU does not tell its compute capability, so it is not known whether it runs {scheme}."
    here = f"This GPU (compute capability {capability[0]}.{capability[1]})"
    runs = support(scheme, capability)
    if runs is Runs.NATIVE:
        return True, f"{here} runs {found.title} with kernels of its own in vLLM."
    if runs is Runs.WEIGHT_ONLY and not found.quantized:
        return False, f"{here} runs {found.title} as any 16-bit model: {found.why_not}."
    if runs is Runs.WEIGHT_ONLY:
        bits = "8-bit" if "FP8" in found.title else "4-bit"
        return False, (
            f"{here} runs it with {bits} weights only: {found.why_not}, so vLLM saves the memory but computes in 16 "
            "bits."
        )
    if runs is Runs.UNDOCUMENTED:
        return False, f"It is not documented whether {here[0].lower()}{here[1:]} runs {found.title} in vLLM."
    why = found.why_not if generation_of(capability) is not None and found.why_not else "vLLM has no kernels for it"
    return False, f"{here} does not run {found.title}: {why}."


def needs_loader(scheme: str) -> bool:
    """Whether the artifact is in our own format, which transformers opens with a package that lies in it."""
    found = SUPPORT.get(scheme)
    return found is not None and found.loader


def runs_at_all(scheme: str, capability: Capability) -> bool:
    """Whether the artifact is known to run there in vLLM, natively or with 16-bit activations."""
    return support(scheme, capability) in (Runs.NATIVE, Runs.WEIGHT_ONLY)


def minimum_capability(scheme: str) -> Capability | None:
    """Lowest CUDA compute capability with kernels made for the scheme; None where none is documented."""
    found = SUPPORT.get(scheme)
    native = [] if found is None else [name for name, runs in found.generations.items() if runs is Runs.NATIVE]
    return GENERATIONS[native[0]][0] if native else None


def combined(schemes: Sequence[str]) -> Support:
    """Where a model runs whose layers have several schemes: nowhere better than the worst of them."""
    parts = [SUPPORT[scheme] for scheme in schemes if scheme in SUPPORT]
    if len(parts) == 1:
        return parts[0]
    worst = ["".join(column) for column in zip(*(part.gpus for part in parts), strict=True)]
    return replace(
        SUPPORT["MIXED"],
        title=" with ".join(dict.fromkeys(part.title for part in parts)),
        gpus="".join(max(letters, key="nwu-".index) for letters in worst) or SUPPORT["MIXED"].gpus,
        why_not="; ".join(dict.fromkeys(part.why_not for part in parts if part.why_not)),
        processor=max((part.processor for part in parts), key=list(Runs).index, default=Runs.UNDOCUMENTED),
    )


def where_it_runs(scheme: str, machine: Machine | None = None, parts: Sequence[str] = ()) -> tuple[str, ...]:
    """Plain sentences: which engine and hardware run the artifact, and how. With a machine, first what holds here.

    `parts` names the schemes of a mixed one's layers.
    """
    found = combined(parts) if parts else SUPPORT.get(scheme)
    if found is None:
        return (*_here(scheme, machine), f"It is not known where {scheme} runs.")
    return (
        *_here(scheme, machine),
        *_on_gpus(found),
        found.on_processor,
        *found.remarks,
        _in_transformers(found),
    )


def _in_transformers(found: Support) -> str:
    if found.loader:
        return (
            "transformers and this application anywhere. transformers needs the small loader that lies in the artifact "
            "(bitpress_codebook) and does not open it without. Weights are looked up as they are needed, or made "
            "plain once."
        )
    if found.quantized:
        return (
            "transformers and this application anywhere, where the weights are decompressed first: for checking "
            "quality, not for speed."
        )
    return "transformers and this application anywhere, as any 16-bit model."


def _here(scheme: str, machine: Machine | None) -> tuple[str, ...]:
    if machine is None:
        return ()
    if not machine.gpus:
        return ("This machine has no NVIDIA GPU: what is said of GPUs is documented by others and was not tried here.",)
    gpu = machine.gpus[0]
    sentence = runs_natively(scheme, gpu.capability)[1]
    for word in ("This", "this"):
        sentence = sentence.replace(f"{word} GPU", f"{word} machine's {gpu.name}")
    return (sentence,)


def _on_gpus(found: Support) -> tuple[str, ...]:
    names: dict[Runs, list[str]] = {}
    for name, runs in found.generations.items():
        names.setdefault(runs, []).append(name)
    lines = []
    if native := names.get(Runs.NATIVE):
        lines.append(f"vLLM on NVIDIA GPUs of compute capability {_spans(native)}, with kernels for {found.title}.")
    if weights := names.get(Runs.WEIGHT_ONLY):
        if found.quantized:
            lines.append(
                f"vLLM on {_spans(weights)} with the weights alone compressed: it saves memory, activations stay 16 "
                "bits."
            )
        else:
            lines.append(f"vLLM on NVIDIA GPUs of compute capability {_spans(weights)}, as any 16-bit model.")
    if undocumented := names.get(Runs.UNDOCUMENTED):
        lines.append(f"Not documented for vLLM on compute capability {_spans(undocumented)}.")
    if none := names.get(Runs.NO):
        lines.append(f"Not in vLLM on compute capability {_spans(none)}: {found.why_not}.")
    return tuple(lines)


def _spans(names: Sequence[str]) -> str:
    """`7.5 to 8.6 and 10.x`: neighbours joined."""
    order = list(GENERATIONS)
    groups: list[list[str]] = []
    for name in names:
        # 11.x stands between the last two and is in no table.
        if groups and name != "12.x" and order.index(name) == order.index(groups[-1][-1]) + 1:
            groups[-1].append(name)
        else:
            groups.append([name])
    return " and ".join(group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in groups)
