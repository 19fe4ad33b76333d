"""One compression: load, calibrate, run llmcompressor's modifiers, save into a staging folder."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.calibration.builtin import prompts
from core.calibration.kept_answers import Answer, missing_answers, ready_answers, samples_of
from core.calibration.spec import CalibrationFacts, CalibrationSpec
from core.durable import write_whole
from core.errors import BitpressError
from core.jobs.checkpoint import MEASURED, TUNING
from core.jobs.protocol import Compress, Stage
from core.methods.method import ModifierSpec
from core.methods.modifier_modules import TRAINING
from core.value import Json
from core.worker import answers, calibrate, memory_record
from core.worker.awq_without_gpu import awq_without_gpu
from core.worker.changes import before, changes
from core.worker.codebook import fisher_stage
from core.worker.expert_names import stored_names
from core.worker.mixture import Mixture, refuse_overlap
from core.worker.modifiers import build
from core.worker.progress import CompressionProgress, modifier_stage
from core.worker.reporter import Reporter
from core.worker.save_artifact import hash_files, save_artifact
from core.worker.versions import library_versions

if TYPE_CHECKING:
    from core.worker.checkpoints import CheckpointBook
    from core.worker.loading import Loaded
    from core.worker.step_book import StepBook

OFFLOADED = "offloaded"
"""The folder inside the output where weights lie that are not at work; it is gone before the output is used."""
OFFLOADED_SHARD = "1GB"
"""A file of the artifact is held in memory while it is written; where that is short, files are small."""


def run(command: Compress, report: Reporter) -> Json:
    """Compress into `command.output`, a folder that must not exist and that vanishes again unless all went well.

    The result is as the command's docstring says. `tensors_sha256` is over the safetensors files, whole and in the
    order of their names; they hold nothing but tensors and a fixed header, so the same tensors give the same hash.
    Raises BitpressError `output-exists`, `nothing-changed`, `bad-recipe`, `unknown-modifier`, `no-calibration` and what
    loading and calibration raise.
    """
    output = Path(command.output)
    try:
        output.mkdir(parents=True)
    except FileExistsError as error:
        raise BitpressError(
            "output-exists", f"{output} exists already.", "Choose another folder, or move the old one away."
        ) from error
    try:
        result = _run(command, output, report)
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise
    fisher_stage.tidy(output)
    return result


def _run(command: Compress, output: Path, report: Reporter) -> Json:
    if command.stream and (result := _streamed(command, output, report)) is not None:
        return result
    spec, folder = command.calibration, Path(command.answers) if command.answers else None
    answering = spec is not None and lacks_answers(spec, folder, spec.chat_samples)
    report.plan(_stages(command, answering=answering))
    _choose_device(command.device)
    progress = CompressionProgress(report)
    with report.stage("load"):
        report.progress("load", 0, None, "libraries")
        from llmcompressor import oneshot

        from core.worker.loading import load, pick_device

        if command.device.startswith("cuda"):
            # Said now, not by the proof when the work is done. Only the chosen one is seen.
            pick_device("cuda")
        recipe = build(command.modifiers, progress)
        spec = _needed(recipe, spec)
        report.progress("load", 0, None, "weights")
        # On the CPU also where a GPU computes: llmcompressor brings one layer after another to it.
        loaded = load(command.model, "cpu", offload=output / OFFLOADED if command.offload else None)
        report.progress("load", 0, None, "calibration data")
        mixture = Mixture(loaded.tokenizer, spec, report) if spec is not None else None
        chats = mixture.chats_wanted() if mixture is not None else 0
    _seed(command.seed)
    made: tuple[Answer, ...] = ()
    if spec is not None and lacks_answers(spec, folder, chats):
        if not answering:
            report.plan((answers.STAGE,), more=True)
        with report.stage(answers.STAGE.id):
            made = _answer(loaded, folder, chats, spec, report)
    elif spec is not None and chats:
        made = ready_answers(prompts(), folder, chats, spec.seed)
    data, facts, samples = _calibration(mixture, made, spec, command.tokens_file, report)
    fisher_stage.measure(recipe, loaded, samples, facts, cache=command.sensitivities, output=output, report=report)
    with progress.running():
        _seed(command.seed)
        known = before(loaded.model, command.modifiers)
        book = _book(command, recipe, facts, progress, report)
        measuring = _measuring(command, recipe, facts, report)
        with awq_without_gpu(), _kept(book) as kept:
            arguments = {**data, **_targets(command), **kept}
            oneshot(model=loaded.model, processor=loaded.tokenizer, recipe=recipe, **arguments)
        made_of_it = changes(loaded.model, command.modifiers, known)
        made_of_it.demand()
        if command.memory is not None:
            memory_record.write_outputs(loaded, Path(command.memory))
        packed = len(made_of_it.quantized)
        progress.saving("save", packed)
        with report.stage("save"):
            weights, digest = _saved(command, loaded, output, packed, report)
    return {
        "versions": library_versions(*(("torchao",) if _trains(command) else ())),
        "calibration": facts.model_dump(mode="json") if facts else None,
        "bytes": sum(path.stat().st_size for path in weights),
        "tensors_sha256": digest,
        **_peaks(),
        "expected_modules": list(stored_names(loaded.model, made_of_it.quantized)),
        "pruned_modules": list(stored_names(loaded.model, made_of_it.pruned)),
        "dropped_blocks": [number for modifier in recipe for number in getattr(modifier, "dropped", ())],
        "ignored_modules": list(made_of_it.left),
        "training": next((one.outcome for one in recipe if getattr(one, "outcome", None) is not None), None),
        "threads": _threads(),
        **_resumed(book, measuring),
    }


def _saved(
    command: Compress, loaded: Loaded, output: Path, packed: int, report: Reporter
) -> tuple[Sequence[Path], str]:
    """Save the model, of which so many modules are packed: the weight files, and the hash of what is in them."""
    shard = OFFLOADED_SHARD if command.offload else None
    weights = save_artifact(loaded.model, loaded.tokenizer, Path(command.model), output, shard)
    # The weights that lay beside are not needed any more.
    shutil.rmtree(output / OFFLOADED, ignore_errors=True)
    report.progress("save", packed, packed + 1, "hash")
    if command.memory is not None:
        memory_record.write_tensors(loaded.model, Path(command.memory))
    digest = hash_files(weights, report)
    report.progress("save", packed + 1, packed + 1)
    return weights, digest


def _book(
    command: Compress,
    recipe: Sequence[Any],
    facts: CalibrationFacts | None,
    progress: CompressionProgress,
    report: Reporter,
) -> CheckpointBook | None:
    """The job's checkpoints, with what an earlier try left taken up; None where none are wanted or no layer is worked
    on by itself."""
    layered = facts is not None or any(getattr(modifier, "layer_by_layer", False) for modifier in recipe)
    if command.checkpoints is None or not layered or command.offload:
        # With weights on disk a layer's tensors are not where a checkpoint takes them from.
        return None
    from core.worker.checkpoint_fingerprint import fingerprint
    from core.worker.checkpoints import CheckpointBook, Step

    steps = [
        Step(spec.name, spec.title or spec.name, bool(modifier.requires_calibration_data))
        for spec, modifier in zip(command.modifiers, recipe, strict=True)
    ]
    book = CheckpointBook(command.checkpoints, fingerprint(command, facts), steps, report, progress)
    book.take_up()
    return book


def _measuring(
    command: Compress, recipe: Sequence[Any], facts: CalibrationFacts | None, report: Reporter
) -> StepBook | None:
    """What a modifier that measures or trains before any pass keeps of it; None where none does."""
    chosen = next((modifier for modifier in recipe if hasattr(modifier, "keep_in")), None)
    if command.checkpoints is None or facts is None or chosen is None:
        return None
    from core.worker.checkpoint_fingerprint import fingerprint
    from core.worker.step_book import StepBook

    name, what = (TUNING, "The training") if _trains(command) else (MEASURED, "The search")
    book = StepBook(command.checkpoints, name, what, fingerprint(command, facts), report, of="training")
    chosen.keep_in(book)
    return book


def _resumed(book: CheckpointBook | None, measuring: StepBook | None) -> dict[str, Json]:
    """Where it went on, if it did: at a layer, or where it measured."""
    if book is not None and book.resumed is not None:
        return {"resumed": book.resumed}
    return {"resumed": {"at": measuring.at}} if measuring is not None and measuring.at else {}


def _kept(book: CheckpointBook | None) -> AbstractContextManager[dict[str, Any]]:
    """oneshot's arguments for a job with checkpoints; the stock pipeline where there are none."""
    if book is None:
        return nullcontext({})
    from core.worker.checkpointed_pipeline import keeping

    return keeping(book)


