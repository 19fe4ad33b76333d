"""A model card: Markdown, with a front matter that the Hugging Face hub reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.models.quantized import CODEBOOK
from core.report import card_evaluation
from core.report.card_text import text as _text
from core.report.chapters.recovery import recovery_line, training_line
from core.report.data import ReportData, RunReport
from core.report.reproduce_script import script_title
from core.report.summary import NOT_SERVING
from core.report.wording import (
    counted,
    interval,
    milliseconds,
    nats,
    percent,
    rate,
    seconds,
    share_interval,
    significant,
    size,
    visible,
    whole,
)

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def card(data: ReportData) -> str:
    """The card. Foreign text is escaped, so that it shows as it is and cannot become a link, an image or HTML."""
    lines = [_front_matter(data), "", f"# {_text(data.title)}", ""]
    lines += [f"**{_text(data.verdict.headline)}**", ""]
    lines += [f"- {_text(sentence)}" for sentence in data.verdict.sentences]
    lines += ["", f"Made by Bitpress with llmcompressor from {_text(data.original.name)}.", ""]
    for run in data.runs:
        lines += _run(data, run)
    for warning in data.warnings:
        lines += [f"> {_text(warning)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _front_matter(data: ReportData) -> str:
    """YAML by a YAML writer: quoted where it must be, ASCII, and only keys that the hub knows."""
    import yaml

    kept: dict[str, object] = {"library_name": "transformers"}
    licence = data.original.model.licence if data.original.model else ""
    if LICENCE.fullmatch(licence):
        kept["license"] = licence
    if HUB_NAME.fullmatch(data.original.name):
        kept["base_model"] = data.original.name
        kept["base_model_relation"] = "quantized"
    kept["tags"] = ["llmcompressor", *_formats(data), *dict.fromkeys(run.method.id for run in data.runs)]
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=False)}---"


_OPEN = """\
# First, in this folder: pip install ./loader
import bitpress_codebook  # transformers now knows the format
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("path/of/this/folder", dtype="auto")
"""


def _ours(run: RunReport) -> bool:
    """Whether the artifact is in our own format, which needs the loader that lies beside it."""
    model = run.compressed.model
    return model is not None and (model.quantization or "").startswith(CODEBOOK)


def _formats(data: ReportData) -> list[str]:
    """The formats of the artifacts as the hub's tags name them."""
    return list(dict.fromkeys(CODEBOOK if _ours(run) else "compressed-tensors" for run in data.runs))


def _run(data: ReportData, run: RunReport) -> Iterator[str]:
    yield f"## {_text(run.label)}"
    yield ""
    yield "| Figure | Original | Compressed |"
    yield "| :-- | --: | --: |"
    for title, before, after in _rows(data, run):
        yield f"| {title} | {before} | {after} |"
    yield ""
    yield "### Evaluation"
    yield ""
    if run.quality is None:
        yield "Quality was not measured."
    else:
        quality = run.quality
        yield from card_evaluation.rows(run, quality)
        yield (
            f"Quality over {whole(quality.tokens)} held-out tokens in {whole(quality.documents)} documents, "
            f"{_text(quality.conditions.engine)} on {_text(quality.conditions.device)}. Intervals are 95 %."
        )
    yield ""
    if run.speed is None:
        yield "Speed was not measured."
    elif run.speed.compressed.conditions.engine == "transformers":
        yield f"Speed in transformers on {_text(run.speed.compressed.conditions.device)}. {NOT_SERVING}"
    yield ""
    yield from _making(run)
    for label, language, text in (
        ("Open it", "python", _OPEN if _ours(run) else ""),
        ("Serve it", "sh", run.serve_command),
        ("Make it again", "sh", run.command_line),
        (script_title(run.python_script), "python", run.python_script),
    ):
        if text:
            yield f"### {label}"
            yield ""
            yield _fenced(text, language)
            yield ""


def _rows(data: ReportData, run: RunReport) -> Iterator[tuple[str, str, str]]:
    if run.bytes:
        yield "Size on disk", size(data.original.bytes) if data.original.bytes else "unknown", size(run.bytes)
    if run.quality:
        fidelity = run.quality.fidelity
        spread = fidelity.kl_interval
        yield "Mean KL divergence, nats per token", "–", f"{nats(spread.value)} ({interval(spread)})"
        same = fidelity.same_top1
        yield "Same most likely token", "–", f"{percent(same.value)} ({share_interval(same)})"
        yield "Perplexity", significant(run.quality.original_perplexity, 4), significant(fidelity.perplexity, 4)
    if run.speed:
        for case in run.speed.compressed.cases:
            original = run.speed.original
            beside = next((c for c in original.cases if c.batch == case.batch), None) if original else None
            said = "not measured" if beside is None else rate(beside.tokens_per_second.value)
            yield f"Tokens per second, batch {case.batch}", said, rate(case.tokens_per_second.value)
            said = "not measured" if beside is None else milliseconds(beside.ttft_ms.value)
            yield f"Time to first token, batch {case.batch}", said, milliseconds(case.ttft_ms.value)


def _making(run: RunReport) -> Iterator[str]:
    yield "### How it was made"
    yield ""
    for setting in run.method.settings:
        yield f"- {_text(setting.title)}: {_text(str(setting.value))} {_text(setting.unit)}".rstrip()
    for sentence in run.own_code:
        yield f"- {_text(sentence)} The same files are in this folder: transformers asks before it runs them."
    if run.trained is not None:
        yield f"- {training_line(run.trained)}"
    if run.recovered is not None:
        yield f"- {recovery_line(run.recovered)}"
    if run.calibration:
        facts = run.calibration
        yield (
            f"- Calibration: {_text(facts.source)}, {counted(facts.samples, 'sample')}, {whole(facts.tokens)} tokens, "
            f"SHA-256 of the token ids `{re.sub('[^0-9a-f]', '', facts.sha256)}`"
        )
    for name, version in sorted(run.versions.items()):
        yield f"- {_text(name)} {_text(version)}"
    if run.proof:
        said = "passed" if run.proof.passed else "FAILED"
        checks = counted(len(run.proof.checks), "check")
        yield f"- Proof in a fresh process: {said}, {checks}, {seconds(run.proof.seconds)}"
    for digest in run.hashes:
        yield f"- SHA-256 of {_text(digest.name)}: `{re.sub('[^0-9a-f]', '', digest.sha256)}`"
    yield ""


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    shown = visible(text).rstrip("\n")
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{shown}\n{fence}"
