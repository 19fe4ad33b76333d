"""What calibration would feed the model: the first samples as text and tokens, without loading the model."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from core.calibration.builtin import prompts
from core.calibration.spec import SELF_CHAT, CalibrationSpec
from core.errors import BitpressError
from core.jobs.protocol import PreviewCalibration, Stage
from core.value import Json
from core.worker import answers
from core.worker.calibrate import Rendered, render, render_unanswered
from core.worker.reporter import Reporter

NOT_ANSWERED = "The model answers this prompt when the job starts; the answer becomes part of the sample."


def run(command: PreviewCalibration, report: Reporter) -> Json:
    """The result has `samples`: [{text, tokens: [{id, text}], truncated, origin, note}].

    Raises BitpressError `no-tokenizer`, `calibration-empty`, and what reading the data raises.
    """
    report.plan((Stage(id="preview", title="Render the first samples"),))
    with report.stage("preview"):
        tokenizer = _tokenizer(command.model)
        spec = command.calibration
        if spec.source == SELF_CHAT:
            shown = _self_chat(tokenizer, spec, Path(command.answers) if command.answers else None, command.limit)
        else:
            from core.calibration.read import first_samples

            rendered = (item for sample in first_samples(spec) for item in render(tokenizer, sample, spec))
            shown = [(item, "") for item in islice(rendered, command.limit)]
        if not shown:
            raise BitpressError(
                "calibration-empty",
                "There is no text in the calibration data.",
                "Choose a file that holds text or chats, or the built-in chat.",
            )
        return {"samples": [_shown(tokenizer, item, note) for item, note in shown]}


def _self_chat(tokenizer: Any, spec: CalibrationSpec, folder: Path | None, limit: int) -> list[tuple[Rendered, str]]:
    """The job's first samples in the job's order, with the answer where there is one already."""
    kept = answers.kept_answers(folder, spec.seed, answers.MAX_TOKENS)
    shown: list[tuple[Rendered, str]] = []
    for prompt in answers.in_order(prompts(), spec.seed):
        if len(shown) == limit:
            break
        answer = kept.get(prompt.id)
        if answer is not None and not answer.usable:
            continue
        try:
            if answer is not None:
                sample = answers.samples_of([answer])[0]
                shown += [(item, "") for item in render(tokenizer, sample, spec)]
            else:
                unanswered = render_unanswered(tokenizer, prompt.messages, prompt.id, spec)
                shown += [(item, NOT_ANSWERED) for item in unanswered]
        except BitpressError:
            continue
    return shown


def _shown(tokenizer: Any, item: Rendered, note: str) -> dict[str, Json]:
    return {
        "text": item.text,
        "tokens": [{"id": token, "text": tokenizer.decode([token])} for token in item.ids],
        "truncated": item.truncated,
        "origin": item.origin,
        "note": note,
    }


def _tokenizer(model: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BitpressError(
            "no-tokenizer",
            f"transformers finds no tokenizer in {model}: {str(error).splitlines()[0] if str(error) else error!r}",
            "Choose a model folder that holds its tokenizer files.",
        ) from error
