"""A local model in words: what its row, its tags and its details say. No Qt."""

from __future__ import annotations

from pathlib import Path

from core.models.local_model import LocalModel, Origin, Remark, Weights
from ui.humanize import UNKNOWN, bytes_text, count_text, number_text
from ui.tone import Tone

NOT_FETCHED = "not-fetched"


def architecture_text(model: LocalModel) -> str:
    """`LlamaForCausalLM` is Llama to a person."""
    for ending in ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel"):
        if model.architecture.endswith(ending) and model.architecture != ending:
            return model.architecture.removesuffix(ending)
    return model.architecture or model.model_type or UNKNOWN


def from_text(model: LocalModel) -> str:
    """Where a model comes from, short enough for a column."""
    match model.origin:
        case Origin.STARTER:
            return "package"
        case Origin.HUB_CACHE:
            return "Hugging Face cache"
        case Origin.ARTIFACT:
            return f"run {model.made_by_run}" if model.made_by_run is not None else "made here"
        case Origin.FOLDER:
            return short_path(model.path.parent)


def short_path(path: Path) -> str:
    """The path with the home folder as `~`."""
    home = Path.home()
    return str(Path("~") / path.relative_to(home)) if path.is_relative_to(home) else str(path)


def name_tags(model: LocalModel) -> tuple[tuple[str, Tone], ...]:
    """Tags beside the name."""
    tags: list[tuple[str, Tone]] = []
    if model.origin is Origin.STARTER:
        tags.append(("starter", Tone.NEUTRAL))
    if is_unfetched(model):
        tags.append(("not fetched", Tone.ACCENT))
    if model.weights is Weights.PICKLE:
        tags.append(("pickle", Tone.ATTENTION))
    if model.remote_code:
        tags.append(("own code runs" if model.consented else "own code", Tone.ATTENTION))
    if not model.usable and model.weights is not Weights.PICKLE and not model.remote_code:
        tags.append(("cannot be used", Tone.FAILED))
    return tuple(tags)


def brings_code(model: LocalModel) -> bool:
    """Whether Python code came with it, needed or not."""
    return any(remark.code in ("remote-code", "own-code", "own-code-unused") for remark in model.remarks)


def precision_tags(model: LocalModel) -> tuple[tuple[str, Tone], ...]:
    """Tags beside the precision."""
    if model.proved is True:
        return (("proved", Tone.DONE),)
    if model.proved is False:
        return (("failed proof", Tone.FAILED),)
    if model.origin is Origin.ARTIFACT:
        return (("unproved", Tone.ATTENTION),)
    if model.quantization:
        return (("quantized", Tone.NEUTRAL),)
    return ()


def remark_tag(remark: Remark) -> tuple[str, Tone]:
    """The word and tone before a remark's sentence."""
    return {
        "blocks": ("blocks", Tone.FAILED),
        "warns": ("look", Tone.ATTENTION),
    }.get(remark.level, ("note", Tone.NEUTRAL))


def is_unfetched(model: LocalModel) -> bool:
    """Whether this is the starter model before it was fetched."""
    return any(remark.code == NOT_FETCHED for remark in model.remarks)


def why_not_compress(model: LocalModel) -> str:
    """Why a model cannot be compressed as it stands, in a sentence, or empty."""
    if is_unfetched(model):
        return "It has to be fetched first."
    if not model.usable:
        return next(remark.message for remark in model.remarks if remark.level == "blocks")
    if model.weights is Weights.GGUF:
        return "A GGUF file has to be imported first."
    if model.weights is not Weights.SAFETENSORS:
        return "Its weights are not safetensors."
    if model.quantization or model.origin is Origin.ARTIFACT:
        return "It is compressed already."
    return ""


def can_export(model: LocalModel) -> bool:
    """Whether it holds something that can be put into another form; which one is said by the dialog."""
    return model.quantization is not None and model.weights is Weights.SAFETENSORS and model.usable


def facts(model: LocalModel) -> tuple[tuple[str, str], ...]:
    """What is inside, for the details; what is not known is left out."""
    rows = (
        ("Architecture", architecture_text(model)),
        ("Parameters", None if model.parameters is None else number_text(model.parameters)),
        ("Size", bytes_text(model.bytes)),
        ("Layers", _number(model.layers)),
        ("Hidden / intermediate", _pair(model.hidden_size, model.intermediate_size)),
        ("Heads / KV heads", _pair(model.heads, model.kv_heads)),
        ("Context", None if model.context_length is None else f"{number_text(model.context_length)} tokens"),
        ("Vocabulary", _number(model.vocabulary)),
        ("Embeddings", {True: "tied", False: "not tied", None: None}[model.tied_embeddings]),
        ("Tokenizer", "yes" if model.tokenizer else "no"),
        ("Chat template", "yes" if model.chat_template else "no"),
        ("Quantization", model.quantization),
        ("Licence", model.licence or None),
    )
    return tuple((label, value) for label, value in rows if value is not None)


def tensor_facts(model: LocalModel) -> tuple[tuple[str, str], ...]:
    """One row for each dtype: how many tensors, parameters and bytes."""
    return tuple(
        (
            group.dtype,
            f"{number_text(group.tensors)} tensors · {count_text(group.elements)} · {bytes_text(group.bytes)}",
        )
        for group in model.dtypes
    )


def storage_text(model: LocalModel) -> str:
    """Path, and how the weights lie there."""
    parts = [short_path(model.path)]
    if model.weights is not Weights.NONE:
        files = f"{model.shards} shards, " if model.shards > 1 else ""
        parts.append(f"{files}{model.weights.value}")
    return " · ".join(parts)


def _number(value: int | None) -> str | None:
    return None if value is None else number_text(value)


def _pair(first: int | None, second: int | None) -> str | None:
    return None if first is None and second is None else f"{number_text(first)} / {number_text(second)}"
