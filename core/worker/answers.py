"""Calibration chat made offline: the model that will be compressed answers the built-in prompts.

A model's own answers, sampled at temperature 1, are the text that it will meet in use, and need no file. Each prompt
has its own random numbers, drawn from the seed and the prompt's id: the same answers come out however the work is
cut into batches, stopped or continued, up to the rounding of differently padded batches.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.calibration.builtin import Prompt, prompts
from core.calibration.kept_answers import FILE, MAX_TOKENS, Answer, in_order, kept_answers, split
from core.durable import naming
from core.errors import BitpressError
from core.jobs.protocol import AnswerPrompts, Stage
from core.value import Json
from core.worker.calibrate import chat_ids, render_chat
from core.worker.loading import Loaded, load
from core.worker.reporter import Reporter

BATCH = 32
STAGE = Stage(id="answer", title="Answer the calibration prompts", unit="answer")


def answer(
    loaded: Loaded,
    available: Sequence[Prompt],
    folder: Path | None,
    *,
    samples: int,
    seed: int,
    report: Reporter,
    max_tokens: int = MAX_TOKENS,
    batch: int = BATCH,
) -> tuple[Answer, ...]:
    """As many usable answers as asked, in the seed's order; makes and keeps what is missing, inside stage `answer`.

    Fewer come back only where the prompts run out. Raises BitpressError `calibration-empty` where the model answers
    nothing at all.
    """
    lengths = {prompt.id: _length(loaded.tokenizer, prompt) for prompt in available}
    order = [prompt for prompt in in_order(available, seed) if lengths[prompt.id]]
    kept = kept_answers(folder, seed, max_tokens)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _mend(folder / FILE)
    while True:
        usable, missing = split(order, kept, samples)
        report.progress(STAGE.id, len(usable), len(usable) + len(missing))
        if not missing:
            break

        def progress(done: float, detail: str, before: int = len(usable), left: int = len(missing)) -> None:
            report.progress(STAGE.id, before + done, before + left, detail)

        # Prompts of one length lose nothing to padding; the longest come first, as they need the most memory.
        now = sorted(missing, key=lambda prompt: -lengths[prompt.id])[:batch]
        for made in _answer_batch(loaded, now, seed=seed, max_tokens=max_tokens, progress=progress):
            kept[made.id] = made
            if folder is not None:
                _keep(folder / FILE, made)
    if not usable:
        raise BitpressError(
            "calibration-empty",
            "The model answers the calibration prompts with nothing.",
            "It may be no chat model, or damaged. Choose a calibration file instead.",
        )
    return tuple(usable)


def run(command: AnswerPrompts, report: Reporter) -> Json:
    """Make what is missing; the result counts `answers`, those `made` now, their `tokens`, and the `seconds`."""
    started = time.perf_counter()
    report.plan((Stage(id="load", title="Load the model"), STAGE))
    folder = Path(command.answers)
    with report.stage("load"):
        loaded = load(command.model, command.device)
    before = kept_answers(folder, command.seed, command.max_tokens)
    with report.stage(STAGE.id):
        answers = answer(
            loaded,
            prompts(),
            folder,
            samples=command.samples,
            seed=command.seed,
            max_tokens=command.max_tokens,
            report=report,
        )
    return {
        "answers": len(answers),
        "made": sum(kept.id not in before for kept in answers),
        "tokens": sum(kept.tokens for kept in answers),
        "file": str(folder / FILE),
        "seconds": time.perf_counter() - started,
    }


def _answer_batch(
    loaded: Loaded,
    batch: Sequence[Prompt],
    *,
    seed: int,
    max_tokens: int,
    progress: Callable[[float, str], None],
) -> list[Answer]:
    """One answer a prompt, in order; halves the batch where the GPU's memory does not hold it."""
    import torch
    from transformers import GenerationConfig

    tokenizer, model = loaded.tokenizer, loaded.model
    texts = [render_chat(tokenizer, prompt.messages, answer_next=True) for prompt in batch]
    ends = end_tokens(model, tokenizer)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0] if ends else 0
    rows = [chat_ids(tokenizer, text) for text in texts]
    width = max(len(row) for row in rows)
    ids = torch.tensor([[padding] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    draws = torch.stack([_draws(seed, prompt.id, max_tokens) for prompt in batch])

    def step(done: int) -> None:
        progress(len(batch) * done / max_tokens, f"token {done} of {max_tokens}")

    try:
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=max_tokens,
                eos_token_id=ends or None,
                pad_token_id=padding,
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
            ),
            logits_processor=[Drawn(draws.to(model.device), step)],
        )
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return [
            made
            for part in (batch[:half], batch[half:])
            for made in _answer_batch(loaded, part, seed=seed, max_tokens=max_tokens, progress=progress)
        ]
    made = []
    for prompt, row in zip(batch, output[:, width:].tolist(), strict=True):
        end = next((place for place, token in enumerate(row) if token in ends), None)
        answered = row if end is None else row[:end]
        made.append(
            Answer(
                id=prompt.id,
                messages=tuple(prompt.messages),
                answer=tokenizer.decode(answered, skip_special_tokens=True),
                tokens=len(answered),
                finished=end is not None,
                seed=seed,
                max_tokens=max_tokens,
            )
        )
    return made


class Drawn:
    """A logits processor that samples at temperature 1 with numbers drawn beforehand, one row a prompt.

    Greedy decoding then takes the only token left. `draws` is (batch, steps) in [0, 1): the token is where the
    cumulative probability passes it.
    """

    def __init__(self, draws: Any, step: Any) -> None:
        self._draws = draws
        self._step = step
        self._done = 0

    def __call__(self, _ids: Any, scores: Any) -> Any:
        import torch

        reached = scores.float().softmax(-1).cumsum(-1)
        # Scaled by the last sum, as rounding leaves it a little off one.
        aim = self._draws[:, self._done, None] * reached[:, -1:]
        token = torch.searchsorted(reached, aim, right=True).clamp(max=scores.shape[-1] - 1)
        self._done += 1
        self._step(self._done)
        return torch.full_like(scores, float("-inf")).scatter_(1, token, 0.0)


def takes(tokenizer: Any, prompt: Prompt) -> bool:
    """Whether the model's chat template takes the prompt."""
    return _length(tokenizer, prompt) > 0


def _length(tokenizer: Any, prompt: Prompt) -> int:
    """Tokens of the rendered prompt; 0 where the template refuses it (some know no system message)."""
    try:
        return len(chat_ids(tokenizer, render_chat(tokenizer, prompt.messages, answer_next=True)))
    except BitpressError:
        return 0


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer, by the generation config and the tokenizer."""
    named = getattr(model.generation_config, "eos_token_id", None)
    found = list(named) if isinstance(named, (list, tuple)) else [named]
    return [int(token) for token in dict.fromkeys([*found, tokenizer.eos_token_id]) if token is not None]


def _draws(seed: int, identity: str, count: int) -> Any:
    import torch

    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.rand(count, generator=generator, dtype=torch.float32)


def _keep(path: Path, kept: Answer) -> None:
    line = json.dumps(kept.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n"
    with naming(path, len(line)), path.open("ab") as file:
        file.write(line)


def _mend(path: Path) -> None:
    """Cut off a last line that was torn by a kill, so that the next one starts on a line of its own."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
