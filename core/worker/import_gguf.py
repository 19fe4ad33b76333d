"""Turns a GGUF file into a bf16 safetensors folder that plain transformers loads, and proves that it is the model."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from core.errors import BitpressError
from core.jobs.protocol import ImportGguf, Stage
from core.models.gguf_file import GgufFacts, inspect_gguf, read_gguf
from core.models.inspect import inspect
from core.system_errors import missing_words
from core.value import Json
from core.worker.gguf_config import scaled_positions, unread_settings
from core.worker.reporter import Reporter
from core.worker.special_tokens import disagreements, reconcile, special_ids
from core.worker.template_limits import TemplateFaultError, apply_template

STAGES = (
    Stage(id="read", title="Read the file", unit="byte"),
    Stage(id="convert", title="Unpack the weights", unit="tensor"),
    Stage(id="save", title="Save as safetensors"),
    Stage(id="check", title="Check on plain English", unit="check"),
)

PERPLEXITY_BOUND = 60.0
"""On the check text. The starter model has 14 there; a wrong tokenizer or permuted weights give thousands."""

VOCABULARY_SHARE = 0.01
"""A model that only guesses has a perplexity near its vocabulary's size: the bound is at most this share of it."""

CHECK_TOKENS = 512
QUESTION = "What is the capital of France?"
ANSWER_TOKENS = 48
SPARE_BYTES = 64_000_000


def run(command: ImportGguf, report: Reporter) -> Json:
    """Import `command.source` into `command.output`.

    The result has `perplexity`, `tokens` (scored), `answer`, `bytes`, `parameters` and `source_sha256`. Raises
    BitpressError: `output-exists`, `disk-full`, `gguf-type`, `unknown-architecture`, `cannot-import`,
    `incomplete-gguf`, `no-end-token`, `rope-scaling`, `import-not-sane`. Whatever goes wrong, nothing is left in the
    output folder.
    """
    source, output = Path(command.source), Path(command.output)
    if output.exists():
        raise BitpressError("output-exists", f"{output} exists already.", "Choose another name or remove it first.")
    report.plan(STAGES)
    try:
        with report.stage("read"):
            facts = _read(source, output)
            sha256 = _hash(source, report)
        _convert(facts, output, report, sha256)
        with report.stage("check"):
            checked = _check(output, report)
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise
    model = inspect(output)
    return {**checked, "bytes": model.bytes, "parameters": model.parameters, "source_sha256": sha256}


def _read(source: Path, output: Path) -> GgufFacts:
    model = inspect_gguf(source)
    blocking = next((remark for remark in model.remarks if remark.level == "blocks"), None)
    if blocking is not None:
        hint = (
            "Look for the same model in another quantization type, or for its safetensors version."
            if blocking.code == "gguf-type"
            else "Choose a GGUF file that holds a whole language model."
        )
        raise BitpressError(blocking.code, blocking.message, hint)
    needed = (model.parameters or 0) * 2 + SPARE_BYTES
    if lack := missing_words(output.absolute().parent, needed):
        raise BitpressError(
            "disk-full",
            f"There is no room for the imported model at {output.parent}.{lack}",
            "Free some space or choose another folder.",
        )
    return read_gguf(source)


def _hash(source: Path, report: Reporter) -> str:
    digest = hashlib.sha256()
    total = source.stat().st_size
    with source.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
            report.progress("read", file.tell(), total)
    return digest.hexdigest()


def _convert(facts: GgufFacts, output: Path, report: Reporter, sha256: str) -> None:
    with report.stage("convert"), tempfile.TemporaryDirectory(prefix="bitpress-import-") as lonely:
        # transformers also reads files that lie beside the GGUF file (added tokens, templates, code): give it a folder
        # where there are none.
        Path(lonely, "model.gguf").symlink_to(facts.path.absolute())
        report.progress("convert", 0, None, "reading the vocabulary")
        with _reported_tensors(report):
            model, tokenizer = _loaded(lonely, facts)
        reconcile(model, tokenizer, special_ids(facts, tokenizer), facts)
        _scale_positions(model, facts)
    with report.stage("save"):
        report.check()
        output.mkdir(parents=True)
        model.save_pretrained(output)
        tokenizer.save_pretrained(output)
        (output / "README.md").write_text(_card(facts, sha256), encoding="utf-8")
        for path in output.iterdir():
            path.chmod(0o644)  # safetensors makes files that only their owner may read


