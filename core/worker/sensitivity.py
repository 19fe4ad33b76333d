"""How far a model moves when one part of it alone is compressed: every part, every scheme, on the same tokens."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.calibration.builtin import prompts
from core.calibration.kept_answers import ready_answers, samples_of
from core.errors import BitpressError
from core.jobs.protocol import MeasureSensitivity, Stage
from core.measure.parts import parts_of, sizes_of
from core.measure.passages import Row, batches, digest, even_shares
from core.measure.sensitivity_values import Part, Sensitivity, SensitivityResult
from core.measure.statistics import Floats, mean_estimate, resampled
from core.methods.scheme import Scheme
from core.models.survey_store import weights_identity
from core.value import Estimate, Json
from core.worker import answers, loading
from core.worker.calibrate import Rendered, chat_ids, render_chat
from core.worker.compress import lacks_answers
from core.worker.decoding import takes_logits_to_keep, warm_up
from core.worker.keeper import Keeper, name_of, surroundings
from core.worker.layer_inputs import LayerInputs
from core.worker.loading import Loaded
from core.worker.mixture import Mixture, refuse_overlap
from core.worker.one_part import compressed
from core.worker.pieces import Pieces
from core.worker.reporter import Reporter
from core.worker.survey import survey

LOAD = Stage(id="load", title="Load the model")
REFERENCE = Stage(id="reference", title="Run the original", unit="batch")
MEASURE = Stage(id="measure", title="Compress part by part", unit="part and scheme")

FORM = 3
"""Of kept cells; raised when what a cell means changes."""

BATCH_TOKENS = 2048
"""Tokens of one forward pass, padding included: enough to fill a GPU, and few enough for a CPU's memory."""

KEPT_BYTES = 2**31
"""Most memory for the layers' inputs; beyond it every pass goes through all layers."""

LOGITS_BYTES = 2**31
"""Most memory for the original's logits; beyond it fewer tokens are scored."""

CPU_ROWS, CUDA_ROWS = 8, 512
"""Positions whose float32 probabilities are worked on at a time."""

METRIC = "sensitivity"


def run(command: MeasureSensitivity, report: Reporter) -> Json:
    """The SensitivityResult as JSON, without an assignment.

    Raises BitpressError `nothing-to-compress` where no layer can take any of the schemes, `nothing-to-score`,
    `not-a-number`, and what surveying, reading the text and loading raise.
    """
    began = time.perf_counter()
    seen = survey(Path(command.model))
    parts = parts_of(seen, command.ignore)
    sizes = sizes_of(parts, seen, command.schemes)
    folder = Path(command.answers) if command.answers else None
    chats = command.calibration.chat_samples
    answering = lacks_answers(command.calibration, folder, chats)
    report.plan((LOAD, *((answers.STAGE,) if answering else ()), REFERENCE, MEASURE))
    with report.stage(LOAD.id):
        loaded = loading.load(command.model, command.device)
        warm_up(loaded)
    if loaded.compressed:
        raise BitpressError(
            "already-quantized", f"{command.model} is compressed already.", "Measure the model that it was made from."
        )
    rows = _rows(loaded, command, folder, report, answering=answering)
    measured = _Measured(loaded, rows, report)
    keeper = Keeper(command.keeping)
    kept = _Cells(command, rows, loaded, keeper)
    cells: list[Sensitivity] = []
    wanted = [(part, scheme) for part in parts for scheme in command.schemes if (part.key, scheme.name) in sizes]
    with report.stage(REFERENCE.id):
        names = {(_modules(part), _exactly(scheme)) for part, scheme in wanted}
        names |= {_noise(measured.layer_of(part)) for part, _ in wanted}
        if not kept.has(names):
            measured.run_original(REFERENCE.id)
    with report.stage(MEASURE.id):
        for done, (part, scheme) in enumerate(wanted):
            report.progress(MEASURE.id, done, len(wanted), f"{part.key} {scheme.name}")
            keeper.stands(f"at part and scheme {done + 1} of {len(wanted)}")
            layer = measured.layer_of(part)
            noise = kept.get(*_noise(layer), partial(measured.noise, layer))
            found = kept.get(_modules(part), _exactly(scheme), partial(measured.divergence, part, scheme))
            kl = measured.mean(found - noise)
            report.metric(METRIC, kl.value, unit="nats per token", layer=part.key)
            cells.append(
                Sensitivity(
                    part=part.key,
                    scheme=scheme.name,
                    bytes=sizes[part.key, scheme.name],
                    kl=kl,
                    noise=measured.mean(noise).value,
                )
            )
        report.progress(MEASURE.id, len(wanted), len(wanted))
    kept.close()
    return SensitivityResult(
        model=command.model,
        parts=parts,
        schemes=tuple(scheme.name for scheme in command.schemes),
        cells=tuple(cells),
        tokens=sum(row.scored for row in rows),
        sha256=digest(rows),
        seconds=time.perf_counter() - began,
        group_size=command.group_size,
    ).model_dump(mode="json")