def _streamed(command: Compress, output: Path, report: Reporter) -> Json | None:
    """The result of going from file to file, or None where that would not be exact."""
    report.plan(
        (
            Stage(id="load", title="Look inside the model"),
            Stage(id=modifier_stage(0), title=command.modifiers[0].title or command.modifiers[0].name, unit="file"),
            Stage(id="save", title="Check what was written"),
        )
    )
    _choose_device(command.device)
    with report.stage("load"):
        report.progress("load", 0, None, "libraries")
        from core.worker.loading import pick_device
        from core.worker.stream import stream, streamable

        device = pick_device("cuda" if command.device.startswith("cuda") else command.device)
        plan = streamable(Path(command.model), command.modifiers)
    if plan is None:
        return None
    stage = modifier_stage(0)
    with report.stage(stage):
        weights = stream(plan, Path(command.model), output, device=str(device), stage=stage, report=report)
    with report.stage("save"):
        digest = hash_files(weights, report)
    return {
        "versions": library_versions(),
        "calibration": None,
        "bytes": sum(path.stat().st_size for path in weights),
        "tensors_sha256": digest,
        **_peaks(),
        "expected_modules": list(plan.chosen),
        "ignored_modules": list(plan.left),
        "threads": _threads(),
        "streamed": True,
    }


