"""Loads a model to answer with, and answers a prompt token by token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from core.errors import BitpressError
from core.jobs.protocol import Generate, Load, Stage
from core.measure.results import GeneratedToken, Generation
from core.value import Json
from core.worker import loading
from core.worker.decoding import Forward, TextStream, chooser, context_length, end_ids, prompt_ids, warm_up, weighed
from core.worker.footprint import PeakMemory, memory_now
from core.worker.loading import Loaded
from core.worker.reporter import Reporter

LOAD = Stage(id="load", title="Load the model")
ANSWER = Stage(id="answer", title="Answer the prompt", unit="token")

WARMED = (
    "A short pass through the model runs before the first answer, so that decompressing the weights and setting up do "
    "not count as time to first token."
)


def load(command: Load, report: Reporter) -> tuple[Loaded, dict[str, Json]]:
    """The model, warm, and the result: `seconds` until it can answer, `warm_up_seconds` of them, peak and conditions.

    Raises what `loading.load` raises.
    """
    report.plan((LOAD,))
    with report.stage(LOAD.id):
        peak = PeakMemory(loading.pick_device(command.device))
        loaded = loading.load(command.model, command.device)
        report.check()
        seconds = warm_up(loaded)
    loaded.conditions = loaded.conditions.model_copy(update={"notes": (*loaded.conditions.notes, WARMED)})
    return loaded, {
        "seconds": loaded.seconds + seconds,
        "warm_up_seconds": seconds,
        "peak_bytes": peak.bytes(),
        "conditions": loaded.conditions.model_dump(mode="json"),
    }


def run(command: Generate, report: Reporter, loaded: Loaded | None) -> Json:
    """Answer the prompt, with a `token` event for each token; the result is a Generation as JSON.

    Raises BitpressError `nothing-loaded`, `prompt-too-long`, `empty-prompt`, `chat-template`, `not-a-number`;
    JobCancelledError between two tokens.
    """
    if loaded is None:
        raise BitpressError("nothing-loaded", "No model is loaded in this process.", "Load a model, then ask again.")
    report.plan((ANSWER,))
    with report.stage(ANSWER.id):
        generation = answer(command, report, loaded)
    return generation.model_dump(mode="json")


def answer(command: Generate, report: Reporter, loaded: Loaded) -> Generation:
    """The answer itself; times count from the prompt's first token id to the moment each token is known here."""
    sampling = command.sampling
    messages = [{"role": "user", "content": command.prompt}]
    if sampling.system:
        messages.insert(0, {"role": "system", "content": sampling.system})
    if loaded.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(loaded.device)
    started = time.perf_counter()
    ids = prompt_ids(loaded.tokenizer, messages, chat=sampling.chat)
    room = _room(loaded, len(ids))
    limit = sampling.max_tokens if room is None else min(sampling.max_tokens, room)
    ends = end_ids(loaded.model, loaded.tokenizer)
    text = TextStream(loaded.tokenizer)
    tokens: list[GeneratedToken] = []
    first = moment = started
    for identity, probability, rivals in _steps(command, loaded, ids, limit):
        moment = time.perf_counter()
        first = moment if not tokens else first
        ended = identity in ends
        token = GeneratedToken(
            id=identity,
            text=text.push(identity, last=ended or len(tokens) + 1 == limit),
            probability=probability,
            alternatives=tuple((text.alone(rival), share) for rival, share in rivals),
        )
        report.token(len(tokens), identity, token.text, token.probability, token.alternatives)
        report.progress(ANSWER.id, len(tokens) + 1, limit)
        tokens.append(token)
        if ended:
            break
    after = moment - first
    return Generation(
        path=loaded.path,
        name=Path(loaded.path).name,
        text="".join(token.text for token in tokens),
        tokens=tuple(tokens),
        prompt_tokens=len(ids),
        ttft_ms=(first - started) * 1000.0,
        tokens_per_second=(len(tokens) - 1) / after if after > 0.0 else 0.0,
        peak_bytes=memory_now(loaded.device),
        stopped="end" if tokens and tokens[-1].id in ends else "length",
        conditions=loaded.conditions,
    )


def _steps(
    command: Generate, loaded: Loaded, ids: list[int], limit: int
) -> Iterator[tuple[int, float, list[tuple[int, float]]]]:
    forward = Forward(loaded.model)
    choose = chooser(command.sampling, loaded.device)
    fed = torch.tensor([ids], device=loaded.device)
    for _ in range(limit):
        logits = forward(fed)[0].float()
        # The largest is not a number where any is, and a draw from such logits would take a GPU's whole context down.
        if not bool(torch.isfinite(logits.max())):
            raise BitpressError(
                "not-a-number",
                f"{loaded.path} gives probabilities that are not numbers, so it cannot answer.",
                "The weights may be damaged; prove the artifact again, or compress it with other settings.",
            )
        token = choose(logits)
        yield weighed(logits, token, command.alternatives)
        fed = token.view(1, 1)


def _room(loaded: Loaded, prompt: int) -> int | None:
    """Tokens that still fit into the model's context after the prompt."""
    context = context_length(loaded.model)
    if context is None:
        return None
    if prompt >= context:
        raise BitpressError(
            "prompt-too-long",
            f"The prompt has {prompt:,} tokens, and the model's context ends at {context:,}.",
            "Shorten the prompt.",
        )
    return context - prompt