def _loaded(folder: str, facts: GgufFacts) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    places: dict[str, Any] = {"gguf_file": "model.gguf", "local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **places)
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.bfloat16,
            # Plain weights in the end, without a trace of the quantization in config or model.
            quantization_config=GgufConfig(dequantize=True),
            **unread_settings(facts),
            output_loading_info=True,
            **places,
        )
    except (ValueError, KeyError, NotImplementedError, OSError, RuntimeError, AttributeError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = facts.text("general.architecture")
        unknown = "not supported" in first or isinstance(error, KeyError)
        raise BitpressError(
            "unknown-architecture" if unknown else "cannot-import",
            f"transformers cannot read this GGUF file (architecture {kind}): {first}",
            "Look for the safetensors version of this model, which needs no import.",
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise BitpressError(
            "incomplete-gguf",
            f"{len(missing)} weights of the model are not in {facts.path}, {missing[0]} for one.",
            "The file may belong to another version of this architecture: look for the safetensors version.",
        )
    return model, tokenizer


def _scale_positions(model: Any, facts: GgufFacts) -> None:
    """Only the config is changed: the model is loaded anew from what is saved."""
    known = getattr(model.config, "rope_parameters", None) or {}
    scaled = scaled_positions(facts, float(known.get("rope_theta", 10000.0)))
    if scaled is None:
        return
    if "rope_theta" not in known:
        raise BitpressError(
            "rope-scaling",
            f"{facts.path} scales positions, and {type(model).__name__} has several kinds of them.",
            "Look for the safetensors version of this model.",
        )
    model.config.rope_parameters = {**known, **scaled}


@contextmanager
def _reported_tensors(report: Reporter) -> Iterator[None]:
    """Report each unpacked tensor: transformers shows them on a progress bar only, which is replaced meanwhile."""
    from transformers import modeling_gguf_pytorch_utils as reader

    def counted(tensors: Sequence[Any], **_: object) -> Iterator[Any]:
        for done, tensor in enumerate(tensors):
            report.progress("convert", done, len(tensors))
            yield tensor
        report.progress("convert", len(tensors), len(tensors))

    bar = getattr(reader, "tqdm", None)
    if bar is None:
        yield
        return
    reader.tqdm = counted
    try:
        yield
    finally:
        reader.tqdm = bar


def _check(output: Path, report: Reporter) -> dict[str, Json]:
    """Load what was saved like any other model, read English with it, and ask it something."""
    import torch

    from core.worker.loading import load

    loaded = load(str(output), "cpu")
    model, tokenizer = loaded.model, loaded.tokenizer
    report.progress("check", 1, 3, "loaded")
    if contradictions := disagreements(model, tokenizer):
        raise _insane(f"its parts disagree about special tokens ({'; '.join(contradictions)})")
    text = resources.files("resources").joinpath("texts/import-check.txt").read_text(encoding="utf-8")
    length = min(CHECK_TOKENS, tokenizer.model_max_length)
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=length).input_ids
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0, :-1].float()
        if not bool(torch.isfinite(logits).all()):
            raise _insane("it computes NaN or infinity on plain English")
        loss = float(torch.nn.functional.cross_entropy(logits, ids[0, 1:]))
    perplexity = math.exp(min(loss, 100.0))
    bound = min(PERPLEXITY_BOUND, VOCABULARY_SHARE * logits.shape[-1])
    report.metric("perplexity", perplexity)
    if perplexity > bound:
        raise _insane(f"its perplexity on plain English is {perplexity:,.0f}, and no sane model has over {bound:,.0f}")
    report.progress("check", 2, 3, f"perplexity {perplexity:.1f}")
    answer = _answer(model, tokenizer)
    if not answer:
        raise _insane(f"it has no answer to {QUESTION!r}")
    report.progress("check", 3, 3)
    return {"perplexity": perplexity, "tokens": int(ids.shape[1]) - 1, "answer": answer}


def _answer(model: Any, tokenizer: Any) -> str:
    import torch

    if tokenizer.chat_template:
        asked = [{"role": "user", "content": QUESTION}]
        try:
            inputs = apply_template(tokenizer, asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        except TemplateFaultError as error:
            raise _insane(f"its chat template does not take a question ({error})") from error
    else:
        inputs = tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        produced = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=torch.ones_like(inputs["input_ids"]),
            max_new_tokens=ANSWER_TOKENS,
            do_sample=False,
        )
    return str(tokenizer.decode(produced[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


def _insane(reason: str) -> BitpressError:
    return BitpressError(
        "import-not-sane",
        f"The imported model is not sound: {reason}. Nothing of it was kept.",
        "transformers reads this GGUF file wrongly, or the file is damaged. Look for the safetensors version.",
    )


def _card(facts: GgufFacts, sha256: str) -> str:
    """A model card that keeps the licence and says where the weights come from."""
    licence = facts.text("general.license")
    front = f"---\nlicense: {licence}\n---\n\n" if re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,60}", licence) else ""
    name = re.sub(r"[^\w.+-]", "_", facts.path.name)
    return f"{front}Weights unpacked to bf16 safetensors from `{name}` (SHA-256 {sha256}).\n"
