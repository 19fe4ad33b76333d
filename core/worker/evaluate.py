"""Scores compressed models against their original on held-out texts, one model in memory at a time.

What the original computes is kept on disk, and its logits come from that through its head alone. So it is run once for
all the others, and not at all where an evaluation before kept the same.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.errors import BitpressError
from core.jobs.protocol import Evaluate, Stage
from core.measure.evaluation_texts import CHAT, documents, prompts
from core.measure.fidelity import BLOCKS_NOTE, ScoredTokens, Summary, against_noise, summarise
from core.measure.passages import Row, answer_rows, batches, digest, document_rows, even_shares
from core.measure.results import Conditions, EvaluationResult
from core.value import Json
from core.worker import loading
from core.worker.decoding import context_length
from core.worker.keeper import Keeper, keeping
from core.worker.kept_scores import KeptScores, batch_counts, scores_facts
from core.worker.noise_floor import NoiseFloors, floors_key, keep_floors, kept_floors, measure_floors
from core.worker.reference_answers import Answers, fingerprint, kept_answers, reference_answers
from core.worker.reference_known import KnownModel, known_model
from core.worker.reference_source import Original, computed_source, kept_source, load_warm
from core.worker.reference_states import FromStates, Reading, reading
from core.worker.reporter import Reporter
from core.worker.scoring import OWN, PER_OTHER, FromModel, Scores, Source, score, scored_others, scored_tokens

LOAD = Stage(id="load", title="Load", unit="model")
ANSWERS = Stage(id="answers", title="Answers", unit="prompt")
REFERENCE = Stage(id="reference", title="Reference", unit="batch")
NOISE = Stage(id="noise", title="Noise floor", unit="batch")
SCORE = Stage(id="score", title="Scoring", unit="batch")

RESUMED_NOTE = "An earlier try was interrupted, and this one went on {where}; the seconds are those of the last try."

CPU_LOGITS = 2**27
CUDA_LOGITS = 2**28
"""Bytes of one batch's logits of one model. Fixed, and not of what is free or of how many models there are: another
batch size rounds otherwise, and the same evaluation is to give the same figures."""


@dataclass(frozen=True, slots=True)
class Text:
    """A named text before it is tokenized; the text `chat` has no documents yet."""

    name: str
    documents: tuple[tuple[str, str], ...]


def run(command: Evaluate, report: Reporter) -> Json:
    """The EvaluationResult as JSON.

    Raises BitpressError `nothing-to-compare`, `nothing-to-score`, `different-tokenizer`, `not-a-number`, and what
    reading texts and loading raise.
    """
    if not command.others or not command.suite.texts:
        raise BitpressError(
            "nothing-to-compare", "An evaluation needs another model and a text.", "Choose at least one of each."
        )
    began = time.perf_counter()
    texts = tuple(
        Text(Path(name).name if name != CHAT else CHAT, () if name == CHAT else documents(name))
        for name in dict.fromkeys(command.suite.texts)
    )
    with _cache(command) as cache, keeping(command.keeping) as keeper:
        result, load_seconds = _evaluated(command, report, texts, cache, keeper)
    seconds = time.perf_counter() - began - load_seconds
    return result.model_copy(update={"seconds": seconds, "load_seconds": load_seconds}).model_dump(mode="json")


@contextmanager
def _cache(command: Evaluate) -> Iterator[Path]:
    """The folder for what can be reused; one that is gone afterwards where none is named."""
    if command.cache is not None:
        yield Path(command.cache)
        return
    # A mapped file cannot be deleted on Windows while something still holds it.
    with tempfile.TemporaryDirectory(prefix="bitpress-evaluation-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _evaluated(
    command: Evaluate, report: Reporter, texts: Sequence[Text], cache: Path, keeper: Keeper
) -> tuple[EvaluationResult, float]:
    """The result without its times, and the seconds that loading took."""
    suite = command.suite
    report.plan(
        (
            LOAD,
            *((ANSWERS,) if CHAT in suite.texts else ()),
            REFERENCE,
            *((NOISE,) if suite.noise_floor else ()),
            SCORE,
        )
    )
    original = Original(known_model(command.original), loading.pick_device(command.device))
    prepared = _prepare(command, report, original, texts, cache, keeper=keeper)
    source, floors = prepared.source, prepared.floors
    states = source.states if isinstance(source, FromStates) else None
    if states is not None:
        original.drop()
    rows, plan = prepared.reading.rows, prepared.reading.plan
    if states is not None:
        keeper.rests_on(states.path)
    parts: list[Scores] = []
    conditions: list[Conditions] = []
    load_seconds = original.seconds
    with report.stage(SCORE.id):
        for number, path in enumerate(command.others):
            progress = _Progress(report, keeper, prepared.reading, Path(path).name, number, len(command.others))
            progress.tell(0)
            progress.stands(0)
            keeper.note()
            facts = scores_facts("scores", prepared.reading.key, fingerprint(path))
            kept = _kept_scores(keeper, facts, batch_counts(rows, plan), stands=progress.stands)
            if kept is not None and kept.found:
                keeper.took_up(progress.words(len(kept.found)))
            model: Any = None
            if kept is None or (its := kept.whole) is None:
                other = load_warm(path, original.device, original.known)
                load_seconds += other.seconds
                model, its = other.model, other.conditions
                other.model = None
                if kept is not None:
                    kept.begin(its)
            conditions.append(its)
            parts.append(
                score(
                    source,
                    (FromModel(path, model),),
                    rows,
                    plan,
                    device=original.device,
                    after_batch=progress.tell,
                    check=report.check,
                    kept=kept,
                )
            )
            del model
            loading.release()
            if kept is not None:
                kept.pieces.close()
    known = scored_tokens(rows, parts[0])
    figures = _figures(command, known, parts, texts, floors)
    notes = [note for one in (original.conditions, *conditions) for note in one.notes]
    notes += [*original.notes, *((BLOCKS_NOTE,) if figures.blocks else ())]
    if keeper.resumed:
        notes.append(RESUMED_NOTE.format(where=keeper.resumed))
    result = EvaluationResult(
        original=command.original,
        original_perplexity=figures.perplexity,
        tokens=int(known.nll.size),
        documents=len({row.document for row in rows}),
        window=suite.window,
        sha256=digest(rows),
        others=figures.others,
        texts=figures.texts,
        pairs=figures.pairs,
        conditions=original.conditions.model_copy(update={"notes": tuple(dict.fromkeys(notes))}),
        seconds=0.0,
        noise=floors.together if floors is not None else (),
        reference_bytes=states.facts.bytes if states is not None and command.cache is not None else 0,
        reference_reused=prepared.reused,
    )
    return result, load_seconds


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far the scoring of one model is, told in batches of all models, and kept in windows of this one."""

    report: Reporter
    keeper: Keeper
    reading: Reading
    name: str
    number: int
    of: int

    def tell(self, done: int) -> None:
        batches = len(self.reading.plan)
        self.report.progress(SCORE.id, batches * self.number + done, batches * self.of, self.name)

    def words(self, done: int) -> str:
        return f"at {self.reading.window(done)} of {self.name}, model {self.number + 1} of {self.of}"

    def stands(self, done: int) -> None:
        self.keeper.stands(self.words(done))


