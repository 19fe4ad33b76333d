"""A cut of a model: the fewest decoder layers that hold every kind, with embeddings and head, as a model of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Hashable, Sequence
from pathlib import Path

from core.calibration.builtin import prompts
from core.calibration.kept_answers import FILE, MAX_TOKENS, Answer, in_order, kept_answers
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.protocol import CutModel, Stage
from core.models.local_files import inside, read_json
from core.models.safetensors_header import merged, read_headers
from core.value import Json
from core.worker.answers import takes
from core.worker.carry_code import carry_code
from core.worker.cut_config import cut_config
from core.worker.cut_layers import (
    decoder_list,
    first_of_each,
    of_few_blocks,
    renumbered,
    structures,
    treatments,
    with_spare_blocks,
)
from core.worker.cut_weights import kept_tensors, layer_prefix, write_weights
from core.worker.reporter import Reporter
from core.worker.survey import on_meta, plain_config

STAGE = Stage(id="cut", title="Cut out a layer")
WHOLE_BYTES = 1 << 30
"""A model whose structure is not understood is rehearsed whole where its weights are no larger than this."""

_COPIED = (".json", ".jinja", ".model", ".txt", ".tiktoken")
_LARGEST_COPY = 256_000_000
_NOT_COPIED = ("config.json", "model.safetensors.index.json")


def run(command: CutModel, report: Reporter) -> Json:
    """Write the cut into `command.output`; the result is as the command's docstring says.

    Raises BitpressError `cannot-cut` for a large model of unknown structure, and what reading it raises.
    """
    report.plan((STAGE,))
    with report.stage(STAGE.id):
        report.progress(STAGE.id, 0, None, "libraries")
        source, output = Path(command.model), Path(command.output)
        output.mkdir(parents=True)
        result = _cut(source, output, command, report)
        _copy_small_files(source, output)
        carry_code(source, output)
        kept = _write_answers(output, command)
    return {**result, "answers": kept}


def _cut(source: Path, output: Path, command: CutModel, report: Reporter) -> dict[str, Json]:
    raw = read_json(source, "config.json", "no-config") or {}
    tensors = merged(read_headers(source))
    model = on_meta(plain_config(source), source)
    report.check()

    def progress(done: int, total: int) -> None:
        report.progress(STAGE.id, done / 1e6, total / 1e6, "copying tensors")

    found = decoder_list(model)
    try:
        if found is None:
            raise _cannot(source, "it has no list of layers")
        name, layers = found
        kinds = structures(layers)
        prefix = layer_prefix(tensors, name, len(layers), set(layers[0].state_dict()))
        treated = treatments(command.modifiers, name, layers)
        wanted = with_spare_blocks(first_of_each(zip(kinds, treated, strict=True)), len(layers), command.modifiers)
        kept = _written_config(source, output, raw, kinds=kinds, wanted=wanted)
        chosen = kept_tensors(tensors, prefix, kept)
        modifiers = of_few_blocks(renumbered(command.modifiers, name, layers, kept))
        count = len(layers)
    except BitpressError as error:
        if error.problem.code != "cannot-cut" or sum(entry.bytes for entry in tensors.values()) > WHOLE_BYTES:
            raise
        report.warn("rehearsed-whole", f"{error.problem.message} The whole model is rehearsed instead.")
        (output / "config.json").write_text(json.dumps(raw), encoding="utf-8")
        count = len(found[1]) if found else 0
        chosen, kept, modifiers = dict(tensors), tuple(range(count)), command.modifiers
    return {
        "layers": list(kept),
        "of": count,
        "bytes": write_weights(chosen, output, progress),
        "original_bytes": sum(entry.bytes for entry in tensors.values()),
        "modifiers": [spec.model_dump(mode="json") for spec in modifiers],
    }


def _written_config(
    source: Path, output: Path, raw: dict[str, Json], *, kinds: Sequence[Hashable], wanted: Sequence[int]
) -> tuple[int, ...]:
    """Write config.json for the wanted layers, or for all layers up to the last of them where rules go by number.

    Each layer of the model that is built from it must be what the layer is that it stands for. Gives the kept layers.
    """
    config = plain_config(source)
    reason = ""
    for kept in dict.fromkeys((tuple(wanted), tuple(range(max(wanted) + 1)))):
        text = json.dumps(cut_config(raw, config, len(kinds), kept), indent=1)
        (output / "config.json").write_text(text, encoding="utf-8")
        try:
            built = decoder_list(on_meta(plain_config(output), output))
        except BitpressError as error:
            reason = error.problem.message
            continue
        if built is not None and structures(built[1]) == [kinds[number] for number in kept]:
            return kept
        reason = "fewer layers of it are built in another way"
    raise _cannot(source, reason)


def _cannot(source: Path, reason: str) -> BitpressError:
    return BitpressError(
        "cannot-cut",
        f"No single layer can be cut out of {source.name}: {reason.rstrip('.')}.",
        "The model cannot be rehearsed in part; the job itself may still run.",
    )


def _copy_small_files(source: Path, output: Path) -> None:
    """Tokenizer, chat template and generation config: everything small that is neither weights nor code."""
    for path in sorted(source.iterdir()):
        if path.suffix in _COPIED and path.name not in _NOT_COPIED and path.is_file():
            place = inside(source, path.name)
            if place.stat().st_size <= _LARGEST_COPY:
                shutil.copyfile(place, output / path.name)


def _write_answers(output: Path, command: CutModel) -> str | None:
    """A folder of answers for the rehearsal's own calibration, so that a model of one layer need not make any.

    The model's kept answers where there are some; a prompt without one is answered with its own words.
    """
    spec = command.calibration
    if spec is None or not spec.has_self_chat:
        return None
    folder = output / "answers"
    folder.mkdir()
    kept = kept_answers(Path(command.answers) if command.answers else None, spec.seed)
    with (folder / FILE).open("w", encoding="utf-8") as file:
        for stand_in in _stand_ins(output, spec, kept):
            file.write(stand_in.model_dump_json() + "\n")
    return str(folder)


def _stand_ins(output: Path, spec: CalibrationSpec, kept: dict[str, Answer]) -> list[Answer]:
    from core.worker.tokenizer_files import load_tokenizer

    tokenizer = load_tokenizer(output)
    made: list[Answer] = []
    for prompt in in_order(prompts(), spec.seed):
        if sum(answer.usable for answer in made) == spec.samples:
            break
        known = kept.get(prompt.id)
        if known is not None and known.messages == tuple(prompt.messages):
            made.append(known)
            continue
        # A blank answer makes the next prompt take the place of one that the chat template refuses.
        text = prompt.messages[-1]["content"] if takes(tokenizer, prompt) else ""
        made.append(
            Answer(
                id=prompt.id,
                messages=prompt.messages,
                answer=text,
                tokens=0,
                finished=True,
                seed=spec.seed,
                max_tokens=MAX_TOKENS,
            )
        )
    return made