def _peaks() -> dict[str, int]:
    """The largest memory of this process; `peak_bytes` is the device's where one was used, else what was resident."""
    from core.worker.footprint import process_peaks

    peaks = process_peaks()
    return {**peaks, "peak_bytes": peaks["device_peak_bytes"] or peaks["host_peak_bytes"]}


def _stages(command: Compress, *, answering: bool) -> tuple[Stage, ...]:
    return (
        Stage(id="load", title="Load the model"),
        *((answers.STAGE,) if answering else ()),
        *((fisher_stage.STAGE,) if fisher_stage.wanted(command.modifiers) else ()),
        *(
            Stage(id=modifier_stage(index), title=spec.title or spec.name, unit=_unit(spec))
            for index, spec in enumerate(command.modifiers)
        ),
        Stage(id="save", title="Save"),
    )


def _trains(command: Compress) -> bool:
    return any(spec.name == TRAINING for spec in command.modifiers)


def _unit(spec: ModifierSpec) -> str:
    """What the stage of a modifier counts."""
    return "step" if spec.name == TRAINING else "layer"


def _needed(recipe: Sequence[Any], spec: CalibrationSpec | None) -> CalibrationSpec | None:
    """The data that the modifiers ask for: a static activation, a KV cache and the importance observer do as well.

    So does a pass for gradients before them.
    """
    asking = [
        modifier
        for modifier in recipe
        if modifier.requires_calibration_data or getattr(modifier, "requires_gradients", False)
    ]
    if not asking:
        return None
    if spec is None:
        names = ", ".join(type(modifier).__name__ for modifier in asking)
        raise BitpressError(
            "no-calibration",
            f"{names} needs calibration data, and the recipe names none.",
            "Choose calibration data: the built-in chat needs no files.",
        )
    return spec


def _choose_device(device: str) -> None:
    """Let llmcompressor see the chosen device only: it takes the first that there is and cannot be told."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device.startswith("cuda:"):
        index = int(device.removeprefix("cuda:"))
        seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        os.environ["CUDA_VISIBLE_DEVICES"] = seen[index] if index < len(seen) else str(index)


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def lacks_answers(spec: CalibrationSpec, folder: Path | None, chats: int) -> bool:
    """Whether the model must answer prompts before it has made so many chats."""
    return chats > 0 and missing_answers(prompts(), folder, chats, spec.seed) > 0


def _answer(
    loaded: Loaded, folder: Path | None, chats: int, spec: CalibrationSpec, report: Reporter
) -> tuple[Answer, ...]:
    """Answer on the GPU where the model fits with room for the caches, then bring it back."""
    import torch

    model = loaded.model
    there = torch.cuda.is_available() and _bytes(model) * 1.5 < torch.cuda.mem_get_info()[0]
    if there:
        model.to("cuda")
    try:
        return answers.answer(loaded, prompts(), folder, samples=chats, seed=spec.seed, report=report)
    finally:
        if there:
            model.to("cpu")
            torch.cuda.empty_cache()


def _calibration(
    mixture: Mixture | None,
    made: Sequence[Answer],
    spec: CalibrationSpec | None,
    tokens_file: str | None,
    report: Reporter,
) -> tuple[dict[str, Any], CalibrationFacts | None, tuple[tuple[int, ...], ...]]:
    """oneshot's arguments for the data, what the data is, and its token ids; nothing for methods that need none."""
    if spec is None or mixture is None:
        return {}, None, ()
    drawn = mixture.draw(samples_of(made))
    refuse_overlap(drawn, report)
    facts = drawn.facts()
    if tokens_file is not None:
        write_whole(Path(tokens_file), json.dumps({"input_ids": [sample.ids for sample in drawn.chosen]}).encode())
    samples = tuple(sample.ids for sample in drawn.chosen)
    return (
        {
            "dataset": calibrate.dataset(drawn.chosen),
            "num_calibration_samples": facts.samples,
            "max_seq_length": spec.max_length,
            "shuffle_calibration_samples": False,
        },
        facts,
        samples,
    )


def _targets(command: Compress) -> dict[str, Any]:
    return {"sequential_targets": list(command.sequential_targets)} if command.sequential_targets else {}


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _bytes(model: Any) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