def _kept_scores(
    keeper: Keeper,
    facts: Json,
    counts: Sequence[int],
    *,
    stands: Callable[[int], None],
    others: int = 1,
    generator: torch.Generator | None = None,
) -> KeptScores | None:
    pieces = keeper.pieces(facts)
    return None if pieces is None else KeptScores(pieces, OWN + PER_OTHER * others, counts, stands, generator)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The tokens, and what gives the original's logits on them."""

    reading: Reading
    source: Source
    floors: NoiseFloors | None
    reused: bool


def _prepare(
    command: Evaluate, report: Reporter, original: Original, texts: Sequence[Text], cache: Path, *, keeper: Keeper
) -> _Prepared:
    """Everything of the original, from the cache as far as it is there, else by loading and running it."""
    suite, known = command.suite, original.known
    folder, noises = cache / "reference", cache / "noise"
    chat = CHAT in suite.texts
    with report.stage(LOAD.id):
        report.progress(LOAD.id, 0, 1, Path(command.original).name)
        answers: Answers | None = ()
        if chat:
            answers = kept_answers(known, prompts()[: suite.chat_prompts], most=suite.chat_tokens, cache=cache)
        read = None if answers is None else _reading(command, original, texts, answers)
        kept = None if read is None else kept_source(folder, original, read)
        floors = (
            None if read is None or not suite.noise_floor else kept_floors(noises, floors_key(read.key, suite.seed))
        )
        if kept is None or (suite.noise_floor and floors is None):
            original.load()
        report.progress(LOAD.id, 1, 1)
    if chat:
        with report.stage(ANSWERS.id):
            if answers is None:
                answers = reference_answers(
                    known,
                    original.load(),
                    prompts()[: suite.chat_prompts],
                    most=suite.chat_tokens,
                    cache=cache,
                    report=report,
                    stage=ANSWERS.id,
                    keeper=keeper,
                )
            report.progress(ANSWERS.id, suite.chat_prompts, suite.chat_prompts)
    if read is None:
        read = _reading(command, original, texts, answers or ())
    plan, key = read.plan, read.key
    with report.stage(REFERENCE.id):
        source: Source = kept or computed_source(
            folder, original, read, lambda done: report.progress(REFERENCE.id, done, len(plan)), keeper
        )
        report.progress(REFERENCE.id, len(read.plan), len(read.plan))
    if suite.noise_floor:
        with report.stage(NOISE.id):
            if floors is None:

                def kept_noise(counts: Sequence[int], generator: torch.Generator) -> KeptScores | None:
                    def stands(done: int) -> None:
                        keeper.stands(f"at the noise floor, batch {min(done + 1, len(counts))} of {len(counts)}")

                    facts = scores_facts("noise", floors_key(key, suite.seed))
                    found = _kept_scores(keeper, facts, counts, stands=stands, others=2, generator=generator)
                    if found is not None:
                        found.begin(original.conditions)
                        if found.found:
                            keeper.took_up("at the noise floor")
                    return found

                floors = measure_floors(
                    known.path,
                    original.load().model,
                    read.rows,
                    [text.name for text in texts],
                    batch_tokens=batch_tokens(known, original.device, suite.window),
                    device=original.device,
                    seed=suite.seed,
                    after_batch=lambda done, total: report.progress(NOISE.id, done, total),
                    check=report.check,
                    kept=kept_noise,
                )
                keep_floors(noises, floors_key(read.key, suite.seed), floors)
            report.progress(NOISE.id, 1, 1)
    return _Prepared(read, source, floors, kept is not None)