class _Measured:
    """The original's logits on the rows, and the divergence from them with a part compressed."""

    def __init__(self, loaded: Loaded, rows: Sequence[Row], report: Reporter) -> None:
        self._loaded, self._rows, self._report = loaded, rows, report
        self._batches = batches(rows, BATCH_TOKENS)
        self._inputs = LayerInputs(loaded.model)
        self._reference: list[torch.Tensor] = []
        hidden = int(loaded.model.config.get_text_config().hidden_size)
        tokens = sum(len(batch) * len(rows[batch[0]].ids) for batch in self._batches)
        if self._inputs.layers * tokens * hidden * loaded.model.dtype.itemsize > KEPT_BYTES:
            self._inputs.forget()
        # One order of documents for all cells, so that their intervals differ by what was measured and nothing else.
        self._weights = np.array([row.scored for row in rows], dtype=np.float64)
        self._drawn = resampled(np.zeros(len(rows), dtype=np.int64), seed=0)

    @torch.no_grad()
    def run_original(self, stage: str) -> None:
        """Keep the original's logits of the scored tokens, and its layers' inputs where passes can begin at them."""
        for number, batch in enumerate(self._batches):
            self._report.progress(stage, number, len(self._batches))
            with self._inputs.recording():
                self._reference.append(torch.cat(self._logits(batch)))
        self._report.progress(stage, len(self._batches), len(self._batches))
        # Where the shortcut does not give the very same numbers, it is not taken.
        with self._inputs.beginning_at(self._inputs.layers // 2, 0):
            try:
                same = torch.equal(torch.cat(self._logits(self._batches[0])), self._reference[0])
            except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
                same = False
        if not same:
            self._inputs.forget()

    @torch.no_grad()
    def divergence(self, part: Part, scheme: Scheme) -> Floats:
        """KL(original || original with this part in this scheme), summed over each document's tokens."""
        layer = self.layer_of(part)
        with compressed(self._loaded.model, part.modules, scheme):
            return self._changed(layer, f"{part.key} in {scheme.name}")

    @torch.no_grad()
    def noise(self, layer: int) -> Floats:
        """KL(original || original with the layer's input moved by what its dtype rounds away), by document."""
        generator = torch.Generator(device=self._loaded.device).manual_seed(layer)
        with self._inputs.disturbed(layer, generator):
            return self._changed(layer, f"layer {layer}")

    def layer_of(self, part: Part) -> int:
        """The decoder layer in which a change of the part begins to show."""
        return self._inputs.layer_of(part.modules)

    def mean(self, sums: Floats) -> Estimate:
        """Mean over the tokens of what was summed over each document's, with its interval over documents."""
        return mean_estimate(sums, self._weights, self._drawn)

    def _changed(self, layer: int, what: str) -> Floats:
        """Divergence of the model as it is now, where nothing changed before `layer`, by document."""
        sums = np.zeros(len(self._rows), dtype=np.float64)
        for number, batch in enumerate(self._batches):
            self._report.check()
            with self._inputs.beginning_at(layer, number):
                logits = self._logits(batch)
            start = 0
            for index, ours in zip(batch, logits, strict=True):
                theirs = self._reference[number][start : start + len(ours)]
                sums[index] = _divergence(theirs, ours)
                start += len(ours)
        if not np.isfinite(sums).all():
            raise BitpressError(
                "not-a-number",
                f"{what} gives probabilities that are not numbers.",
                "The weights may be damaged; look at the original.",
            )
        return sums

    def _logits(self, batch: Sequence[int]) -> list[torch.Tensor]:
        """(scored tokens, vocabulary) of each row of the batch, in the model's own dtype."""
        chosen = [self._rows[index] for index in batch]
        length = len(chosen[0].ids)
        # Padded on the right, where a causal model never looks back from: no mask is needed.
        ids = torch.tensor([(*row.ids, *(0,) * (length - len(row.ids))) for row in chosen], device=self._loaded.device)
        keep = length + 1 - min(row.first for row in chosen)
        options = {"logits_to_keep": keep} if takes_logits_to_keep(self._loaded.model) else {}
        logits = self._loaded.model(input_ids=ids, use_cache=False, return_dict=True, **options).logits
        skipped = length - logits.shape[1]
        # The logits at a position speak of the token after it.
        return [logits[place, row.first - 1 - skipped : len(row.ids) - 1 - skipped] for place, row in enumerate(chosen)]


def _divergence(theirs: torch.Tensor, ours: torch.Tensor) -> float:
    """Sum over positions of KL(theirs || ours) in nats, exact over the vocabulary, in float32."""
    rows = CUDA_ROWS if ours.is_cuda else CPU_ROWS
    total = torch.zeros((), dtype=torch.float64, device=ours.device)
    for start in range(0, len(ours), rows):
        log_p = torch.log_softmax(theirs[start : start + rows].float(), -1)
        log_q = torch.log_softmax(ours[start : start + rows].float(), -1)
        # Rounding may leave a divergence of nothing a hair below zero.
        total += torch.sub(log_p, log_q, out=log_q).mul_(log_p.exp_()).sum(-1).clamp_(min=0.0).double().sum()
    return float(total)


def _rows(
    loaded: Loaded, command: MeasureSensitivity, folder: Path | None, report: Reporter, *, answering: bool
) -> tuple[Row, ...]:
    """The tokens that are scored: even shares of all samples; of a chat that ends with an answer, the answer alone."""
    spec = command.calibration
    mixture = Mixture(loaded.tokenizer, spec, report)
    chats = mixture.chats_wanted()
    made: tuple[Any, ...] = ()
    if lacks_answers(spec, folder, chats):
        if not answering:
            report.plan((answers.STAGE,), more=True)
        with report.stage(answers.STAGE.id):
            made = answers.answer(loaded, prompts(), folder, samples=chats, seed=spec.seed, report=report)
    elif chats:
        made = ready_answers(prompts(), folder, chats, spec.seed)
    drawn = mixture.draw(samples_of(made))
    refuse_overlap(drawn, report)
    whole = [(sample.ids, _first(loaded.tokenizer, sample)) for sample in drawn.chosen]
    shares = even_shares([len(ids) - first for ids, first in whole], _affordable(loaded, command.tokens, report))
    found = tuple(
        Row(text=0, document=number, ids=tuple(ids[: first + share]), first=first)
        for number, ((ids, first), share) in enumerate(zip(whole, shares, strict=True))
        if share > 0
    )
    if not found:
        raise BitpressError(
            "nothing-to-score", "The calibration data has no token to score.", "Choose longer or other text."
        )
    return found


def _affordable(loaded: Loaded, tokens: int, report: Reporter) -> int:
    vocabulary = int(loaded.model.config.get_text_config().vocab_size)
    most = max(256, LOGITS_BYTES // (vocabulary * loaded.model.dtype.itemsize))
    if tokens > most:
        report.warn("fewer-tokens", f"{most:,} tokens are scored instead of {tokens:,}: more do not fit into memory.")
    return min(tokens, most)


def _first(tokenizer: Any, sample: Rendered) -> int:
    """Index of the first token that is scored: where the last answer begins, else the second token."""
    chat = sample.sample
    if chat is not None and chat.messages and chat.messages[-1].get("role") == "assistant":
        before = chat_ids(tokenizer, render_chat(tokenizer, chat.messages[:-1], answer_next=True))
        if len(before) < len(sample.ids) and tuple(sample.ids[: len(before)]) == tuple(before):
            return max(1, len(before))
    return 1


class _Cells:
    """What was measured, kept cell by cell: a run that is stopped loses one cell at most."""

    def __init__(self, command: MeasureSensitivity, rows: Sequence[Row], loaded: Loaded, keeper: Keeper) -> None:
        self._documents, self._keeper = len(rows), keeper
        self._found: dict[tuple[str, str], Floats] = {}
        self._pieces: Pieces | None = None
        if command.cache is None:
            return
        facts: Json = {
            "form": FORM,
            "model": weights_identity(command.model),
            "tokens": _tokens(rows),
            "dtype": str(loaded.model.dtype),
            "around": surroundings(loaded.device, loading.device_name(loaded.device)),
        }
        path = Path(command.cache) / f"{name_of(facts)}.pieces"
        self._pieces = Pieces(path, seconds=0.0, wrote=keeper.wrote)
        for content in self._pieces.found:
            self._take(content)

    def has(self, names: Iterable[tuple[str, str]]) -> bool:
        """Whether all figures of these names (modules, scheme) are kept."""
        return all(name in self._found for name in names)

    def get(self, modules: str, scheme: str, measure: Callable[[], Floats]) -> Floats:
        """The kept figure (a sum for each document), or a new one, which is kept at once.

        A disk that is full costs the figure's place in the cache and nothing else.
        """
        if (modules, scheme) in self._found:
            return self._found[modules, scheme]
        sums = self._found[modules, scheme] = measure()
        if self._pieces is not None:
            self._pieces.add(json.dumps({"modules": modules, "scheme": scheme, "kl": sums.tolist()}).encode())
        return sums

    def close(self) -> None:
        """Let the file go."""
        if self._pieces is not None:
            self._pieces.close()

    def _take(self, content: bytes) -> None:
        with suppress(ValueError, KeyError, TypeError):
            found = json.loads(content)
            sums = np.array(found["kl"], dtype=np.float64)
            if sums.shape == (self._documents,):
                self._found[found["modules"], found["scheme"]] = sums


def _tokens(rows: Sequence[Row]) -> str:
    """All tokens that the model sees, and where in each row those begin that are scored."""
    seen = [(row.first, row.ids) for row in rows]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _noise(layer: int) -> tuple[str, str]:
    return f"layer {layer}", "noise"


def _modules(part: Part) -> str:
    return " ".join(part.modules)


def _exactly(scheme: Scheme) -> str:
    """All that decides what rounding does, and nothing of what it is called."""
    return json.dumps(scheme.model_dump(mode="json", exclude={"name"}), sort_keys=True)