def _reading(command: Evaluate, original: Original, texts: Sequence[Text], answers: Answers) -> Reading:
    rows = _rows(command, original.known, texts, answers)
    plan = batches(rows, batch_tokens(original.known, original.device, command.suite.window))
    return reading(original.known, rows, plan, loading.device_name(original.device))


def batch_tokens(known: KnownModel, device: torch.device, window: int) -> int:
    """Tokens of one batch, so that its logits stay within bounds; at least one window."""
    item = torch.finfo(known.dtype).bits // 8
    allowed = CUDA_LOGITS if device.type == "cuda" else CPU_LOGITS
    return max(window, allowed // (known.vocabulary * item))


def _rows(command: Evaluate, original: KnownModel, texts: Sequence[Text], answers: Answers) -> tuple[Row, ...]:
    """All rows of all texts, in order. Raises BitpressError `nothing-to-score`."""
    suite = command.suite
    context = context_length(original)
    window = suite.window if context is None else min(suite.window, context)
    rows: list[Row] = []
    for index, text in enumerate(texts):
        first_document = rows[-1].document + 1 if rows else 0
        if text.name == CHAT and not text.documents:
            shares = even_shares([len(answer) for _, answer in answers], suite.tokens)
            cut = [(prompt, answer[:share]) for (prompt, answer), share in zip(answers, shares, strict=True)]
            found = answer_rows(cut, text=index, first_document=first_document)
        else:
            tokenized = [_ids(original.tokenizer, content) for _, content in text.documents]
            shares = even_shares([len(ids) for ids in tokenized], suite.tokens)
            found = document_rows(
                [ids[:share] for ids, share in zip(tokenized, shares, strict=True)],
                text=index,
                first_document=first_document,
                prefix=_prefix(original.tokenizer),
                window=window,
            )
        if not found:
            raise BitpressError(
                "nothing-to-score",
                f"The text {text.name} has no token to score.",
                "Choose a longer text, or let more tokens be scored.",
            )
        rows += found
    return tuple(rows)


def _ids(tokenizer: Any, text: str) -> list[int]:
    # verbose=False: a document longer than the context is cut into windows, so a warning about it would be wrong.
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _prefix(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text."""
    plain = _ids(tokenizer, "a")
    whole: list[int] = tokenizer("a")["input_ids"]
    return whole[: whole.index(plain[0])] if plain and plain[0] in whole else []


def _figures(
    command: Evaluate,
    tokens: ScoredTokens,
    parts: Sequence[Scores],
    texts: Sequence[Text],
    floors: NoiseFloors | None,
) -> Summary:
    others = [
        other
        for path, part in zip(command.others, parts, strict=True)
        for other in scored_others(((path, Path(path).name),), part)
    ]
    figures = summarise(tokens, others, [text.name for text in texts], seed=command.suite.seed)
    return figures if floors is None else against_noise(figures, floors.together, floors.texts)
